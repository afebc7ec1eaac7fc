"""Hold a step of a roll-out without a worker slot, and give the traffic back when the task is killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from vertex_airflow.baking import Baking
from vertex_airflow.guards import Verdict
from vertex_airflow.hooks.async_vertex import Access
from vertex_airflow.polling import ErrorKind, classify
from vertex_airflow.triggers.killable import KillableTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from vertex_airflow.guards import Assessment
    from vertex_airflow.hooks.monitoring import MonitoringHook
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore

_PASSING = frozenset({ErrorKind.TRANSIENT, ErrorKind.CONFLICT})


class RollOutTrigger(KillableTrigger):
    """Fire once, when the step has passed or breached, or is not what the endpoint has.

    The event is empty: the task looks again. A person who ends the task gets the traffic back.

    :param baking: the step, as `vertex_airflow.baking.Baking.to_json` returns it
    :param poll: seconds between two looks
    :param settle: seconds before the first one; see `VertexJobTrigger`
    :param outage: seconds within which the traffic must be given back after a kill
    """

    def __init__(  # noqa: PLR0913  # all of them come back from the database one by one
        self,
        *,
        baking: Mapping[str, Any],
        region: str,
        gcp_conn_id: str,
        impersonation_chain: Sequence[str] = (),
        poll: float = 60.0,
        settle: float = 5.0,
        outage: float = 1800.0,
    ) -> None:
        super().__init__()
        self.baking = Baking.from_json(baking)
        self.access = Access(
            gcp_conn_id=gcp_conn_id, region=region, impersonation_chain=tuple(impersonation_chain)
        )
        self.poll = poll
        self.settle = settle
        self.outage = outage

    @property
    def waits_for(self) -> str:
        """The version that is rolled out."""
        return self.baking.version

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that build this trigger again."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "baking": self.baking.to_json(),
                "region": self.access.region,
                "gcp_conn_id": self.access.gcp_conn_id,
                "impersonation_chain": list(self.access.impersonation_chain),
                "poll": self.poll,
                "settle": self.settle,
                "outage": self.outage,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something for the task to do."""
        await asyncio.sleep(self.settle)
        try:
            hook, monitoring, _ = await sync_to_async(self._connect)()
        except Exception as error:  # noqa: BLE001  # the task meets it again, and decides about it
            self.log.warning("The connection cannot be read: %s: %s", type(error).__name__, error)
        else:
            await self._wait(hook, monitoring)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]  # a pydantic model's own __init__

    async def _wait(self, hook: VertexHook, monitoring: MonitoringHook) -> None:
        try:
            while True:
                if not await self._holds(hook, monitoring):
                    return
                await asyncio.sleep(self.poll)
        finally:
            hook.close()
            monitoring.close()

    async def undo(self) -> None:
        """Give the traffic back."""
        hook, _, store = await sync_to_async(self._connect)()
        await asyncio.to_thread(self.baking.interrupt, hook, store, bound=self.outage)
        hook.close()
        self.log.info("%s was given no more traffic after the kill", self.baking.version)

    async def _holds(self, hook: VertexHook, monitoring: MonitoringHook) -> bool:
        """Return whether to go on waiting; an error that will not pass is the task's to explain."""
        try:
            said = await asyncio.to_thread(self.baking.look, hook, monitoring)
        except Exception as error:  # noqa: BLE001  # the task meets it again, and decides about it
            self.log.warning("The look at the roll-out failed: %s: %s", type(error).__name__, error)
            return classify(error) in _PASSING
        self._report(said)
        return said is not None and said.verdict is Verdict.WAITING

    def _report(self, said: Assessment | None) -> None:
        if said is not None:
            self.log.info("%d %%: %s", self.baking.percent, "; ".join(map(str, said.readings)) or said.reason)

    def _connect(self) -> tuple[VertexHook, MonitoringHook, ObjectStore]:
        """Read the connection: its hooks read nothing of Airflow afterwards."""
        return self.access.hook(), self.access.monitoring(), self.access.store()
