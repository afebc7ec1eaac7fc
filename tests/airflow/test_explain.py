from __future__ import annotations

import pytest

from vertex_airflow.jobs import (
    Component,
    JobKind,
    JobState,
    JobView,
    explain,
    parse_state,
    progress_table,
    root_cause,
)

TRACEBACK = """Traceback (most recent call last):
  File "trainer.py", line 3, in run_fn
    model.fit()
tensorflow.errors.InvalidArgumentError: shapes (3,) and (4,) differ
 [[node]] see the log: /logs/Trainer
"""
BROKEN = JobView(
    kind=JobKind.PIPELINE,
    name="projects/p/locations/l/pipelineJobs/taxi-1",
    state=JobState.FAILED,
    created=0,
    error="the pipeline failed",
    components=(
        Component(name="CsvExampleGen", state="SKIPPED", seconds=0.1),
        Component(name="Trainer", state="FAILED", seconds=12.34, error=TRACEBACK, log="/logs/Trainer"),
        Component(name="Evaluator", state="NOT_TRIGGERED"),
    ),
)


def test_root_cause_is_the_line_that_names_the_exception() -> None:
    """The last line that names an exception says what went wrong, not the lines that follow it."""
    cause = root_cause(TRACEBACK)

    assert cause == "tensorflow.errors.InvalidArgumentError: shapes (3,) and (4,) differ"


@pytest.mark.parametrize(
    ("message", "cause"), [("quota exceeded\n\n", "quota exceeded"), ("", "no error message was given")]
)
def test_root_cause_of_other_messages(message: str, cause: str) -> None:
    """Without an exception the last line counts, and an empty message says so."""
    found = root_cause(message)

    assert cause == found


@pytest.mark.parametrize(
    "part",
    [
        "taxi-1 failed",
        "component: Trainer (FAILED)",
        "cause: tensorflow.errors.InvalidArgumentError: shapes (3,) and (4,) differ",
        "log: /logs/Trainer",
        "not run because of it: Evaluator",
        "job: https://console/taxi-1",
    ],
)
def test_a_failure_explains_itself(part: str) -> None:
    """The message names component, state, cause, log, page and what did not run because of it."""
    text = explain(BROKEN, page="https://console/taxi-1")

    assert part in text


@pytest.mark.parametrize(
    "state", ["CANCELLED", "PAUSED", "FAILED", "EXPIRED", "UNKNOWN", "PARTIALLY_SUCCEEDED"]
)
def test_every_final_state_has_its_own_message(state: str) -> None:
    """No two ways to end without success read the same."""
    states = set(JobState) - {JobState.SUCCEEDED}
    texts = {
        each: explain(JobView(kind=JobKind.CUSTOM, name="a/b", state=each, created=0), page="p").splitlines()[
            0
        ]
        for each in states
    }

    assert list(texts.values()).count(texts[JobState(state)]) == 1


def test_progress_shows_state_time_and_cache() -> None:
    """The table has a line for each component, with its duration and whether the cache gave its outputs."""
    table = progress_table(BROKEN.components)

    assert table.splitlines() == [
        "component      state          seconds  cache",
        "CsvExampleGen  SUCCEEDED          0.1  hit",
        "Trainer        FAILED            12.3",
        "Evaluator      NOT_TRIGGERED",
    ]


@pytest.mark.parametrize(
    ("wire", "state"),
    [
        ("PIPELINE_STATE_RUNNING", JobState.RUNNING),
        ("JOB_STATE_SUCCEEDED", JobState.SUCCEEDED),
        ("PIPELINE_STATE_UNSPECIFIED", JobState.UNKNOWN),
        ("42", JobState.UNKNOWN),
    ],
)
def test_states_of_the_wire(wire: str, state: JobState) -> None:
    """Both kinds of job share one set of states, and a newer value is unknown rather than an error."""
    parsed = parse_state(wire)

    assert state == parsed
