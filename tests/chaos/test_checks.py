from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.chaos.checks import Aftermath, unpromoted, violations
from tests.chaos.cloud import Job, Serving

NOON = datetime(2015, 2, 1, 12, tzinfo=UTC)
MODEL, OTHER = "gs://b/model", "gs://b/other"


def job(state: str = "SUCCEEDED", *, attempt: int = 0, minute: int = 0) -> Job:
    """Return a job of one minute."""
    begin = NOON + timedelta(minutes=minute)
    end = begin + timedelta(minutes=1)
    return Job(name=f"job-{attempt}", state=state, attempt=attempt, created=begin, end=end)


def serving(split: dict[str, int], *artifacts: str) -> Serving:
    """Return an endpoint with these artifacts deployed as 1, 2 and so on."""
    return Serving(split=split, artifacts={str(n): uri for n, uri in enumerate(artifacts, 1)})


GOOD = Aftermath(
    run_state="success",
    task_states={"run_pipeline": "success"},
    pipeline_jobs=[job("FAILED"), job(attempt=1, minute=2)],
    custom_jobs=[job()],
    versions={"m@1": MODEL},
    endpoints=[serving({"1": 100}, MODEL)],
    allowed={MODEL},
    promoted=MODEL,
)


def test_a_promotion_after_a_failed_attempt_is_fine() -> None:
    """One attempt after the other, one version, and the promoted model serves everything."""
    assert violations(GOOD) == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            replace(GOOD, run_state="failed", task_states={"a": "success", "b": "failed"}),
            "the run is failed; failed: b",
        ),
        (
            replace(GOOD, pipeline_jobs=[job(), job(attempt=1, minute=2)]),
            "2 pipeline jobs succeeded: job-0, job-1",
        ),
        (
            replace(GOOD, pipeline_jobs=[job("FAILED"), job(minute=2)]),
            "the pipeline jobs have attempts [0, 0]",
        ),
        (
            replace(GOOD, pipeline_jobs=[job("FAILED"), job(attempt=1)]),
            "pipeline job job-1 was created while job-0 was still active",
        ),
        (replace(GOOD, custom_jobs=[job("RUNNING")]), "custom job job-0 is RUNNING"),
        (replace(GOOD, versions={"m@1": MODEL, "m@2": MODEL}), "2 model versions: m@1, m@2"),
        (
            replace(GOOD, versions={"m@1": OTHER}),
            "model version m@1 holds gs://b/other, which the gate did not allow",
        ),
        (
            replace(GOOD, endpoints=[serving({"1": 90}, MODEL)]),
            "the endpoint's traffic sums to 90: {'1': 90}",
        ),
        (replace(GOOD, endpoints=[serving({}, MODEL)]), "the endpoint's traffic sums to 0: {}"),
        (
            replace(GOOD, endpoints=[serving({"1": 100}, OTHER)], allowed={MODEL, OTHER}),
            "the promoted gs://b/model does not serve alone",
        ),
        (
            replace(GOOD, endpoints=[serving({"1": 100}, OTHER)], promoted=""),
            "deployed model 1 serves gs://b/other, which the gate did not allow",
        ),
        (
            replace(GOOD, endpoints=[serving({"1": 100}, MODEL, MODEL)]),
            "2 models are deployed: 1, 2",
        ),
        (replace(GOOD, operations=["o"]), "operation o is not done"),
        (replace(GOOD, stray_files=["f"]), "file f is not an object"),
        (replace(GOOD, processes=["7"]), "process 7 is left"),
    ],
)
def test_each_violation_is_named_and_no_other(after: Aftermath, expected: str) -> None:
    """One violation is one line, and a correct state has none."""
    assert violations(after) == [expected]


@pytest.mark.parametrize(
    ("after", "wrong"),
    [
        ({OTHER: 100}, []),
        ({MODEL: 100}, []),
        ({MODEL: 100, OTHER: 0}, []),
        ({MODEL: 10, OTHER: 90}, ["the traffic is"]),
        ({OTHER: 100, MODEL: 0}, ["the traffic is"]),
        ({}, ["the traffic is"]),
        ({MODEL: 100, "gs://b/third": 0}, ["gs://b/third is deployed without traffic"]),
    ],
)
def test_an_interrupted_promotion_is_whole_or_not_at_all(after: dict[str, int], wrong: list[str]) -> None:
    """The old model serves alone, or the new one has all traffic."""
    found = unpromoted({OTHER: 100}, after, {MODEL: 100})

    assert [line.startswith(words) for line, words in zip(found, wrong, strict=True)] == [True] * len(wrong)
