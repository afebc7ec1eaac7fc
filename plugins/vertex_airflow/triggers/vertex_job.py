"""Wait for a Vertex AI job without a worker slot, and cancel it when the task is killed."""

from __future__ import annotations

import asyncio
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from vertex_airflow.hooks.async_vertex import Access, shared_vertex
from vertex_airflow.jobs import JobKind
from vertex_airflow.polling import Ending, ErrorKind, Polling, Wait, classify
from vertex_airflow.triggers.killable import KillableTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from vertex_airflow.hooks.async_vertex import AsyncVertex
    from vertex_airflow.jobs import JobView
    from vertex_airflow.polling import WaitResult


class VertexJobTrigger(KillableTrigger):
    """Fire once, when the job has ended or cannot be waited for any longer.

    The event is `vertex_airflow.polling.WaitResult.to_event()`. Transient errors are waited out; the progress
    of a pipeline goes to the task's log whenever it changes.
    """

    def __init__(  # noqa: PLR0913  # all of them come back from the database one by one
        self,
        *,
        kind: str,
        name: str,
        region: str,
        gcp_conn_id: str,
        impersonation_chain: Sequence[str] = (),
        shortest: float = 2.0,
        longest: float = 60.0,
        outage: float = 1800.0,
        deadline: float | None = None,
        settle: float = 5.0,
    ) -> None:
        """Take the job to wait for; durations in seconds, the deadline in seconds since the epoch.

        The first poll comes after ``settle`` seconds. Airflow's scheduler learns up to
        ``workers.min_heartbeat_interval`` (5 s) late that the task's worker has ended, and fails a task that
        is queued again before ("finished with state success, but the task instance's state is queued").
        """
        super().__init__()
        self.kind = JobKind(kind)
        self.name = name
        self.access = Access(
            gcp_conn_id=gcp_conn_id, region=region, impersonation_chain=tuple(impersonation_chain)
        )
        self.polling = Polling(shortest=shortest, longest=longest, outage=outage)
        self.deadline = deadline
        self.settle = settle

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "kind": self.kind.value,
                "name": self.name,
                "region": self.access.region,
                "gcp_conn_id": self.access.gcp_conn_id,
                "impersonation_chain": list(self.access.impersonation_chain),
                "shortest": self.polling.shortest,
                "longest": self.polling.longest,
                "outage": self.polling.outage,
                "deadline": self.deadline,
                "settle": self.settle,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll until the wait is over, then fire its result."""
        wait = Wait(polling=self.polling, deadline=self.deadline)
        job: JobView | None = None
        await asyncio.sleep(self.settle)
        while True:
            try:
                vertex = await shared_vertex(self.access)
                async with self._turn(vertex, wait, job):
                    job = await vertex.get_job(self.kind, self.name)
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                outcome = wait.failed(error, now=time.time())
                self.log.warning("Asking for %s failed: %s: %s", self.name, type(error).__name__, error)
            else:
                outcome = wait.answered(job, now=time.time())
                if news := wait.news(job):
                    self.log.info("Progress of %s\n%s", self.name, news)
            if outcome is not None:
                yield TriggerEvent(outcome.to_event())  # type: ignore[no-untyped-call]  # a pydantic model's own __init__
                return
            if self._asks_alone(wait):
                await asyncio.sleep(wait.pause(job, now=time.time()))

    def _asks_alone(self, wait: Wait) -> bool:
        """Return whether to poll without regard to lists: the last poll failed, or nothing is listed."""
        return wait.failing or self.kind is JobKind.OPERATION

    def _turn(
        self, vertex: AsyncVertex, wait: Wait, job: JobView | None
    ) -> AbstractAsyncContextManager[None]:
        """Wait, together with the triggers of other jobs, until it is time to poll this one.

        :param job: the result of the last poll; None before the first
        """
        if self._asks_alone(wait):
            return nullcontext()
        location, _collection, job_id = self.name.rsplit("/", 2)
        return vertex.watch(self.kind, location).turn(
            job_id,
            delay=0.0 if job is None else wait.pause(job, now=time.time()),
            pause=lambda: wait.pause(job, now=time.time()),
            at_latest=wait.time_left(now=time.time()),
        )

    @property
    def waits_for(self) -> str:
        """The job's name."""
        return self.name

    async def undo(self) -> None:
        """Cancel the job and wait until it has really ended."""
        outcome = await self._cancel()
        if outcome.ending is Ending.FINAL:
            self.log.info("%s is over after the kill: %s", self.name, outcome.state)
        else:
            self.log.warning(
                "%s may still run after the kill: %s %s", self.name, outcome.ending, outcome.detail
            )

    async def _cancel(self) -> WaitResult:
        """Keep requesting the cancellation until the job has ended, whatever fails in between."""
        polling = Polling(shortest=0.5, longest=5.0, outage=self.polling.outage)
        wait = Wait(polling=polling, deadline=time.time() + self.polling.outage)
        asked = False
        job: JobView | None = None
        while True:
            try:
                vertex = await shared_vertex(self.access)
                if not asked:
                    await self._ask_to_cancel(vertex)
                    asked = True
                job = await vertex.get_job(self.kind, self.name)
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                outcome = wait.failed(error, now=time.time())
            else:
                outcome = wait.answered(job, now=time.time())
            if outcome is not None:
                return outcome
            await asyncio.sleep(wait.pause(job, now=time.time()))

    async def _ask_to_cancel(self, vertex: AsyncVertex) -> None:
        try:
            await vertex.cancel_job(self.kind, self.name)
        except Exception as error:
            # A job that is over refuses the cancellation; its state then ends the wait.
            if classify(error) is not ErrorKind.INVALID:
                raise
