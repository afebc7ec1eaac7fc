"""The findings of a pipeline run about its challenger: the content of report.json."""

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
from taxi_ml.sql.counts import SplitCounts

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
    """One model's errors on one set of rows, in USD; None is a number that could not be computed."""

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
    """The model that the run trained; `uri` is the folder of its SavedModel."""

    uri: str
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredChampion:
    """The champion with its metrics; `name` is its resource name with version."""

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
        """The slice's name for people, such as `TripStartHour=17`."""
        return f"{self.feature}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """One of ExampleValidator's findings in a split; `kind` is TFDV's type of it, if known."""

    split: Split
    feature: str
    description: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One set of hyperparameters that the Tuner tried."""

    hyperparameters: Mapping[str, float | str]
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The Tuner's result; `best_score` is the objective at `best`."""

    trials: int
    objective: str
    best: Mapping[str, float | str]
    best_score: float | None
    history: tuple[Trial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashes:
    """SHA-256 digests, in hexadecimal, of the modules, the compile request and the data; empty if unknown."""

    modules: str
    request: str
    data: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that the gate considers.

    `blessed` is the Evaluator's verdict, None if it validated nothing. `tuner` is None if tuning was off.
    `drift` is empty without a champion, or with one that has no profile of its training rows. `fit` and
    `schema`, the differences from the reviewed schema, do not affect the decision.
    """

    window: str
    rows: SplitCounts
    challenger: Challenger
    champion: ScoredChampion | None
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
                f"but the test split has {self.rows.test}"
            )
        if self.champion is None:
            if self.difference is not None:
                raise ReportError(
                    "report.difference is given but report.champion is null; a difference needs both"
                )
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
        """Return report.json; a number that is not finite becomes null, since JSON cannot express it."""
        document = dataclasses.asdict(self) | {
            "schema_version": SCHEMA_VERSION,
            "anomalies": {
                split.value: [
                    {"feature": found.feature, "description": found.description, "kind": found.kind}
                    for found in self.anomalies
                    if found.split is split
                ]
                for split in Split
            },
        }
        if self.tuner is not None:
            document["tuner"]["history"] = [
                {**trial.hyperparameters, "score": trial.score} for trial in self.tuner.history
            ]
        return json.dumps(_finite(document), indent=2, sort_keys=True, allow_nan=False)


def parse(text: str | bytes, *, window: str | None = None) -> Report:
    """Read report.json, which must be of `window` if that is given.

    Raises:
        ReportError: naming the field that is missing, unknown, of the wrong type or not finite, or the
            version or window that differs.

    """
    fields = Fields(_document(text), "report", ReportError)
    version = fields.count("schema_version")
    if version != SCHEMA_VERSION:
        raise ReportError(f"report.schema_version is {version}; this gate reads {SCHEMA_VERSION}")
    report = Report(
        window=fields.text("window"),
        rows=fields.read("rows", rows),
        challenger=fields.read(
            "challenger",
            lambda each: Challenger(uri=each.text("uri"), metrics=each.read("metrics", _metrics)),
        ),
        champion=fields.read_or_none(
            "champion",
            lambda each: ScoredChampion(
                name=each.text("name"), uri=each.text("uri"), metrics=each.read("metrics", _metrics)
            ),
        ),
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
        # JSON can express half of a surrogate pair, which cannot be written to a log or a page.
        json.dumps(document, ensure_ascii=False).encode()
    except ReportError:
        raise
    except RecursionError:
        raise ReportError("the report cannot be read: its objects and lists are nested too deeply") from None
    except ValueError as error:
        raise ReportError(f"the report is not valid JSON, it may be truncated: {error}") from error
    return document


def _refuse_constant(name: str) -> None:
    raise ReportError(f"the report contains {name}; write null for a number that could not be computed")


def rows(fields: Fields) -> SplitCounts:
    """Read the number of trips in each split."""
    return SplitCounts(train=fields.count("train"), eval=fields.count("eval"), test=fields.count("test"))


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


def _tuning(fields: Fields) -> Tuning:
    return Tuning(
        trials=fields.count("trials"),
        objective=fields.text("objective"),
        best=fields.read_or_none("best", Fields.other_scalars) or {},
        best_score=fields.number_or_none("best_score"),
        # Arguments are evaluated in order, so that the other fields are those after the score.
        history=fields.read_list(
            "history",
            lambda trial: Trial(score=trial.number_or_none("score"), hyperparameters=trial.other_scalars()),
        ),
    )


def hashes(fields: Fields) -> Hashes:
    """Read the digests of a run."""
    # Earlier decisions, which a cleared run reads again, have the request's digest as `spec`.
    request = "spec" if fields.has("spec") else "request"
    return Hashes(modules=fields.text("modules"), request=fields.text(request), data=fields.text("data"))


def _folder(uri: str) -> str:
    return uri.rstrip("/")


def _check_same_rows(place: str, challenger: Metrics, champion: Metrics) -> None:
    if challenger.count != champion.count:
        raise ReportError(
            f"{place}: the challenger was scored on {challenger.count} rows and the champion on "
            f"{champion.count}; compare scores on the same rows"
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
                f"{place}: the difference in {metric} is given as {given:.6g}, "
                f"but {ours:.6g} - {theirs:.6g} is {expected:.6g}"
            )


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _finite(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
