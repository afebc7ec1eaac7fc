"""The state of a job on the wire: alike for pipeline jobs and custom jobs, in enumerations of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.api.messages import set_time, status_of
from local_vertex.domain.errors import VertexError
from local_vertex.domain.records import Failure
from local_vertex.domain.states import TERMINAL_RUN_STATES, RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from local_vertex.api.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStates:
    """The states of one kind of job: the members of `enum`, whose names have a prefix."""

    enum: Any
    prefix: str

    def to_wire(self, state: RunState) -> int:
        """Return a state as the enumeration's number."""
        return int(getattr(self.enum, f"{self.prefix}{state}"))

    def of(self, job: Message) -> RunState:
        """Return the state of a job."""
        return RunState(self.enum(job.state).name.removeprefix(self.prefix))

    def change(self, job: Message, state: RunState, *, at: datetime, error: Failure | None) -> bool:
        """Give a job its new state; return whether it took it: a final state is never left again."""
        if self.of(job) in TERMINAL_RUN_STATES:
            return False
        job.state = self.to_wire(state)
        set_time(job.update_time, at)
        if not job.HasField("start_time") and state is RunState.RUNNING:
            set_time(job.start_time, at)
        if state in TERMINAL_RUN_STATES:
            set_time(job.end_time, at)
        if error is not None:
            job.error.CopyFrom(status_of(error))
        return True

    def recover(
        self,
        jobs: Iterable[Message],
        *,
        start: Callable[[Message], None],
        end: Callable[[str, RunState, Failure | None], None],
    ) -> None:
        """Start the jobs again that the end of the last server cut off, and end those that it cancelled."""
        for job in jobs:
            state = self.of(job)
            if state is RunState.CANCELLING:
                end(job.name, RunState.CANCELLED, None)
            elif state not in TERMINAL_RUN_STATES:
                _start_again(job, start, end)


def _start_again(
    job: Message,
    start: Callable[[Message], None],
    end: Callable[[str, RunState, Failure | None], None],
) -> None:
    try:
        start(job)
    except VertexError as error:
        message = f"the job cannot be started again after a restart of the server: {error.message}"
        end(job.name, RunState.FAILED, Failure(code=error.code, message=message))
