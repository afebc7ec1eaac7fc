"""Submitting or attaching, waiting and explaining, as pipeline jobs and custom jobs share them."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow.jobs import REPLACEABLE_STATES, JobState, explain
from vertex_airflow.operators.connected import is_true
from vertex_airflow.operators.waiting import KILL_BOUND, VertexError, WaitingOperator, failure_of
from vertex_airflow.polling import Doubt, Ending, ErrorKind, Wait, WaitResult, classify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.jobs import JobKind, JobView

_CANCEL_BOUND = 300.0
_OVERDUE_BOUND = 60.0
_OWN, _FOREIGN = "submitted", "attached to"
# A person who cancels or pauses a job means it: Airflow's retries must not undo that.
_BY_A_PERSON = frozenset({JobState.CANCELLED, JobState.PAUSED, JobState.UNKNOWN})


class VertexJobOperator(WaitingOperator):
    """Run a Vertex AI job exactly once for a DAG run, however often the task is tried.

    A try attaches to the job of an earlier one, active or succeeded. It submits a new attempt only where
    the last one failed or was cancelled. A kill cancels the job and waits for the cancellation, within
    the few seconds that Airflow leaves.

    :param labels: labels of the job
    :param service_account: e-mail address of the account that the job runs as; empty: the project's
    :param timeout_seconds: seconds after the submission by which the job is cancelled; 0: none
    :param resubmit: submit a new job even though one of this DAG run has succeeded
    :param max_attempts: failed jobs after which Airflow's retries do not submit another: retries are for
        workers that die, and most jobs that failed twice fail again. Clearing the task always submits one.
    """

    kind: ClassVar[JobKind]
    # How long `find_attempts` may miss a job that was just created, in seconds.
    list_lag: float = 0.0
    template_fields: Sequence[str] = (
        *WaitingOperator.template_fields,
        "labels",
        "service_account",
        "timeout_seconds",
        "resubmit",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"labels": "json"}

    def __init__(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        service_account: str = "",
        timeout_seconds: float | str = 0,
        resubmit: bool | str = False,
        max_attempts: int = 2,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.labels = labels or {}
        self.service_account = service_account
        self.timeout_seconds = timeout_seconds
        self.resubmit = resubmit
        self.max_attempts = max_attempts
        self._job_name = ""

    @abstractmethod
    def find_attempts(self, hook: VertexHook, context: Context) -> list[JobView]:
        """Return the jobs of this DAG run and task as they are now, the first attempt first."""

    @abstractmethod
    def create(self, hook: VertexHook, context: Context, *, attempt: int) -> JobView:
        """Create the job of one attempt; google.api_core's errors go to the caller."""

    def returned(self, hook: VertexHook, job: JobView) -> dict[str, Any]:  # noqa: ARG002  # for others
        """Return the names and URIs that a succeeded job puts into XCom."""
        return {"job": job.name}

    def execute(self, context: Context) -> dict[str, Any]:
        """Submit or attach, then wait."""
        self._context = context
        hook = self.access.hook()
        job, origin = self._submit_or_attach(hook, context)
        self._job_name = job.name
        self.vertex_link.persist(context, hook.page(job.name))
        self.log.info("%s %s: %s", origin.capitalize(), job.name, hook.page(job.name))
        if self._killed.is_set():
            self.cancel(hook)
        self.stop_if_killed()
        limit = float(self.timeout_seconds or 0)
        # Counted from the creation of the job, so that another try of the task does not extend it.
        deadline = job.created + limit if limit > 0 else None
        if job.active and self.deferrable and not self._ends_soon(hook, job):
            self.defer(
                trigger=self.trigger(self.kind, job.name, deadline=deadline),
                method_name="execute_complete",
                kwargs={"name": job.name, "origin": origin},
            )
        outcome = self.wait_here(hook, self.kind, job.name, deadline=deadline)
        return self._conclude(hook, job.name, outcome, origin=origin)

    def execute_complete(
        self, context: Context, event: dict[str, str], name: str, origin: str
    ) -> dict[str, Any]:
        """Return the job's names and URIs, or raise why there are none."""
        self._context = context
        self._job_name = name
        return self._conclude(self.access.hook(), name, WaitResult.from_event(event), origin=origin)

    def cancel(self, hook: VertexHook) -> None:
        """Cancel the job, or every active attempt while a create call has not answered yet."""
        names = [self._job_name] if self._job_name else []
        if not names and self._context is not None:
            names = [job.name for job in self.find_attempts(hook, self._context) if job.active]
        for name in names:
            over = hook.cancel_and_wait(self.kind, name, bound=KILL_BOUND)
            self.log.info("Cancelled %s%s", name, "" if over else "; it is not over yet")

    def _submit_or_attach(self, hook: VertexHook, context: Context) -> tuple[JobView, str]:
        """Return the job of this DAG run, creating it when there is none or its attempt is to be replaced.

        A create call whose reply is lost is followed by more looks, for as long as lists may lag, so that it
        is never repeated blindly. So is that of an earlier try, which may have died just after it.
        """
        wait = Wait(polling=self.polling)
        doubt = Doubt(lag=self.list_lag)
        if context["ti"].try_number > 1:
            doubt.begin(now=time.monotonic())
        while True:
            creating = False
            try:
                attempts = self.find_attempts(hook, context)
                if attempts and not self._replaceable(hook, attempts[-1]):
                    return attempts[-1], _FOREIGN
                if doubt.holds(now=time.monotonic()):
                    self._sleep(self.shortest_poll)
                    continue
                if attempts:
                    self.log.info("Attempt %d is %s; submitting another", len(attempts), attempts[-1].state)
                creating = True
                return self.create(hook, context, attempt=len(attempts)), _OWN
            except VertexError:
                raise
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                if creating and classify(error) is ErrorKind.TRANSIENT:
                    doubt.begin(now=time.monotonic())
                self.give_up_or_sleep(wait, error, "Submitting the job")

    def _replaceable(self, hook: VertexHook, job: JobView) -> bool:
        if job.state is JobState.CANCELLING:
            job = self._wait_for_cancellation(hook, job)
        return job.state in REPLACEABLE_STATES or (job.state is JobState.SUCCEEDED and is_true(self.resubmit))

    def _wait_for_cancellation(self, hook: VertexHook, job: JobView) -> JobView:
        """Return the job once it has ended. The kill of an earlier try may still be in progress."""
        self.log.info("%s is being cancelled; waiting for its end", job.name)
        outcome = self.wait_here(hook, self.kind, job.name, deadline=time.time() + _CANCEL_BOUND)
        if outcome.ending is not Ending.FINAL:
            raise VertexError(f"{job.name} is still being cancelled after {_CANCEL_BOUND:.0f} s")
        return self.look_at(hook, self.kind, job.name)

    def _ends_soon(self, hook: VertexHook, job: JobView) -> bool:
        """Return whether the job ended while the worker's patience lasted."""
        if self.patience <= 0:
            return False
        outcome = self.wait_here(hook, self.kind, job.name, deadline=time.time() + self.patience)
        return outcome.ending is Ending.FINAL

    def _conclude(self, hook: VertexHook, name: str, outcome: WaitResult, *, origin: str) -> dict[str, Any]:
        page = hook.page(name)
        if outcome.ending is not Ending.FINAL:
            self._fail_without_end(hook, name, outcome, page)
        job = self.look_at(hook, self.kind, name)
        if job.state is JobState.CANCELLED:
            self.stop_if_killed()  # the kill of this very try may show in the job first
        if job.state is JobState.CANCELLED and origin == _FOREIGN and self._context is not None:
            self.log.info("%s was cancelled by the kill of an earlier try; submitting another", name)
            return self.execute(self._context)
        if job.state is not JobState.SUCCEEDED:
            meant = job.state in _BY_A_PERSON
            hopeless = job.state is JobState.FAILED and job.attempt + 1 >= self.max_attempts
            raise (AirflowFailException if meant or hopeless else VertexError)(explain(job, page=page))
        return self.returned(hook, job)

    def _fail_without_end(self, hook: VertexHook, name: str, outcome: WaitResult, page: str) -> NoReturn:
        message = f"{name} {self._ENDINGS[outcome.ending]}"
        if outcome.ending is Ending.OVERDUE:
            over = hook.cancel_and_wait(self.kind, name, bound=_OVERDUE_BOUND)
            message += (
                f" {self.timeout_seconds} s after its submission; it {'is' if over else 'is being'} cancelled"
            )
        message += f"\n  cause: {outcome.detail}" if outcome.detail else ""
        raise failure_of(outcome.ending)(f"{message}\n  job: {page}")

    _ENDINGS: ClassVar[dict[Ending, str]] = {
        Ending.OVERDUE: "had not ended",
        Ending.OUTAGE: "could not be asked about for too long; it may still run, and a retry attaches to it",
        Ending.MISSING: "does not exist: it was deleted, or the connection is of another project",
        Ending.DENIED: "cannot be read: this connection has no permission",
        Ending.INVALID: "cannot be asked about",
    }
