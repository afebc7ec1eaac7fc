"""Reports and policies for the gate's tests: plain ones, and strategies for any."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

from taxi_ml.gate import policy
from taxi_ml.gate.distributions import Distance, Drift, FareBand, Fit
from taxi_ml.gate.policy import Policy
from taxi_ml.gate.report import (
    Anomaly,
    Challenger,
    Difference,
    Hashes,
    Interval,
    Metrics,
    Report,
    ScoredChampion,
    Slice,
    Trial,
    Tuning,
)
from taxi_ml.gate.schema import Change, SchemaDifference
from taxi_ml.splits import Split
from taxi_ml.sql.counts import SplitCounts

POLICY = policy.load()
CHALLENGER = "gs://taxi-local/serving/2015-07/2"
CHAMPION = "gs://taxi-local/serving/2015-06/1"
CHAMPION_NAME = "projects/taxi-local/locations/us-central1/models/7@3"


def metrics(rmse: float | None, mae: float | None, count: int = 400) -> Metrics:
    """Return metrics of a model that is right on average."""
    return Metrics(rmse=rmse, mae=mae, count=count, mean_label=11.5, mean_prediction=11.4)


def interval(estimate: float, half_width: float) -> Interval:
    """Return a symmetric interval."""
    return Interval(estimate=estimate, low=estimate - half_width, high=estimate + half_width)


def compared(ours: Metrics, theirs: Metrics, half_width: float = 0.5) -> Difference:
    """Return the difference of two models' metrics."""
    return Difference(
        rmse=interval((ours.rmse or 0) - (theirs.rmse or 0), half_width),
        mae=interval((ours.mae or 0) - (theirs.mae or 0), half_width),
    )


def slice_of(feature: str, value: str, ours: Metrics, theirs: Metrics | None) -> Slice:
    """Return a slice without an interval, as the pipeline reports it."""
    return Slice(feature=feature, value=value, count=ours.count, challenger=ours, champion=theirs)


def a_report(*, with_champion: bool = True) -> Report:
    """Return the report of a challenger that is a little better than the champion."""
    ours, theirs = metrics(4.4, 2.4), metrics(4.5, 2.5)
    champion = ScoredChampion(name=CHAMPION_NAME, uri=CHAMPION, metrics=theirs)
    return Report(
        window="2015-07_train24_test1",
        rows=SplitCounts(train=9118, eval=449, test=400),
        challenger=Challenger(uri=CHALLENGER, metrics=ours),
        champion=champion if with_champion else None,
        difference=compared(ours, theirs) if with_champion else None,
        slices=tuple(
            slice_of(feature, "8", metrics(4.0, 2.2, 80), metrics(4.0, 2.2, 80) if with_champion else None)
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
    """Return the distance of the pickup areas from the champion's."""
    return Drift(
        split=split,
        feature="pickup_census_tract",
        measure=Distance.L_INFINITY,
        distance=distance,
        new_share=new_share,
    )


def with_metrics(given: Report, ours: Metrics) -> Report:
    """Return the report with other metrics of the challenger and the difference that follows."""
    difference = compared(ours, given.champion.metrics) if given.champion else None
    return replace(given, challenger=replace(given.challenger, metrics=ours), difference=difference)


def swapped(given: Report) -> Report:
    """Return the report with challenger and champion in each other's place."""
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
        slices=tuple(
            replace(
                part,
                challenger=part.champion or part.challenger,
                champion=part.challenger,
                difference=part.difference and _reversed(part.difference),
            )
            for part in given.slices
        ),
    )


def _reversed(found: Difference) -> Difference:
    return Difference(rmse=_negated(found.rmse), mae=_negated(found.mae))


def _negated(of: Interval) -> Interval:
    return Interval(
        estimate=None if of.estimate is None else -of.estimate,
        low=None if of.high is None else -of.high,
        high=None if of.low is None else -of.low,
    )


USD = st.floats(min_value=0, max_value=30)
BROKEN = st.sampled_from([None, float("nan"), float("inf"), float("-inf")])
ROW_COUNTS = st.integers(min_value=0, max_value=3000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors of both models on the same rows."""

    count: int
    ours: Metrics
    theirs: Metrics


@st.composite
def scores(draw: st.DrawFn, counts: st.SearchStrategy[int] = ROW_COUNTS) -> Scores:
    """Draw both models' errors on some rows."""
    count = draw(counts)
    ours, theirs = (metrics(draw(USD), draw(USD), count) for _ in range(2))
    return Scores(count=count, ours=ours, theirs=theirs)


@st.composite
def slices(draw: st.DrawFn, *, with_champion: bool) -> Slice:
    """Draw a slice, with or without an interval."""
    drawn = draw(scores(st.integers(0, 100)))
    feature = draw(st.sampled_from(POLICY.slices.features))
    difference = compared(drawn.ours, drawn.theirs, draw(USD)) if draw(st.booleans()) else None
    return Slice(
        feature=feature,
        value=str(draw(st.integers(0, 23))),
        count=drawn.count,
        challenger=drawn.ours,
        champion=drawn.theirs if with_champion else None,
        difference=difference if with_champion else None,
    )


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
    drawn = draw(st.one_of(scores(), st.just(Scores(count=400, ours=metrics(4, 2), theirs=metrics(4.1, 2)))))
    always = [slice_of(name, "x", drawn.ours, drawn.theirs if compares else None) for name in _features()]
    return Report(
        window="2015-07_train24_test1",
        rows=SplitCounts(train=draw(ROW_COUNTS), eval=draw(ROW_COUNTS), test=drawn.count),
        challenger=Challenger(uri=CHALLENGER, metrics=drawn.ours),
        champion=ScoredChampion(name=CHAMPION_NAME, uri=CHAMPION, metrics=drawn.theirs) if compares else None,
        difference=compared(drawn.ours, drawn.theirs, draw(USD)) if compares else None,
        slices=(*always, *draw(st.lists(slices(with_champion=compares), max_size=2))),
        anomalies=tuple(draw(st.lists(ANOMALIES, max_size=1))),
        tuner=draw(st.one_of(st.none(), TUNINGS)),
        blessed=draw(st.sampled_from([True, True, False, None])),
        hashes=Hashes(modules="a1", request="b2", data="c3"),
        drift=tuple(draw(st.lists(DRIFTS, max_size=2))) if compares else (),
        schema=tuple(draw(st.lists(DIFFERENCES, max_size=1))),
    )


def _features() -> tuple[str, ...]:
    return POLICY.slices.features


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Draw a policy with bars around the numbers that `reports` draws."""
    bar = st.floats(min_value=0.01, max_value=30)
    regression = st.builds(policy.Regression, significant=USD, estimate=USD)
    return Policy(
        require_blessing=draw(st.booleans()),
        require_tuner=draw(st.booleans()),
        min_rows=policy.MinRows(
            train=draw(ROW_COUNTS), eval=draw(ROW_COUNTS), test=draw(st.integers(1, 3000))
        ),
        max_usd=policy.MaxUsd(rmse=draw(bar), mae=draw(bar)),
        regression=policy.RegressionRules(rmse=draw(regression), mae=draw(regression)),
        slices=policy.SliceRules(
            features=tuple(draw(st.lists(st.sampled_from(_features()), max_size=2))),
            min_rows=draw(st.integers(1, 100)),
            max_mae=draw(bar),
            regression_mae=draw(USD),
        ),
        anomalies=policy.AnomalyRules(
            splits=frozenset(draw(st.lists(st.sampled_from(Split)))),
            tolerated_kinds=frozenset(draw(st.lists(st.sampled_from(["", "COMPARATOR_L_INFTY_HIGH"])))),
        ),
        drift=policy.DriftRules(
            required=draw(st.booleans()),
            splits=frozenset(draw(st.lists(st.sampled_from(Split)))),
            ignored_features=frozenset(draw(st.lists(st.just("pickup_census_tract"), max_size=1))),
            max_distance=draw(st.floats(min_value=0.01, max_value=1)),
            max_new_share=draw(st.floats(min_value=0.01, max_value=1)),
        ),
    )
