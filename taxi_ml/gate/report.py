"""What a pipeline run found out about its challenger: the content of report.json."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from taxi_ml.gate import distributions
from taxi_ml.gate.fields import Fields
from taxi_ml.gate.schema import schema_difference
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taxi_ml.gate.distributions import Drift, Fit
    from taxi_ml.gate.schema import SchemaDifference

SCHEMA_VERSION: Final = 1

_CONTRADICTION_USD: Final = 0.01
_CONTRADICTION_RATIO: Final = 0.001


class ReportError(ValueError):
    """A report is unreadable, of another version or window, or contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How one model did on one set of rows, in USD; None is a number that could not be computed."""

    rmse: float | None
    mae: float | None
    count: int
    mean_label: float | None
    mean_prediction: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval, in USD."""

    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Challenger minus champion on the same rows: above zero, the challenger is worse."""

    rmse: Interval
    mae: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """The model that the run has trained; `uri` is the folder of its SavedModel."""

    uri: str
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The model that serves; `name` is its resource name with version."""

    name: str
    uri: str
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Both models on the test rows whose `feature` is `value`, a category or a band."""

    feature: str
    value: str
    count: int
    challenger: Metrics
    champion: Metrics | None = None
    difference: Difference | None = None

    @property
    def name(self) -> str:
        """The slice as people read it, such as `TripStartHour=17`."""
        return f"{self.feature}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """What ExampleValidator found in a split; `kind` is the type that TFDV gives it, where known."""

    split: Split
    feature: str
    description: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of hyperparameters that the Tuner has tried."""

    hyperparameters: Mapping[str, float | str]
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What the Tuner has found; `best_score` is the objective at `best`."""

    trials: int
    objective: str
    best: Mapping[str, float | str]
    best_score: float | None
    history: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The number of trips in each split."""

    train: int
    eval: int
    test: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """SHA-256 of what the run was made of, in hexadecimal; empty where unknown."""

    modules: str
    spec: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the gate looks at.

    `blessed` is the Evaluator's word, None where it has none. `tuner` is None where tuning was off. `drift`
    is empty without a champion, or with one that does not say what it learned from. `fit` and `schema`, how
    the trips' columns differ from the reviewed ones, decide nothing.
    """

    window: str
    rows: Rows
    challenger: Challenger
    champion: Champion | None
    difference: Difference | None
    slices: tuple[Slice, ...]
    anomalies: tuple[Anomaly, ...]
    tuner: Tuning | None
    blessed: bool | None
    hashes: Hashes
    drift: tuple[Drift, ...] = ()
    fit: Fit | None = None
    schema: tuple[SchemaDifference, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a comparison of a model with itself, on different rows, or with a wrong difference.

        Raises:
            ReportError: naming what contradicts what.

        """
        if self.challenger.metrics.count != self.rows.test:
            raise ReportError(
                f"report.challenger was scored on {self.challenger.metrics.count} rows "
                f"and the test split has {self.rows.test}"
            )
        if self.champion is None:
            if self.difference is not None:
                raise ReportError("report.difference is given and report.champion is null; it has two sides")
            return
        if _folder(self.champion.uri) == _folder(self.challenger.uri):
            raise ReportError(f"challenger and champion are the same model, {self.champion.uri}")
        _check_same_rows("report", self.challenger.metrics, self.champion.metrics)
        _check_difference("report", self.challenger.metrics, self.champion.metrics, self.difference)
        for part in self.slices:
            if part.champion is not None:
                _check_same_rows(f"slice {part.name}", part.challenger, part.champion)
                _check_difference(f"slice {part.name}", part.challenger, part.champion, part.difference)

    def to_json(self) -> str:
        """Return report.json; a number that is not finite becomes null, since JSON has none."""
        document = dataclasses.asdict(self) | {
            "schema_version": SCHEMA_VERSION,
            "anomalies": {split.value: self._anomalies_of(split) for split in Split},
        }
        if self.tuner is not None:
            document["tuner"]["history"] = [_flat(trial) for trial in self.tuner.history]
        return json.dumps(_finite(document), indent=2, sort_keys=True, allow_nan=False)

    def _anomalies_of(self, split: Split) -> list[dict[str, str]]:
        return [
            {"feature": found.feature, "description": found.description, "kind": found.kind}
            for found in self.anomalies
            if found.split is split
        ]


def parse(text: str | bytes, *, window: str | None = None) -> Report:
    """Read report.json, of `window` where it is given.

    Raises:
        ReportError: naming the field that is missing, unknown, of the wrong type or not finite, or the
            version or window that is another one.

    """
    fields = Fields(_document(text), "report", ReportError)
    version = fields.count("schema_version")
    if version != SCHEMA_VERSION:
        raise ReportError(f"report.schema_version is {version}; this gate reads {SCHEMA_VERSION}")
    report = Report(
        window=fields.text("window"),
        rows=fields.read("rows", rows),
        challenger=fields.read("challenger", _challenger),
        champion=fields.read_or_none("champion", _champion),
        difference=fields.read_or_none("difference", _difference),
        slices=fields.read_list("slices", _slice),
        anomalies=fields.read("anomalies", _anomalies),
        tuner=fields.read_or_none("tuner", _tuning),
        blessed=fields.flag_or_none("blessed"),
        hashes=fields.read("hashes", hashes),
        drift=fields.read_list("drift", distributions.drift) if fields.has("drift") else (),
        fit=fields.read_or_none("fit", distributions.fit) if fields.has("fit") else None,
        schema=fields.read_list("schema", schema_difference) if fields.has("schema") else (),
    )
    fields.close()
    if window is not None and report.window != window:
        raise ReportError(f"report.window is {report.window!r}; this run's window is {window!r}")
    return report


def _document(text: str | bytes) -> object:
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        # JSON can write half of a surrogate pair, which no log and no page can hold.
        json.dumps(document, ensure_ascii=False).encode()
    except ReportError:
        raise
    except RecursionError:
        raise ReportError("the report is not readable: its objects and lists are nested too deeply") from None
    except ValueError as error:
        raise ReportError(f"the report is not valid JSON, it may be truncated: {error}") from error
    return document


def _refuse_constant(name: str) -> None:
    raise ReportError(f"the report holds {name}; write null for a number that could not be computed")


def rows(fields: Fields) -> Rows:
    """Read the number of trips in each split."""
    return Rows(train=fields.count("train"), eval=fields.count("eval"), test=fields.count("test"))


def _metrics(fields: Fields) -> Metrics:
    return Metrics(
        rmse=fields.size_or_none("rmse"),
        mae=fields.size_or_none("mae"),
        count=fields.count("count"),
        mean_label=fields.number_or_none("mean_label"),
        mean_prediction=fields.number_or_none("mean_prediction"),
    )


def _interval(fields: Fields) -> Interval:
    return Interval(
        estimate=fields.number_or_none("estimate"),
        low=fields.number_or_none("low"),
        high=fields.number_or_none("high"),
    )


def _difference(fields: Fields) -> Difference:
    return Difference(rmse=fields.read("rmse", _interval), mae=fields.read("mae", _interval))


def _challenger(fields: Fields) -> Challenger:
    return Challenger(uri=fields.text("uri"), metrics=fields.read("metrics", _metrics))


def _champion(fields: Fields) -> Champion:
    return Champion(
        name=fields.text("name"), uri=fields.text("uri"), metrics=fields.read("metrics", _metrics)
    )


def _slice(fields: Fields) -> Slice:
    return Slice(
        feature=fields.text("feature"),
        value=fields.text("value"),
        count=fields.count("count"),
        challenger=fields.read("challenger", _metrics),
        champion=fields.read_or_none("champion", _metrics),
        difference=fields.read_or_none("difference", _difference) if fields.has("difference") else None,
    )


def _anomalies(fields: Fields) -> tuple[Anomaly, ...]:
    return tuple(
        Anomaly(split=split, feature=feature, description=description, kind=kind)
        for split in Split
        for feature, description, kind in fields.read_list(split.value, _anomaly_texts)
    )


def _anomaly_texts(fields: Fields) -> tuple[str, str, str]:
    kind = fields.text("kind") if fields.has("kind") else ""
    return fields.text("feature"), fields.text("description"), kind


def _trial(fields: Fields) -> Trial:
    score = fields.number_or_none("score")
    return Trial(score=score, hyperparameters=fields.other_scalars())


def _tuning(fields: Fields) -> Tuning:
    return Tuning(
        trials=fields.count("trials"),
        objective=fields.text("objective"),
        best=fields.read_or_none("best", Fields.other_scalars) or {},
        best_score=fields.number_or_none("best_score"),
        history=fields.read_list("history", _trial),
    )


def hashes(fields: Fields) -> Hashes:
    """Read the digests of a run."""
    return Hashes(modules=fields.text("modules"), spec=fields.text("spec"), data=fields.text("data"))


def _flat(trial: Trial) -> dict[str, float | str | None]:
    return {**trial.hyperparameters, "score": trial.score}


def _folder(uri: str) -> str:
    return uri.rstrip("/")


def _check_same_rows(place: str, challenger: Metrics, champion: Metrics) -> None:
    if challenger.count != champion.count:
        raise ReportError(
            f"{place}: the challenger was scored on {challenger.count} rows and the champion on "
            f"{champion.count}; only scores on the same rows can be compared"
        )


def _check_difference(
    place: str, challenger: Metrics, champion: Metrics, difference: Difference | None
) -> None:
    if difference is None:
        return
    for metric, interval in (("rmse", difference.rmse), ("mae", difference.mae)):
        ours: float | None = getattr(challenger, metric)
        theirs: float | None = getattr(champion, metric)
        given = interval.estimate
        if not (_is_finite(ours) and _is_finite(theirs) and _is_finite(given)):
            continue
        expected = ours - theirs
        allowed = _CONTRADICTION_USD + _CONTRADICTION_RATIO * max(abs(ours), abs(theirs))
        if abs(expected - given) > allowed:
            raise ReportError(
                f"{place}: the difference in {metric} is given as {given:.6g} "
                f"and {ours:.6g} - {theirs:.6g} is {expected:.6g}"
            )


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _finite(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
