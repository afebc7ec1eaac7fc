"""Waiting for something on Vertex AI, deferred or not, in a way that a kill ends at once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vertex_airflow.hooks.async_vertex import Access
from vertex_airflow.links import VertexLink
from vertex_airflow.operators.connected import ConnectedOperator
from vertex_airflow.polling import Ending, Polling, Wait
from vertex_airflow.triggers.handover import WAITING_TRY
from vertex_airflow.triggers.vertex_job import VertexJobTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.jobs import JobKind, JobView
    from vertex_airflow.polling import WaitResult

# Airflow's supervisor sends SIGKILL five seconds after SIGTERM; one second is left for the process to end.
KILL_BOUND = 4.0
# Seconds that a list may lag behind. Google documents no bound.
LIST_LAG = 20.0


class VertexError(AirflowException):
    """An operation on Vertex AI failed; the message says what, why and where to look. A retry may help."""


def failure_of(ending: Ending) -> type[AirflowException]:
    """Return the exception for the end of a wait: only after an outage may a retry help."""
    return VertexError if ending is Ending.OUTAGE else AirflowFailException


class WaitingOperator(ConnectedOperator):
    """Base of the operators that start something on Vertex AI and wait for it.

    :param region: region of Vertex AI
    :param deferrable: wait in the triggerer rather than in a worker slot
    :param shortest_poll: shortest time between two polls, in seconds
    :param longest_poll: longest time between two polls, in seconds
    :param patience: seconds to wait in the worker before deferring; a wait that ends sooner never defers
    :param settle: seconds before the trigger's first poll; see `VertexJobTrigger`
    :param outage: seconds that Vertex AI may be unreachable before the task gives up
    """

    vertex_link: ClassVar[VertexLink] = VertexLink()
    operator_extra_links = (vertex_link,)
    template_fields: Sequence[str] = ("region", *ConnectedOperator.template_fields)
    ui_color = "#d2e3fc"

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        region: str,
        deferrable: bool = True,
        shortest_poll: float = 2.0,
        longest_poll: float = 60.0,
        outage: float = 1800.0,
        patience: float = 0.0,
        settle: float = 5.0,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.region = region
        self.deferrable = deferrable
        self.shortest_poll = shortest_poll
        self.longest_poll = longest_poll
        self.outage = outage
        self.patience = patience
        self.settle = settle
        self._killed = threading.Event()
        self._context: Context | None = None

    @property
    def polling(self) -> Polling:
        """The intervals between polls."""
        return Polling(shortest=self.shortest_poll, longest=self.longest_poll, outage=self.outage)

    @property
    def access(self) -> Access:
        """The connection and region, as hooks and triggers take them."""
        chain = self.impersonation_chain or ()
        return Access(
            gcp_conn_id=self.gcp_conn_id,
            region=self.region,
            impersonation_chain=(chain,) if isinstance(chain, str) else tuple(chain),
        )

    def cancel(self, hook: VertexHook) -> None:
        """Cancel whatever this task has running, within `KILL_BOUND` seconds."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Cancel what runs, and wait up to four seconds until it has ended.

        On a thread of its own: the signal may have interrupted a call that holds the channel's locks.
        """
        self._killed.set()
        cancelling = threading.Thread(target=self._cancel_safely, name="cancel-on-kill", daemon=True)
        cancelling.start()
        cancelling.join(KILL_BOUND)

    def _cancel_safely(self) -> None:
        hook = self.access.hook()
        try:
            self.cancel(hook)
        except Exception:
            self.log.exception("The cancellation failed")
        finally:
            hook.close()

    def trigger(self, kind: JobKind, name: str, *, deadline: float | None) -> VertexJobTrigger:
        """Return the trigger that waits for a job or operation, and note which try it waits for."""
        access = self.access
        if self._context is not None:
            task = self._context["ti"]
            task.xcom_push(key=WAITING_TRY, value=task.try_number)
        return VertexJobTrigger(
            kind=kind.value,
            name=name,
            region=access.region,
            gcp_conn_id=access.gcp_conn_id,
            impersonation_chain=access.impersonation_chain,
            shortest=self.shortest_poll,
            longest=self.longest_poll,
            outage=self.outage,
            deadline=deadline,
            settle=self.settle,
        )

    def wait_here(self, hook: VertexHook, kind: JobKind, name: str, *, deadline: float | None) -> WaitResult:
        """Wait in this process, as the trigger does in its own."""
        wait = Wait(polling=self.polling, deadline=deadline)
        job: JobView | None = None
        while True:
            try:
                job = hook.get_job(kind, name)
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                outcome = wait.failed(error, now=time.time())
            else:
                outcome = wait.answered(job, now=time.time())
                if news := wait.news(job):
                    self.log.info("Progress of %s\n%s", name, news)
            if outcome is not None:
                return outcome
            self._sleep(wait.pause(job, now=time.time()))

    def look_at(self, hook: VertexHook, kind: JobKind, name: str) -> JobView:
        """Return a job or operation as it is now; transient errors are waited out."""
        wait = Wait(polling=self.polling)
        while True:
            try:
                return hook.get_job(kind, name)
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                self.give_up_or_sleep(wait, error, f"Asking for {name}")

    def give_up_or_sleep(self, wait: Wait, error: Exception, doing: str) -> None:
        """Sleep after a transient error; raise for any other, and after an outage that is too long."""
        outcome = wait.failed(error, now=time.time())
        if outcome is not None:
            raise failure_of(outcome.ending)(f"{doing} failed: {outcome.ending}: {outcome.detail}") from error
        pause = wait.pause(None, now=time.time())
        self.log.warning("%s failed; looking again in %.0f s: %s", doing, pause, error)
        self._sleep(pause)

    def stop_if_killed(self) -> None:
        """Raise when the task was killed; what it runs is being cancelled then.

        The exception allows a retry, which is for a task whose worker was stopped. Where a person ended the
        task, Airflow has its state already, whatever the task raises.
        """
        if self._killed.is_set():
            raise VertexError("the task was killed; what it started is cancelled")

    def _sleep(self, seconds: float) -> None:
        self._killed.wait(seconds)
        self.stop_if_killed()
