"""The plan of a roll-out, its document, and what the guards say, without a server."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from vertex_airflow.guards import Bake, Guard, Guards, Histogram, Point, Reading, Verdict, WithoutMetrics
from vertex_airflow.rollout import PlanError, Rollout, State, Step, StepRecord, parse_plan, parse_seconds

GUARDS = Guards(min_requests=10, metrics_delay=5.0, longest_wait=100.0)
STEP = Bake(began=1000.0, seconds=60.0)
OVER = STEP.began + STEP.seconds + GUARDS.metrics_delay
FAST, SLOW = (0.01, 0.02), (0.04, 0.08)


def point(model: str = "new", *, requests: int = 100, errors: int = 0, **fields: Any) -> Point:  # noqa: ANN401  # Point's
    """Return the requests of a model in the step."""
    bucket = fields.pop("bucket", FAST)
    times = {"began": 1010.0, "ended": 1020.0, **fields}
    latencies = Histogram(counts={bucket: requests})
    return Point(deployed_model=model, requests=requests, errors=errors, latencies=latencies, **times)


def verdict(*points: Point, now: float = OVER, guards: Guards = GUARDS) -> Verdict:
    """Return what happens to the step."""
    return guards.assess(points, "new", "old", step=STEP, now=now).verdict


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("2d", 172800), (" 0.5s ", 0.5)]
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    """Seconds, minutes, hours and days."""
    assert parse_seconds(text) == seconds


def test_a_plan_is_a_list_of_steps() -> None:
    """The last step is of all traffic and takes no time."""
    steps = [
        Step(percent=percent, bake_seconds=seconds) for percent, seconds in ((10, 900), (50, 5), (100, 0))
    ]

    assert parse_plan("10:15m 50:5s 100") == tuple(steps)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ("", "does not end with 100"),
        ("10:15m", "does not end with 100"),
        ("10:15m 50:15m 100:5m", "step '100:5m' .* the last step ends at once"),
        ("50:1m 10:1m 100", "step '10:1m' .* does not rise"),
        ("100 100", "step '100' .* does not rise"),
        ("0:1m 100", "step '0:1m' .* no share of 1 to 100"),
        ("101", "step '101' .* no share of 1 to 100"),
        ("ten:1m 100", "step 'ten:1m' .* no share"),
        ("10 100", "step '10' .* write 10:15m"),
        ("10:15 100", "'15' is not a time"),
        ("10:-5m 100", "'-5m' is not a time"),
        ("10: 100", "'' is not a time"),
    ],
)
def test_a_wrong_plan_is_refused(plan: str, message: str) -> None:
    """The message names the step and what to write."""
    with pytest.raises(PlanError, match=message):
        parse_plan(plan)


@pytest.mark.parametrize(
    ("bound", "value"),
    [
        ("max_error_rate", 1.5),
        ("max_error_rate", math.nan),
        ("max_latency_ratio", 0),
        ("min_requests", -1),
        ("metrics_delay", -1),
        ("longest_wait", math.inf),
    ],
)
def test_a_bound_that_bounds_nothing_is_refused(bound: str, value: float) -> None:
    """The message names the bound."""
    changed: dict[str, Any] = {bound: value}

    with pytest.raises(ValueError, match=bound):
        replace(GUARDS, **changed)


def test_a_healthy_step_passes_when_its_time_is_over() -> None:
    """It does not before, however many requests there were."""
    points = (point(), point("old"))

    assert (verdict(*points, now=OVER - 1), verdict(*points)) == (Verdict.WAITING, Verdict.PASSED)


def test_errors_breach_before_the_time_is_over() -> None:
    """The reason has the metric, what was observed, what is allowed, and the window."""
    said = GUARDS.assess([point(errors=2)], "new", "old", step=STEP, now=1030.0)

    assert said.verdict is Verdict.BREACHED
    assert said.reason == (
        "error_rate was 2.00% between 1970-01-01 00:16:40 and 1970-01-01 00:17:05 UTC, and 1.00% is allowed"
    )


@pytest.mark.parametrize(
    ("errors", "requests", "expected"),
    [(1, 100, Verdict.PASSED), (2, 100, Verdict.BREACHED), (1, 5, Verdict.BREACHED), (0, 5, Verdict.WAITING)],
)
def test_an_error_rate_is_of_enough_requests(errors: int, requests: int, expected: Verdict) -> None:
    """As many as are allowed of the requests, or of the fewest that a step needs."""
    assert verdict(point(errors=errors, requests=requests), point("old")) is expected


def test_a_latency_is_compared_with_the_champions_at_the_same_time() -> None:
    """A model that is as slow as the champion is not slow."""
    slow = point(bucket=SLOW)

    assert verdict(slow, point("old")) is Verdict.BREACHED
    assert verdict(slow, point("old", bucket=SLOW)) is Verdict.PASSED


@pytest.mark.parametrize(
    "points",
    [
        (),
        (point(requests=9), point("old")),
        (point(), point("old", requests=9)),
        (point(),),
        (point(began=999.0), point("old")),
        (point(ended=OVER), point("old")),
        (point("another"), point("old")),
    ],
    ids=["none", "too few", "champion's too few", "no champion", "of before", "incomplete", "another's"],
)
@pytest.mark.parametrize("without", list(WithoutMetrics))
def test_no_data_never_passes(points: tuple[Point, ...], without: WithoutMetrics) -> None:
    """A step waits for requests, and then goes back or waits for a person."""
    guards = replace(GUARDS, without_metrics=without)
    late = {WithoutMetrics.ROLL_BACK: Verdict.BREACHED, WithoutMetrics.WAIT: Verdict.WAITING}

    assert verdict(*points, guards=guards) is Verdict.WAITING
    # The point whose period had not ended is complete by then.
    if points and points[0].ended == OVER:
        return
    assert verdict(*points, now=OVER + 100, guards=guards) is late[without]


def test_no_floor_still_needs_a_request() -> None:
    """A step that is said to need no requests does not pass without any."""
    assert verdict(guards=replace(GUARDS, min_requests=0)) is Verdict.WAITING


def test_the_reason_says_what_is_missing() -> None:
    """Too few requests are named with their number and the one that is needed."""
    said = GUARDS.assess([point(requests=3)], "new", "old", step=STEP, now=OVER + 100)

    assert "too few metrics after the longest wait: the model answered 3 requests" in said.reason
    assert "and 10 are needed" in said.reason
    assert {each.verdict for each in said.readings} == {Verdict.NO_DATA}


@pytest.mark.parametrize("without", list(WithoutMetrics))
def test_metrics_that_cannot_be_read_never_pass(without: WithoutMetrics) -> None:
    """A missing role is not health."""
    said = replace(GUARDS, without_metrics=without).unreadable("403")

    assert said.verdict in {Verdict.BREACHED, Verdict.WAITING}


def test_a_quantile_lies_in_its_bucket() -> None:
    """It is estimated inside of a bucket, is a bound beyond the last one, and nan of nothing."""
    both = Histogram(counts={FAST: 50}).plus(Histogram(counts={SLOW: 50}))

    assert (both.total, both.quantile(0.25), both.quantile(0.75)) == (100, 0.015, 0.06)
    assert Histogram(counts={(1.0, math.inf): 3}).quantile(0.95) == 1.0
    assert math.isnan(Histogram().quantile(0.95))


READING = Reading(
    guard=Guard.LATENCY_P95,
    observed=0.2,
    allowed=math.nan,
    began=1000.0,
    until=1060.5,
    verdict=Verdict.WAITING,
)
ROLLOUT = Rollout(
    endpoint="projects/p/locations/l/endpoints/e",
    deployed_model="7",
    deployed_at=900.25,
    model="projects/p/locations/l/models/m@2",
    champion="projects/p/locations/l/models/m@1",
    plan=parse_plan("10:1m 50:1m 100"),
)


def test_a_document_is_read_as_it_was_written() -> None:
    """Steps, readings without a number, and times to the microsecond."""
    written = (
        ROLLOUT.begin(10, now=1000.0)
        .note((READING,), 5)
        .begin(50, now=1060.5)
        .over(State.ROLLED_BACK, "slow", now=1100.0)
    )
    document = json.loads(written.to_json())

    read = Rollout.from_json(written.to_json())

    assert read.to_json() == written.to_json()
    assert replace(read, steps=()) == replace(written, steps=())
    assert [(each.percent, each.began, each.ended, each.requests) for each in read.steps] == [
        (10, 1000.0, 1060.5, 5),
        (50, 1060.5, 1100.0, 0),
    ]
    reading = read.steps[0].reading(Guard.LATENCY_P95)
    assert reading is not None
    assert math.isnan(reading.allowed)
    assert document["steps"][0]["guards"][0]["allowed"] is None
    assert document["steps"][0]["began"] == "1970-01-01T00:16:40.000000+00:00"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        ROLLOUT.to_json().replace(b'"schema_version": 1', b'"schema_version": 2'),
        ROLLOUT.to_json().replace(b'"running"', b'"walking"'),
        ROLLOUT.to_json().replace(b'"plan"', b'"plans"'),
    ],
)
def test_another_document_is_refused(content: bytes) -> None:
    """Whatever is wrong with it, the error is a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        Rollout.from_json(content)


def test_a_later_deployment_is_another_one() -> None:
    """The deployed model's id stands for the version, so that the time tells them apart."""
    assert ROLLOUT.is_of("7", 900.2501)
    assert not ROLLOUT.is_of("7", 901.0)
    assert not ROLLOUT.is_of("8", 900.25)


def test_the_next_step_is_the_next_larger_share() -> None:
    """After the last step below 100 comes 100."""
    begun = ROLLOUT.begin(10, now=1.0)

    assert (begun.current, begun.planned(10).bake_seconds) == (StepRecord(percent=10, began=1.0), 60.0)
    assert (begun.after(10).percent, begun.after(50).percent) == (50, 100)
