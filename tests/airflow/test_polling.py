from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from hypothesis import given
from hypothesis import strategies as st

from vertex_airflow.jobs import JobKind, JobState, JobView
from vertex_airflow.polling import Ending, ErrorKind, Polling, Wait, WaitResult, classify

if TYPE_CHECKING:
    from vertex_airflow.polling import Dice

AGES = st.floats(min_value=0, max_value=10**7)
DICE = st.randoms(use_true_random=False)
ERRORS: Any = exceptions  # the package has no types


def view(state: JobState = JobState.RUNNING, created: float = 0.0) -> JobView:
    """Return a job in a state."""
    return JobView(kind=JobKind.PIPELINE, name="j", state=state, created=created)


@given(age=AGES, dice=DICE)
def test_interval_stays_near_its_bounds(age: float, dice: Dice) -> None:
    """An interval is never shorter than 80 % of the shortest nor longer than 120 % of the longest."""
    polling = Polling(shortest=2, longest=60)

    interval = polling.interval(age=age, dice=dice)

    assert 1.6 <= interval <= 72


@given(age=st.floats(min_value=1, max_value=10**5), dice=DICE)
def test_end_is_noticed_within_a_share_of_the_age(age: float, dice: Dice) -> None:
    """A job's end is noticed within 6 % of its age, or within the shortest interval."""
    polling = Polling(shortest=2, longest=10**6)

    interval = polling.interval(age=age, dice=dice)

    assert interval <= max(2 * 1.2, age * 0.05 * 1.2) + 1e-9


@given(failures=st.integers(1, 10_000), dice=DICE)
def test_back_off_is_bounded(failures: int, dice: Dice) -> None:
    """However many calls failed in a row, the next one comes within the longest interval."""
    polling = Polling(shortest=2, longest=60)

    pause = polling.back_off(failures=failures, dice=dice)

    assert 0 < pause <= 60


@pytest.mark.parametrize(("shortest", "longest"), [(0, 60), (-1, 60), (10, 5)])
def test_senseless_intervals_are_refused(shortest: float, longest: float) -> None:
    """An interval that would hammer the API is an error, not a default."""
    with pytest.raises(ValueError, match="shortest"):
        Polling(shortest=shortest, longest=longest)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ERRORS.TooManyRequests("slow down"), ErrorKind.TRANSIENT),
        (ERRORS.ServiceUnavailable("gone"), ErrorKind.TRANSIENT),
        (ERRORS.DeadlineExceeded("late"), ErrorKind.TRANSIENT),
        (ERRORS.InternalServerError("oops"), ErrorKind.TRANSIENT),
        (ERRORS.Unknown("Stream removed"), ErrorKind.TRANSIENT),
        (ERRORS.FailedPrecondition("Service agents are being provisioned (https://…)."), ErrorKind.UNREADY),
        (
            ERRORS.PermissionDenied(
                "service-1@gcp-sa-aiplatform.iam.gserviceaccount.com lacks artifactregistry.repositories.get"
            ),
            ErrorKind.UNREADY,
        ),
        (ERRORS.FailedPrecondition("it is not empty"), ErrorKind.INVALID),
        (ERRORS.FailedPrecondition("Endpoint e doesn't have traffic_split."), ErrorKind.TRANSIENT),
        (ConnectionResetError("peer"), ErrorKind.TRANSIENT),
        (TimeoutError("late"), ErrorKind.TRANSIENT),
        (ERRORS.NotFound("no such job"), ErrorKind.MISSING),
        (ERRORS.PermissionDenied("no"), ErrorKind.DENIED),
        (ERRORS.Unauthenticated("who"), ErrorKind.DENIED),
        (ERRORS.AlreadyExists("twice"), ErrorKind.CONFLICT),
        (ERRORS.Aborted("changed"), ErrorKind.CONFLICT),
        (ERRORS.InvalidArgument("bad"), ErrorKind.INVALID),
        (ERRORS.MethodNotImplemented("never"), ErrorKind.INVALID),
        (KeyError("a bug"), ErrorKind.INVALID),
    ],
)
def test_errors_are_judged(error: Exception, verdict: ErrorKind) -> None:
    """Only what may pass by itself is transient."""
    judged = classify(error)

    assert verdict == judged


def test_transient_errors_end_the_wait_after_the_outage() -> None:
    """Failed calls are waited out, and given up on after the stated time."""
    wait = Wait(polling=Polling(outage=100))

    first = wait.failed(ERRORS.ServiceUnavailable("x"), now=1000)
    last = wait.failed(ERRORS.ServiceUnavailable("x"), now=1101)

    assert (first, last and last.ending) == (None, Ending.OUTAGE)


def test_a_project_gets_some_minutes_to_become_ready() -> None:
    """Service agents without their roles are waited for, and are a matter for a person after that."""
    wait = Wait(polling=Polling(unready=100))
    unready = ERRORS.FailedPrecondition("Service agents are being provisioned")

    outcomes = [wait.failed(unready, now=now) for now in (1000, 1099, 1100)]

    assert [outcome and outcome.ending for outcome in outcomes] == [None, None, Ending.DENIED]


def test_an_answer_resets_the_outage() -> None:
    """The outage is the time since the last answer, not since the first failure."""
    wait = Wait(polling=Polling(outage=100))
    wait.failed(ERRORS.ServiceUnavailable("x"), now=1000)
    wait.answered(view(), now=1090)

    outcome = wait.failed(ERRORS.ServiceUnavailable("x"), now=1101)

    assert outcome is None


def test_a_missing_job_ends_the_wait_at_once() -> None:
    """NOT_FOUND is final: nothing else creates the job again."""
    outcome = Wait(polling=Polling()).failed(ERRORS.NotFound("x"), now=0)

    assert outcome is not None
    assert outcome.ending == Ending.MISSING


def test_a_lost_race_is_looked_at_five_times() -> None:
    """ALREADY_EXISTS means look again, but not forever."""
    wait = Wait(polling=Polling())

    outcomes = [wait.failed(ERRORS.AlreadyExists("x"), now=0) for _ in range(6)]

    assert outcomes[:5] == [None] * 5
    assert outcomes[5] is not None


@pytest.mark.parametrize(
    "state", sorted(set(JobState) - {"RUNNING", "PENDING", "QUEUED", "CANCELLING", "UPDATING"})
)
def test_every_other_state_ends_the_wait(state: JobState) -> None:
    """A job that cannot move by itself is never waited for, PAUSED and unknown states among them."""
    outcome = Wait(polling=Polling()).answered(view(JobState(state)), now=0)

    assert WaitResult(ending=Ending.FINAL, state=JobState(state)) == outcome


def test_the_deadline_ends_the_wait_of_an_active_job() -> None:
    """A job that is active at the deadline is overdue."""
    outcome = Wait(polling=Polling(), deadline=50).answered(view(), now=51)

    assert outcome is not None
    assert outcome.ending == Ending.OVERDUE


@given(detail=st.text(max_size=5000))
def test_events_are_small_and_readable(detail: str) -> None:
    """An outcome survives the trip through an event of at most 400 characters of detail."""
    outcome = WaitResult(ending=Ending.OUTAGE, detail=detail)

    again = WaitResult.from_event(outcome.to_event())

    assert (outcome.ending, outcome.detail[:400]) == (again.ending, again.detail)
