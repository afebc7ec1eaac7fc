"""The findings of a pipeline run about its challenger: the content of report.json."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from taxi_ml.gate import distributions, refits
from taxi_ml.gate.fields import Fields
from taxi_ml.gate.metrics import Role, contradiction, difference, metrics, part, reference
from taxi_ml.gate.schema import schema_difference
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.gate.distributions import Drift, Fit
    from taxi_ml.gate.metrics import Difference, Metrics, Reference, Slice
    from taxi_ml.gate.refits import Refit
    from taxi_ml.gate.schema import SchemaDifference

SCHEMA_VERSION: Final = 2


class ReportError(ValueError):
    """A report is unreadable, of another version or window, or contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenger:
    """The model that the run trained; `uri` is the folder of its SavedModel.

    `quotable` are its errors on the trips whose distance is known and above 0. They are for people: no rule
    reads them.
    """

    uri: str
    metrics: Metrics
    quotable: Metrics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredChampion:
    """The champion with its metrics, as a challenger has them; `name` is its resource name with version."""

    name: str
    uri: str
    metrics: Metrics
    quotable: Metrics | None = None


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
    `unchanged` is whether challenger and champion answer every test row alike. `drift` is empty without a
    champion, or with one that has no profile of its training rows. `skew` is the distance of the test rows
    from those that the challenger learned from, empty if it has no profile of them. `fit` and `schema`, the
    differences from the reviewed schema, do not affect the decision. `refit` is the challenger trained again
    with the test rows, None unless the settings ask for it.
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
    references: tuple[Reference, ...] = ()
    unchanged: bool = False
    drift: tuple[Drift, ...] = ()
    skew: tuple[Drift, ...] = ()
    fit: Fit | None = None
    schema: tuple[SchemaDifference, ...] = ()
    refit: Refit | None = None

    def __post_init__(self) -> None:
        """Refuse a comparison on different rows, with a wrong difference, or of a model with itself.

        Raises:
            ReportError: naming what contradicts what.

        """
        ours, champion = self.challenger.metrics, self.champion
        if ours.count != self.rows.test:
            raise ReportError(
                f"report.challenger was scored on {ours.count} rows but the test split has {self.rows.test}"
            )
        if champion is None:
            for name in ("difference", "unchanged"):
                if getattr(self, name):
                    raise ReportError(
                        f"report.{name} is given but report.champion is null; a comparison needs both"
                    )
        elif not self.unchanged and champion.uri.rstrip("/") == self.challenger.uri.rstrip("/"):
            raise ReportError(
                f"challenger and champion are the same model, {champion.uri}, but report.unchanged is false"
            )
        for role in Role:
            if len([found for found in self.references if found.role is role]) > 1:
                raise ReportError(f"report.references has more than one {role}; give one of each role")
        for place, problem in self._contradictions():
            if problem:
                raise ReportError(f"{place}: {problem}")

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        ours = self.challenger.metrics
        if self.champion is not None:
            yield "report", contradiction(ours, self.champion.metrics, self.difference, "champion")
        for found in self.references:
            yield "report", contradiction(ours, found.metrics, found.difference, found.role)
        for each in self.slices:
            for model, found_difference, name in (
                (each.champion, each.difference, "champion"),
                (each.baseline, each.baseline_difference, Role.BASELINE),
            ):
                if model is not None:
                    yield f"slice {each.name}", contradiction(each.challenger, model, found_difference, name)

    def reference(self, role: Role) -> Reference | None:
        """Return the reference in this role, or None if the report has none."""
        return next((found for found in self.references if found.role is role), None)

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
        raise ReportError(
            f"report.schema_version is {version}; this gate reads {SCHEMA_VERSION}; run the pipeline "
            "again, so that the code of this gate writes the report"
        )
    report = Report(
        window=fields.text("window"),
        rows=fields.read("rows", rows),
        challenger=fields.read(
            "challenger",
            lambda each: Challenger(
                uri=each.text("uri"), metrics=each.read("metrics", metrics), quotable=_quotable(each)
            ),
        ),
        champion=fields.read_or_none(
            "champion",
            lambda each: ScoredChampion(
                name=each.text("name"),
                uri=each.text("uri"),
                metrics=each.read("metrics", metrics),
                quotable=_quotable(each),
            ),
        ),
        difference=fields.read_or_none("difference", difference),
        references=fields.read_list("references", reference),
        unchanged=fields.flag("unchanged"),
        slices=fields.read_list("slices", part),
        anomalies=fields.read("anomalies", _anomalies),
        tuner=fields.read_or_none("tuner", _tuning),
        blessed=fields.flag_or_none("blessed"),
        hashes=fields.read("hashes", hashes),
        drift=fields.read_list("drift", distributions.drift) if fields.has("drift") else (),
        skew=fields.read_list("skew", distributions.drift) if fields.has("skew") else (),
        fit=fields.read_or_none("fit", distributions.fit) if fields.has("fit") else None,
        schema=fields.read_list("schema", schema_difference) if fields.has("schema") else (),
        refit=fields.read_or_none("refit", refits.refit) if fields.has("refit") else None,
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


def _quotable(fields: Fields) -> Metrics | None:
    return fields.read_or_none("quotable", metrics) if fields.has("quotable") else None


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


def _finite(value: Any) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
