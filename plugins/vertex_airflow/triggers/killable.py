"""Base of the triggers that undo what their task has begun when a person ends it."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async

from vertex_airflow.triggers.handover import waits_elsewhere

# asyncio itself keeps no reference to a task that is not awaited.
_killing: set[asyncio.Task[None]] = set()


class KillableTrigger(BaseTrigger):
    """Undo once if the task is killed, and not if the trigger was given to another triggerer."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow gives it no types

    @property
    @abstractmethod
    def waits_for(self) -> str:
        """The name of what the trigger waits for."""

    @abstractmethod
    async def undo(self) -> None:
        """Undo what the task has begun."""

    async def on_kill(self) -> None:
        """Undo what the task has begun, unless another triggerer waits for it now.

        Airflow interrupts this call about a second later, and once a second from then on. What is undone is
        a task of its own, which continues regardless: it ends with the event loop at the latest.
        """
        killing = asyncio.create_task(self._kill(), name=f"kill {self.waits_for}")
        _killing.add(killing)
        killing.add_done_callback(_killing.discard)
        await asyncio.shield(killing)

    async def _kill(self) -> None:
        if await self._is_handed_over():
            self.log.info("Another triggerer waits for %s", self.waits_for)
            return
        await self.undo()

    async def _is_handed_over(self) -> bool:
        task = self.task_instance
        if task is None:
            return False
        try:
            return await sync_to_async(waits_elsewhere)(task)
        except Exception:
            self.log.exception(
                "Cannot tell whether another triggerer waits for %s; ending it", self.waits_for
            )
            return False
