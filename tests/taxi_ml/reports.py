"""Reports and policies for the gate's tests: plain ones, and strategies for any."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from taxi_ml.gate import policy
from taxi_ml.gate.distributions import Distance, Drift, FareBand, Fit
from taxi_ml.gate.metrics import Difference, Interval, Metrics, Reference, Role, Slice
from taxi_ml.gate.policy import Policy
from taxi_ml.gate.report import Anomaly, Challenger, Hashes, Report, ScoredChampion, Trial, Tuning
from taxi_ml.gate.schema import Change, SchemaDifference
from taxi_ml.promotion.golden import Golden, GoldenTrip
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts

SHIPPED = policy.load()
POLICY = replace(SHIPPED, baseline=replace(SHIPPED.baseline, required=False))
"""The shipped policy, except that it judges reports without a baseline."""
CHALLENGER = "gs://taxi-local/serving/2015-07/2"
CHAMPION = "gs://taxi-local/serving/2015-06/1"
CHAMPION_NAME = "projects/taxi-local/locations/us-central1/models/7@3"
ANCHOR = "gs://taxi-local/serving/2015-01/1"
ANCHOR_NAME = "projects/taxi-local/locations/us-central1/models/7@1"

GOLDEN = Golden(
    model=CHALLENGER,
    trips=(
        GoldenTrip(instance={"TripStartHour": 8, "rawDistance": 1250.5}, fare=12.5, why=("largest fare",)),
        GoldenTrip(instance={"TripStartHour": 9, "rawDistance": None}, fare=7.0, why=("no rawDistance",)),
    ),
)


def metrics(rmse: float | None, mae: float | None, count: int = 400) -> Metrics:
    """Return metrics of a model that is right on average, and that has no error to clip."""
    return Metrics(rmse=rmse, clipped_rmse=rmse, mae=mae, count=count, mean_label=11.5, mean_prediction=11.4)


def interval(estimate: float, half_width: float) -> Interval:
    """Return a normal interval."""
    return Interval(
        estimate=estimate, low=estimate - half_width, high=estimate + half_width, error=half_width / 1.96
    )


def compared(ours: Metrics, theirs: Metrics, half_width: float = 0.03) -> Difference:
    """Return the difference of two models' metrics."""
    rmse = interval((ours.rmse or 0) - (theirs.rmse or 0), half_width)
    return Difference(
        rmse=rmse,
        clipped_rmse=rmse,
        mae=interval((ours.mae or 0) - (theirs.mae or 0), half_width),
    )


def slice_of(  # noqa: PLR0913, PLR0917  # the parts of a slice
    feature: str,
    value: str,
    ours: Metrics,
    theirs: Metrics | None,
    baseline: Metrics | None = None,
    half_width: float = 0.1,
) -> Slice:
    """Return a slice as the pipeline reports it."""
    return Slice(
        feature=feature,
        value=value,
        count=ours.count,
        challenger=ours,
        champion=theirs,
        difference=compared(ours, theirs, half_width) if theirs else None,
        baseline=baseline,
        baseline_difference=compared(ours, baseline, half_width) if baseline else None,
    )


def reference(role: Role, ours: Metrics, theirs: Metrics, half_width: float = 0.03) -> Reference:
    """Return a reference with the challenger's difference from it."""
    name, uri = ("boosted trees", "") if role is Role.BASELINE else (ANCHOR_NAME, ANCHOR)
    return Reference(
        role=role, name=name, uri=uri, metrics=theirs, difference=compared(ours, theirs, half_width)
    )


def a_report(*, with_champion: bool = True) -> Report:
    """Return the report of a challenger that is a little better than the champion and the references."""
    ours, theirs = metrics(4.4, 2.4), metrics(4.5, 2.45)
    in_slice = metrics(4.0, 2.2, 80)
    champion = ScoredChampion(name=CHAMPION_NAME, uri=CHAMPION, metrics=theirs)
    return Report(
        window="2015-07_train24_test1",
        rows=SplitCounts(train=9118, eval=449, test=400),
        challenger=Challenger(uri=CHALLENGER, metrics=ours, quotable=metrics(3.4, 2.1, 352)),
        champion=champion if with_champion else None,
        difference=compared(ours, theirs) if with_champion else None,
        references=(
            reference(Role.BASELINE, ours, metrics(4.7, 2.6)),
            reference(Role.ANCHOR, ours, metrics(4.6, 2.5)),
        ),
        slices=tuple(
            slice_of(feature, "8", in_slice, in_slice if with_champion else None, in_slice)
            for feature in POLICY.slices.features
        ),
        anomalies=(),
        tuner=Tuning(
            trials=2,
            objective="val_rmse",
            best={"learning_rate": 0.001, "depth": 2},
            best_score=4.2,
            history=(Trial(hyperparameters={"learning_rate": 0.001, "depth": 2}, score=4.2),),
        ),
        blessed=True,
        hashes=Hashes(modules="a1", request="b2", data="c3"),
        drift=(drift(0.01),) if with_champion else (),
        skew=(drift(0.02, split=Split.TEST),),
        fit=a_fit(with_champion=with_champion),
    )


def a_fit(*, with_champion: bool) -> Fit:
    """Return the distribution of 400 predictions around the true fares."""
    low, high = (7.5, 22.0) if with_champion else (None, None)
    return Fit(
        bands=(
            FareBand(low=0, high=10, count=300, paid=7, challenger=7.2, champion=low),
            FareBand(low=10, high=None, count=100, paid=24, challenger=23, champion=high),
        ),
        edges=(-2.0, 0.0, 2.0),
        residuals=(150, 250),
        champion_residuals=(100, 300) if with_champion else None,
    )


def drift(distance: float | None, new_share: float | None = 0.0, split: Split = Split.TRAIN) -> Drift:
    """Return the distance of the pickup areas from those that a model learned from."""
    return Drift(
        split=split,
        feature="pickup_census_tract",
        measure=Distance.L_INFINITY,
        distance=distance,
        new_share=new_share,
    )


def with_metrics(given: Report, ours: Metrics) -> Report:
    """Return the report with other metrics of the challenger and the differences that follow."""
    return replace(
        given,
        challenger=replace(given.challenger, metrics=ours),
        difference=compared(ours, given.champion.metrics) if given.champion else None,
        references=tuple(reference(each.role, ours, each.metrics) for each in given.references),
    )


def swapped(given: Report) -> Report:
    """Return the report with challenger and champion in each other's place, without references."""
    if given.champion is None or given.difference is None:
        raise ValueError("only a comparison can be swapped")
    return replace(
        given,
        challenger=Challenger(uri=given.champion.uri, metrics=given.champion.metrics),
        champion=ScoredChampion(
            name="projects/p/locations/l/models/1@1",
            uri=given.challenger.uri,
            metrics=given.challenger.metrics,
        ),
        difference=_reversed(given.difference),
        references=(),
        slices=tuple(
            replace(
                part,
                baseline=None,
                baseline_difference=None,
                challenger=part.champion or part.challenger,
                champion=part.challenger,
                difference=part.difference and _reversed(part.difference),
            )
            for part in given.slices
        ),
    )


def _reversed(found: Difference) -> Difference:
    return Difference(
        rmse=_negated(found.rmse), clipped_rmse=_negated(found.clipped_rmse), mae=_negated(found.mae)
    )


def _negated(of: Interval) -> Interval:
    return Interval(
        estimate=None if of.estimate is None else -of.estimate,
        low=None if of.high is None else -of.high,
        high=None if of.low is None else -of.low,
        error=of.error,
    )


USD = st.floats(min_value=0, max_value=30)
BROKEN = st.sampled_from([None, float("nan"), float("inf"), float("-inf")])
HALF_WIDTHS = st.sampled_from([0.0, 0.01, 0.1, 1.0, 10.0])
ROW_COUNTS = st.integers(min_value=0, max_value=3000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors of the models on the same rows."""

    count: int
    ours: Metrics
    theirs: Metrics
    baseline: Metrics


@st.composite
def scores(draw: st.DrawFn, counts: st.SearchStrategy[int] = ROW_COUNTS) -> Scores:
    """Draw the models' errors on some rows; many of them are nearly alike."""
    count = draw(counts)
    rmse, mae = draw(USD), draw(USD)
    near = draw(st.booleans())
    factor = st.floats(min_value=0.95, max_value=1.1) if near else st.floats(min_value=0, max_value=3)
    theirs, baseline = (metrics(rmse * draw(factor), mae * draw(factor), count) for _ in range(2))
    return Scores(count=count, ours=metrics(rmse, mae, count), theirs=theirs, baseline=baseline)


@st.composite
def slices(draw: st.DrawFn, *, with_champion: bool, with_baseline: bool) -> Slice:
    """Draw a slice, with or without intervals."""
    drawn = draw(scores(st.integers(0, 100)))
    part = slice_of(
        draw(st.sampled_from(POLICY.slices.features)),
        str(draw(st.integers(0, 23))),
        drawn.ours,
        drawn.theirs if with_champion else None,
        drawn.baseline if with_baseline else None,
        draw(HALF_WIDTHS),
    )
    return part if draw(st.booleans()) else replace(part, difference=None, baseline_difference=None)


ANOMALIES = st.builds(
    Anomaly,
    split=st.sampled_from(Split),
    feature=st.sampled_from(["fare", "rawDistance"]),
    description=st.just("unexpected"),
    kind=st.sampled_from(["", "ENUM_TYPE_UNEXPECTED_STRING_VALUES", "COMPARATOR_L_INFTY_HIGH"]),
)
DIFFERENCES = st.builds(
    SchemaDifference,
    feature=st.sampled_from(["tips", "rawDistance"]),
    change=st.sampled_from(Change),
    reviewed=st.sampled_from(["", "FLOAT"]),
    inferred=st.sampled_from(["", "INT"]),
)
SHARES = st.floats(min_value=0, max_value=1)
DRIFTS = st.builds(drift, SHARES, SHARES, st.sampled_from(Split))
TUNINGS = st.builds(
    Tuning,
    trials=st.integers(0, 3),
    objective=st.just("val_rmse"),
    best=st.sampled_from([{}, {"learning_rate": 0.01, "depth": 1}]),
    best_score=st.one_of(USD, st.none()),
)


@st.composite
def reports(draw: st.DrawFn, *, with_champion: bool | None = None) -> Report:
    """Draw a report whose numbers are finite; many of them break no rule."""
    compares = draw(st.booleans()) if with_champion is None else with_champion
    has_baseline, has_anchor = draw(st.booleans()), draw(st.booleans())
    sound = Scores(count=400, ours=metrics(4, 2), theirs=metrics(4.1, 2), baseline=metrics(4.2, 2.1))
    drawn = draw(st.one_of(scores(), st.just(sound)))
    theirs, baseline = drawn.theirs if compares else None, drawn.baseline if has_baseline else None
    always = [slice_of(name, "x", drawn.ours, theirs, baseline) for name in _features()]
    some = st.lists(slices(with_champion=compares, with_baseline=has_baseline), max_size=2)
    references = [reference(Role.BASELINE, drawn.ours, drawn.baseline, draw(HALF_WIDTHS))]
    references += [reference(Role.ANCHOR, drawn.ours, drawn.theirs, draw(HALF_WIDTHS))]
    return Report(
        window="2015-07_train24_test1",
        rows=SplitCounts(train=draw(ROW_COUNTS), eval=draw(ROW_COUNTS), test=drawn.count),
        challenger=Challenger(uri=CHALLENGER, metrics=drawn.ours),
        champion=ScoredChampion(name=CHAMPION_NAME, uri=CHAMPION, metrics=theirs) if theirs else None,
        difference=compared(drawn.ours, theirs, draw(HALF_WIDTHS)) if theirs else None,
        references=tuple(references[0 if has_baseline else 1 : 2 if has_anchor else 1]),
        unchanged=compares and draw(st.sampled_from([False, False, False, True])),
        slices=(*always, *draw(some)),
        anomalies=tuple(draw(st.lists(ANOMALIES, max_size=1))),
        tuner=draw(st.one_of(st.none(), TUNINGS)),
        blessed=draw(st.sampled_from([True, True, False, None])),
        hashes=Hashes(modules="a1", request="b2", data="c3"),
        drift=tuple(draw(st.lists(DRIFTS, max_size=2))) if compares else (),
        skew=tuple(draw(st.lists(DRIFTS, max_size=2))),
        schema=tuple(draw(st.lists(DIFFERENCES, max_size=1))),
    )


def _features() -> tuple[str, ...]:
    return POLICY.slices.features


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy with bars around the numbers that `reports` draws."""
    bar = st.floats(min_value=0.01, max_value=30)
    margin = st.floats(min_value=0, max_value=0.5)
    distances = st.builds(
        policy.DistanceRules,
        splits=st.frozensets(st.sampled_from(Split)),
        ignored_features=st.sampled_from([frozenset(), frozenset({"pickup_census_tract"})]),
        max_distance=st.floats(min_value=0.01, max_value=1),
        max_new_share=st.floats(min_value=0.01, max_value=1),
    )
    return Policy(
        require_blessing=draw(st.booleans()),
        require_tuner=draw(st.booleans()),
        min_rows=policy.MinRows(
            train=draw(ROW_COUNTS), eval=draw(ROW_COUNTS), test=draw(st.integers(1, 3000))
        ),
        max_usd=policy.MaxUsd(rmse=draw(bar), mae=draw(bar)),
        margin=policy.ChampionMargins(mae=draw(margin), clipped_rmse=draw(margin), better=draw(margin)),
        baseline=policy.BaselineMargins(
            mae=draw(margin), clipped_rmse=draw(margin), required=draw(st.booleans())
        ),
        anchor=policy.Margins(mae=draw(margin), clipped_rmse=draw(margin)),
        slices=policy.SliceRules(
            features=tuple(draw(st.lists(st.sampled_from(_features()), max_size=2))),
            min_rows=draw(st.integers(policy.LEAST_SLICE_ROWS, 100)),
            alpha=draw(st.floats(min_value=0.001, max_value=1)),
            champion=draw(margin),
            baseline=draw(margin),
        ),
        anomalies=policy.AnomalyRules(
            splits=frozenset(draw(st.lists(st.sampled_from(Split)))),
            tolerated_kinds=frozenset(draw(st.lists(st.sampled_from(["", "COMPARATOR_L_INFTY_HIGH"])))),
        ),
        drift=draw(distances),
        skew=draw(distances),
    )
