"""Base of the operators that change the registry and endpoints: look, change, wait, look again."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.jobs import JobKind, JobState, root_cause
from vertex_airflow.operators.waiting import KILL_BOUND, LIST_LAG, VertexError, WaitingOperator, failure_of
from vertex_airflow.polling import Doubt, Ending, ErrorKind, Wait, WaitResult, classify

if TYPE_CHECKING:
    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook

# More operations than this for one task mean that they do not lead to what it looks for.
_MOST_STEPS = 20

State = TypeVar("State")
"""The type of the result of a look at Vertex AI."""


class VertexOperationOperator(WaitingOperator, Generic[State]):
    """Bring Vertex AI into a state, and return the names of what is there then.

    Looking and changing are separate: `find` only reads, `start` starts a long-running operation that leads
    to what it did not see, and `apply` makes the changes to what it saw that take effect at once. A try may
    die between any two calls, and the next one begins with a look. So it does nothing where the state is
    reached, waits where an operation of an earlier try still runs, and starts one otherwise. The answer of
    an operation is never trusted: a look follows.

    :param list_lag: seconds that a list may need to show a new operation. Where an earlier try, or a call
        without an answer, may have started one, the task looks for so long before it starts another
    """

    # Whether even the first try may find operations under way that no list shows yet.
    doubts_first_try: ClassVar[bool] = False

    def __init__(
        self,
        *,
        patience: float = 10.0,
        list_lag: float = LIST_LAG,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(patience=patience, **kwargs)
        self.list_lag = list_lag
        self.doubt = Doubt(lag=list_lag)
        self._operation = ""

    @abstractmethod
    def find(self, hook: VertexHook, context: Context) -> State | None:
        """Return what this task is to bring about as it is now, or None where it is not there. Reads only."""

    @abstractmethod
    def apply(self, hook: VertexHook, context: Context, state: State) -> dict[str, Any]:
        """Make the changes to what was found that take effect at once, and return its names.

        May be called again after a call that failed, or seemed to, with what another look has found.
        """

    def start(self, hook: VertexHook, context: Context) -> str | None:  # noqa: ARG002  # for others
        """Start the next operation and return its name, or None where another look is due first.

        Raises:
            AirflowFailException: by default. The task needs what another one brings about.

        """
        raise AirflowFailException(f"{self.task_id} does not find what the tasks before it should have made")

    def scope(self, hook: VertexHook) -> str | None:  # noqa: ARG002  # for others
        """Return the resource whose unfinished operations must end before anything changes; None: none."""
        return None

    def may_be_under_way(self, state: State | None) -> bool:
        """Return whether an operation that no list shows yet may still change what was found."""
        return state is None

    def linked(self, found: dict[str, Any]) -> str:
        """Return the resource that the task's link opens."""
        return str(next(iter(found.values())))

    def execute(self, context: Context) -> dict[str, Any]:
        """Look, and change what is not as it should be."""
        self._context = context
        if self.doubts_first_try or context["ti"].try_number > 1:
            self.doubt.begin(now=time.monotonic())
        return self._advance(self.access.hook(), context, steps=0)

    def execute_complete(
        self, context: Context, event: dict[str, str], operation: str, steps: int
    ) -> dict[str, Any]:
        """Look again after an operation has ended."""
        self._context = context
        hook = self.access.hook()
        self._check(hook, operation, WaitResult.from_event(event))
        return self._advance(hook, context, steps=steps)

    def cancel(self, hook: VertexHook) -> None:
        """Cancel the operations that this task started or waits for."""
        # The call that starts an operation may have acted without an answer yet, so its name is unknown here.
        known = [self._operation] if self._operation else []
        for operation in dict.fromkeys([*known, *self._unfinished(hook)]):
            over = hook.cancel_and_wait(JobKind.OPERATION, operation, bound=KILL_BOUND)
            self.log.info("Cancelled %s%s", operation, "" if over else "; it is not over yet")

    def _advance(self, hook: VertexHook, context: Context, *, steps: int) -> dict[str, Any]:
        while steps < _MOST_STEPS:
            found, operation = self._look_and_change(hook, context)
            if found is not None:
                self.vertex_link.persist(context, hook.page(self.linked(found)))
                return found
            steps += 1
            if operation is None:
                continue
            self.log.info("Waiting for %s", operation)
            self._operation = operation
            if self._killed.is_set():
                self.cancel(hook)
            self.stop_if_killed()
            outcome = self._wait_briefly(hook, operation)
            if outcome is None:
                self.defer(
                    trigger=self.trigger(JobKind.OPERATION, operation, deadline=None),
                    method_name="execute_complete",
                    kwargs={"operation": operation, "steps": steps},
                )
            self._check(hook, operation, outcome)
        raise VertexError(f"{_MOST_STEPS} operations succeeded, and what they were for is still missing")

    def _wait_briefly(self, hook: VertexHook, operation: str) -> WaitResult | None:
        """Wait in the worker, for as long as its patience lasts if the task can defer; None: not over yet."""
        if not self.deferrable:
            return self.wait_here(hook, JobKind.OPERATION, operation, deadline=None)
        deadline = time.time() + self.patience
        outcome = self.wait_here(hook, JobKind.OPERATION, operation, deadline=deadline)
        return None if outcome.ending is Ending.OVERDUE else outcome

    def _look_and_change(
        self, hook: VertexHook, context: Context
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Return the names of what is there, or the operation to wait for.

        A call whose reply is lost is followed by more looks, for as long as lists may lag, so that it is
        never repeated blindly.
        """
        wait = Wait(polling=self.polling)
        while True:
            starting = False
            try:
                if running := self._unfinished(hook):
                    return None, running[0]
                state = self.find(hook, context)
                if not self.may_be_under_way(state):
                    # The operation has been seen; further looks would only delay the remaining work.
                    self.doubt.end()
                elif self.doubt.holds(now=time.monotonic()):
                    self._sleep(self.shortest_poll)
                    continue
                if state is not None:
                    return self.apply(hook, context, state), None
                starting = True
                return None, self.start(hook, context)
            except (VertexError, AirflowFailException, AirflowSkipException):
                raise
            except Exception as error:  # noqa: BLE001  # Wait.failed() decides about every one
                if starting and classify(error) is ErrorKind.TRANSIENT:
                    self.doubt.begin(now=time.monotonic())
                self.give_up_or_sleep(wait, error, f"The change by {self.task_id}")

    def _unfinished(self, hook: VertexHook) -> list[str]:
        scope = self.scope(hook)
        if scope is None:
            return []
        try:
            answer = hook.pipelines.list_operations({"name": scope}, timeout=CALL_TIMEOUT)
        except Exception as error:
            if classify(error) is ErrorKind.MISSING:
                return []
            raise
        listed = [operation.name for operation in answer.operations if not operation.done]
        return [name for name in listed if self._is_running(hook, name)]

    @staticmethod
    def _is_running(hook: VertexHook, operation: str) -> bool:
        """Return whether an operation that a list shows as running still is: lists lag behind."""
        try:
            return hook.get_job(JobKind.OPERATION, operation).active
        except Exception as error:
            if classify(error) is ErrorKind.MISSING:
                return False
            raise

    def _check(self, hook: VertexHook, operation: str, outcome: WaitResult) -> None:
        """Raise unless the operation succeeded, or is no longer known, so that only another look can tell."""
        if outcome.ending is Ending.MISSING:
            return
        if outcome.ending is not Ending.FINAL:
            raise failure_of(outcome.ending)(
                f"{operation} cannot be waited for: {outcome.ending}: {outcome.detail}"
            )
        if outcome.state is not JobState.SUCCEEDED:
            error = self.look_at(hook, JobKind.OPERATION, operation).error
            raise VertexError(
                f"{self.task_id}: {operation} {outcome.state}\n  cause: {root_cause(error)}\n  error: {error}"
            )
