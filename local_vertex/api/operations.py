"""Long-running operations: google.longrunning.Operations, and how the services start them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1
from google.longrunning import operations_pb2
from google.protobuf import any_pb2, empty_pb2
from google.rpc import status_pb2

from local_vertex.api.collection import Collection
from local_vertex.api.listing import page_of
from local_vertex.api.messages import set_time
from local_vertex.domain.errors import (
    Cancelled,
    FailedPrecondition,
    Internal,
    NotFound,
    Unavailable,
    VertexError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region

LONGEST_WAIT = 60.0
WORKERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of a long-running operation: `run` returns its response or raises VertexError.

    `cancel` is called from another thread and makes `run` end soon.
    """

    run: Callable[[], Message]
    cancel: Callable[[], None]


class Operations:
    """The operations of all services.

    Times are seconds. An operation that was cut off by the end of the server fails with UNAVAILABLE
    when the next one starts.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._operations = Collection(region.store, operations_pb2.Operation)
        self._executor = ThreadPoolExecutor(WORKERS, thread_name_prefix="operation")
        self._changed = threading.Condition()
        self._running: dict[str, Work] = {}
        self._cancelled: set[str] = set()

    def finished(self, resource: str, metadata: Message, response: Message) -> Message:
        """Record and return an operation on `resource` that is done already."""
        operation = self._new(resource, metadata)
        operation.done = True
        operation.response.Pack(response)
        self._operations.insert(operation, resource)
        return operation

    def deleted(self, resource: str) -> Message:
        """Record and return the operation that deleted `resource`."""
        metadata = aiplatform_v1.DeleteOperationMetadata.pb()()
        return self.finished(resource, metadata, empty_pb2.Empty())

    def start(self, resource: str, metadata: Message, work: Work) -> Message:
        """Record an operation on `resource`, start its work and return it.

        Not to be called inside a transaction of the store, which the work needs to end.
        """
        operation = self._new(resource, metadata)
        self._operations.insert(operation, resource)
        with self._changed:
            self._running[operation.name] = work
        self._executor.submit(self._run, operation.name, work)
        return operation

    def recover(self) -> None:
        """Fail the operations that the server before this one left unfinished."""
        for operation in self._operations.all():
            if not operation.done:
                self._end(
                    operation.name,
                    Unavailable("the server was stopped meanwhile; nothing was changed, retry"),
                )

    def cancel_all(self) -> None:
        """Signal all running operations to end."""
        with self._changed:
            running = list(self._running)
        for name in running:
            self._cancel(name)

    def close(self) -> None:
        """Wait for the end of all that runs."""
        self._executor.shutdown(cancel_futures=True)

    def _new(self, resource: str, metadata: Message) -> Message:
        now = self._region.clock()
        set_time(metadata.generic_metadata.create_time, now)
        set_time(metadata.generic_metadata.update_time, now)
        packed = any_pb2.Any()
        packed.Pack(metadata)
        name = f"{resource}/operations/{self._region.new_id()}"
        return operations_pb2.Operation(name=name, metadata=packed)

    def _run(self, name: str, work: Work) -> None:
        outcome: Message | VertexError
        try:
            outcome = work.run()
        except VertexError as error:
            outcome = error
        except Exception as error:  # noqa: BLE001  # boundary of a task: a fault must end the operation
            outcome = Internal(f"{type(error).__name__}: {error}")
        self._end(name, outcome)

    def _end(self, name: str, outcome: Message | VertexError) -> None:
        with self._changed:
            if isinstance(outcome, VertexError) and name in self._cancelled:
                outcome = Cancelled("the operation was cancelled; nothing was changed")
            # A finished operation can no longer be cancelled, however long it takes to write it down.
            self._running.pop(name, None)
            self._cancelled.discard(name)
        self._region.store.record(f"{name}: done", lambda: self._write_end(name, outcome), final=True)
        with self._changed:
            self._changed.notify_all()

    def _write_end(self, name: str, outcome: Message | VertexError) -> None:
        with self._region.store.transaction():
            operation = self._operations.find(name)
            if operation is None:
                return
            operation.done = True
            if isinstance(outcome, VertexError):
                operation.error.CopyFrom(status_pb2.Status(code=int(outcome.code), message=outcome.message))
            else:
                operation.response.Pack(outcome)
            self._operations.put(operation)

    def _cancel(self, name: str) -> None:
        with self._changed:
            work = self._running.get(name)
            if work is None:
                return
            self._cancelled.add(name)
        work.cancel()

    def get_operation(self, request: Message) -> Message:
        """Answer GetOperation."""
        return self._get(request.name)

    def list_operations(self, request: Message) -> Message:
        """Answer ListOperations: those of one resource, or of the whole location."""
        parent = self._region.canonical(request.name.removesuffix("/operations"))
        operations = self._operations.earlier(age=self._region.lags.lists)
        mine = [each for each in operations if each.name.startswith(f"{parent}/")]
        page = page_of(mine, request, operations_pb2.Operation)
        return operations_pb2.ListOperationsResponse(
            operations=page.items, next_page_token=page.next_page_token
        )

    def delete_operation(self, request: Message) -> Message:
        """Answer DeleteOperation; a running one cannot be deleted."""
        operation = self._get(request.name)
        if not operation.done:
            raise FailedPrecondition(f"operation '{operation.name}' is running; cancel it first")
        self._operations.delete(operation.name)
        return empty_pb2.Empty()

    def cancel_operation(self, request: Message) -> Message:
        """Answer CancelOperation; without effect on one that is done."""
        self._cancel(self._get(request.name).name)
        return empty_pb2.Empty()

    def wait_operation(self, request: Message) -> Message:
        """Answer WaitOperation: return when it is done, or after the request's time-out."""
        timeout = min(request.timeout.ToTimedelta().total_seconds() or LONGEST_WAIT, LONGEST_WAIT)
        name = self._get(request.name).name
        with self._changed:
            self._changed.wait_for(lambda: self._get(name).done, timeout)
        return self._get(name)

    def _get(self, name: str) -> Message:
        canonical = self._region.canonical(name)
        operation = self._operations.find(canonical)
        if operation is None:
            raise NotFound(f"operation '{canonical}' does not exist")
        return operation
