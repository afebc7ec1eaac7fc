"""What pipeline jobs and custom jobs share: submit or attach, wait, cancel, explain."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from taxi_airflow.explain import explain
from taxi_airflow.hooks.async_vertex import Access
from taxi_airflow.links import VertexLink
from taxi_airflow.polling import Polling, Verdict, judge
from taxi_airflow.states import REPLACEABLE_STATES, JobKind, JobState
from taxi_airflow.triggers.vertex_job import VertexJobTrigger
from taxi_airflow.waiting import Ending, Outcome, Wait

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from taxi_airflow.hooks.vertex import VertexHook
    from taxi_airflow.jobs import JobView

# The supervisor of a killed task sends SIGKILL five seconds after SIGTERM.
_KILL_BOUND = 4.0
_CANCEL_BOUND = 300.0
_OWN, _FOREIGN = "submitted", "attached"


class VertexJobError(AirflowException):
    """A Vertex AI job did not succeed; the text names component, cause, log and page."""


class VertexJobOperator(BaseOperator, ABC):
    """Run a Vertex AI job exactly once for a DAG run, however often the task is tried.

    A try attaches to the job of an earlier one, active or succeeded. It submits a new attempt only where
    the last one failed or was cancelled. A kill cancels the job and waits for the cancellation, within
    the few seconds that Airflow leaves.

    :param region: region of the job
    :param labels: labels of the job
    :param service_account: e-mail address of the account that the job runs as; empty: the project's
    :param timeout_seconds: seconds after the submission by which the job is cancelled; 0: none
    :param resubmit: submit a new job even though one of this DAG run has succeeded
    :param deferrable: wait in the triggerer rather than in a worker slot
    :param shortest_poll, longest_poll: bounds of the interval between two questions, in seconds
    :param outage: seconds that Vertex AI may be out of reach before the task gives up
    """

    kind: ClassVar[JobKind]
    job_link: ClassVar[VertexLink] = VertexLink()
    operator_extra_links = (job_link,)
    template_fields: Sequence[str] = (
        "region",
        "labels",
        "service_account",
        "timeout_seconds",
        "resubmit",
        "gcp_conn_id",
        "impersonation_chain",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"labels": "json"}
    ui_color = "#d2e3fc"

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        region: str,
        labels: Mapping[str, str] | None = None,
        service_account: str = "",
        timeout_seconds: float | str = 0,
        resubmit: bool | str = False,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        deferrable: bool = True,
        shortest_poll: float = 2.0,
        longest_poll: float = 60.0,
        outage: float = 1800.0,
        **kwargs: Any,  # noqa: ANN401  # BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.region = region
        self.labels = labels or {}
        self.service_account = service_account
        self.timeout_seconds = timeout_seconds
        self.resubmit = resubmit
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain
        self.deferrable = deferrable
        self.polling = Polling(shortest=shortest_poll, longest=longest_poll, outage=outage)
        self._killed = threading.Event()
        self._context: Context | None = None
        self._job_name = ""

    @abstractmethod
    def find_attempts(self, hook: VertexHook, context: Context) -> list[JobView]:
        """Return the jobs of this DAG run and task, the first attempt first."""

    @abstractmethod
    def create(self, hook: VertexHook, context: Context, *, attempt: int) -> JobView:
        """Create the job of one attempt; google.api_core's errors go to the caller."""

    def returned(self, job: JobView) -> Any:  # noqa: ANN401  # what XCom takes
        """Return what a succeeded job puts into XCom: names and URIs."""
        return {"job": job.name}

    def execute(self, context: Context) -> Any:  # noqa: ANN401  # what `returned` gives
        """Submit or attach, then wait."""
        self._context = context
        hook = self._hook()
        job, origin = self._submit_or_attach(hook, context)
        self._job_name = job.name
        self.job_link.persist(context, hook.page(job.name))
        self.log.info("%s %s: %s", origin.capitalize(), job.name, hook.page(job.name))
        if self._killed.is_set():
            self._cancel_all()
            raise AirflowFailException(f"the task was killed while it submitted {job.name}; it is cancelled")
        deadline = self._deadline(job)
        if job.active and self.deferrable:
            self.defer(
                trigger=self._trigger(job, deadline),
                method_name="execute_complete",
                kwargs={"name": job.name, "origin": origin},
            )
        return self._conclude(hook, job.name, self._wait(hook, job.name, deadline=deadline), origin=origin)

    def execute_complete(self, context: Context, event: dict[str, str], name: str, origin: str) -> Any:  # noqa: ANN401
        """Return the job's names and URIs, or raise why there are none."""
        self._context = context
        self._job_name = name
        return self._conclude(self._hook(), name, Outcome.from_event(event), origin=origin)

    def on_kill(self) -> None:
        """Cancel the job, and wait up to four seconds until it is over.

        A thread of its own does so: the signal may have interrupted a call that holds the channel's locks.
        """
        self._killed.set()
        cancelling = threading.Thread(target=self._cancel_all, name="cancel-on-kill", daemon=True)
        cancelling.start()
        cancelling.join(_KILL_BOUND)

    # --- submit or attach

    def _submit_or_attach(self, hook: VertexHook, context: Context) -> tuple[JobView, str]:
        """Return the job of this DAG run, creating it when the last attempt is there to be replaced.

        A create call whose reply is lost is followed by another look, so that it is never repeated blindly.
        """
        wait = Wait(polling=self.polling)
        while True:
            try:
                attempts = self.find_attempts(hook, context)
                if attempts and not self._replaceable(attempts[-1]):
                    return attempts[-1], _FOREIGN
                if attempts:
                    self.log.info("Attempt %d is %s; submitting another", len(attempts), attempts[-1].state)
                return self.create(hook, context, attempt=len(attempts)), _OWN
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                if not _exists(error):
                    self._give_up_or_sleep(wait, error)

    def _replaceable(self, job: JobView) -> bool:
        if job.state is JobState.CANCELLING:
            job = self._wait_for_cancellation(job)
        return job.state in REPLACEABLE_STATES or (job.state is JobState.SUCCEEDED and _true(self.resubmit))

    def _wait_for_cancellation(self, job: JobView) -> JobView:
        """Return the job when it is over. The kill of an earlier try may still be going on."""
        hook = self._hook()
        self.log.info("%s is being cancelled; waiting for its end", job.name)
        outcome = self._wait(hook, job.name, deadline=time.time() + _CANCEL_BOUND)
        if outcome.ending is not Ending.FINAL:
            raise VertexJobError(
                f"{job.name} is still being cancelled after {_CANCEL_BOUND:.0f} s: {outcome}"
            )
        return get_job(hook, self.kind, job.name)

    def _give_up_or_sleep(self, wait: Wait, error: Exception) -> None:
        outcome = wait.failed(error, now=time.time())
        if outcome is not None:
            failure = AirflowException if outcome.ending is Ending.OUTAGE else AirflowFailException
            raise failure(f"cannot submit the job: {outcome.ending}: {outcome.detail}") from error
        pause = wait.pause(None, now=time.time())
        self.log.warning("Submitting failed, looking again in %.0f s: %s", pause, error)
        self._sleep(pause)

    # --- wait

    def _wait(self, hook: VertexHook, name: str, *, deadline: float | None) -> Outcome:
        wait = Wait(polling=self.polling, deadline=deadline)
        job: JobView | None = None
        while True:
            try:
                job = get_job(hook, self.kind, name)
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                outcome = wait.failed(error, now=time.time())
            else:
                outcome = wait.answered(job, now=time.time())
                if news := wait.news(job):
                    self.log.info("Progress of %s\n%s", name, news)
            if outcome is not None:
                return outcome
            self._sleep(wait.pause(job, now=time.time()))

    def _sleep(self, seconds: float) -> None:
        if self._killed.wait(seconds):
            raise AirflowFailException("the task was killed; its job is cancelled")

    def _deadline(self, job: JobView) -> float | None:
        seconds = float(self.timeout_seconds or 0)
        return job.created + seconds if seconds > 0 else None

    def _trigger(self, job: JobView, deadline: float | None) -> VertexJobTrigger:
        access = self._access()
        return VertexJobTrigger(
            kind=self.kind.value,
            name=job.name,
            region=access.region,
            gcp_conn_id=access.gcp_conn_id,
            impersonation_chain=access.impersonation_chain,
            shortest=self.polling.shortest,
            longest=self.polling.longest,
            outage=self.polling.outage,
            deadline=deadline,
        )

    # --- conclude

    def _conclude(self, hook: VertexHook, name: str, outcome: Outcome, *, origin: str) -> Any:  # noqa: ANN401
        page = hook.page(name)
        if outcome.ending is not Ending.FINAL:
            self._fail_without_end(hook, name, outcome, page)
        job = get_job(hook, self.kind, name)
        if job.state is not JobState.SUCCEEDED:
            self._fail(job, page, origin)
        return self.returned(job)

    def _fail(self, job: JobView, page: str, origin: str) -> NoReturn:
        text = explain(job, page=page)
        # Whoever cancels or pauses a job means it; only the kill of an earlier try may be behind the
        # cancellation of a job that this try attached to.
        by_a_person = {JobState.CANCELLED, JobState.PAUSED, JobState.UNKNOWN}
        if job.state in by_a_person and origin == _OWN:
            raise AirflowFailException(text)
        raise VertexJobError(text)

    def _fail_without_end(self, hook: VertexHook, name: str, outcome: Outcome, page: str) -> NoReturn:
        texts = {
            Ending.OVERDUE: f"is not over {self.timeout_seconds} s after its submission and was cancelled",
            Ending.OUTAGE: f"could not be asked for {self.polling.outage:.0f} s; a retry attaches to it",
            Ending.MISSING: "does not exist: it was deleted, or the connection is of another project",
            Ending.DENIED: "may not be read with this connection",
            Ending.INVALID: "cannot be asked for",
        }
        text = f"{name} {texts[outcome.ending]}"
        text += f"\n  cause: {outcome.detail}" if outcome.detail else ""
        text += f"\n  job: {page}"
        if outcome.ending is Ending.OVERDUE:
            cancel_and_wait(hook, self.kind, name, bound=60.0)
        if outcome.ending is Ending.OUTAGE:
            raise VertexJobError(text)
        raise AirflowFailException(text)

    # --- kill

    def _cancel_all(self) -> None:
        """Cancel every active attempt, the one whose create call was interrupted among them."""
        hook = self._hook()
        try:
            names = [self._job_name] if self._job_name else self._active_attempts(hook)
            for name in names:
                over = cancel_and_wait(hook, self.kind, name, bound=_KILL_BOUND)
                self.log.info("Cancelled %s%s", name, "" if over else "; it is not over yet")
        except Exception:
            self.log.exception("The job could not be cancelled")
        finally:
            hook.close()

    def _active_attempts(self, hook: VertexHook) -> list[str]:
        if self._context is None:
            return []
        return [job.name for job in self.find_attempts(hook, self._context) if job.active]

    def _access(self) -> Access:
        chain = self.impersonation_chain or ()
        return Access(
            gcp_conn_id=self.gcp_conn_id,
            region=self.region,
            impersonation_chain=(chain,) if isinstance(chain, str) else tuple(chain),
        )

    def _hook(self) -> VertexHook:
        return self._access().hook()


def get_job(hook: VertexHook, kind: JobKind, name: str) -> JobView:
    """Return a job as it is now."""
    from taxi_airflow.hooks.vertex import CALL_TIMEOUT  # noqa: PLC0415
    from taxi_airflow.jobs import view_custom, view_pipeline  # noqa: PLC0415

    if kind is JobKind.PIPELINE:
        return view_pipeline(hook.pipelines.get_pipeline_job(name=name, timeout=CALL_TIMEOUT))
    return view_custom(hook.jobs.get_custom_job(name=name, timeout=CALL_TIMEOUT))


def cancel_and_wait(hook: VertexHook, kind: JobKind, name: str, *, bound: float) -> bool:
    """Cancel a job and tell whether it was over within ``bound`` seconds."""
    end = time.monotonic() + bound
    pause = 0.2
    asked = False
    while True:
        try:
            if not asked:
                _cancel(hook, kind, name)
                asked = True
            if not get_job(hook, kind, name).active:
                return True
        except Exception as error:
            verdict = judge(error)
            if verdict in {Verdict.MISSING, Verdict.DENIED}:
                raise
            # A job that is over refuses the cancellation; its state then ends the wait.
            asked = asked or verdict is Verdict.INVALID
        if time.monotonic() + pause > end:
            return False
        time.sleep(pause)
        pause = min(5.0, pause * 1.5)


def _cancel(hook: VertexHook, kind: JobKind, name: str) -> None:
    if kind is JobKind.PIPELINE:
        hook.pipelines.cancel_pipeline_job(name=name, timeout=10.0)
    else:
        hook.jobs.cancel_custom_job(name=name, timeout=10.0)


def _exists(error: Exception) -> bool:
    """Tell whether a create call lost the race against an earlier one of the same id."""
    return type(error).__name__ == "AlreadyExists"


def _true(value: bool | str) -> bool:  # noqa: FBT001  # a template gives either
    return value if isinstance(value, bool) else value.strip().lower() in {"true", "1", "yes"}
