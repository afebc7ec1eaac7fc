"""Asynchronous Vertex AI calls for triggers: one channel per process, however many jobs wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from vertex_airflow.hooks.calls import CALL_TIMEOUT, CHANNEL_OPTIONS, SCOPES
from vertex_airflow.jobs import view_custom, view_operation, view_pipeline
from vertex_airflow.labels import ATTEMPT_LABEL
from vertex_airflow.states import ACTIVE_STATES, JobKind, wire_state
from vertex_airflow.watch import JobWatch, Listing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.aiplatform_v1 import JobServiceAsyncClient, PipelineServiceAsyncClient

    from vertex_airflow.hooks.vertex import ApiEndpoint, VertexHook
    from vertex_airflow.jobs import JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What decides which channel a trigger uses. Secrets stay in the connection."""

    gcp_conn_id: str
    region: str
    impersonation_chain: tuple[str, ...] = ()

    def hook(self) -> VertexHook:
        """Return the synchronous hook of the same connection."""
        from vertex_airflow.hooks.vertex import VertexHook  # noqa: PLC0415  # 0.5 s, not at parse time

        return VertexHook(
            region=self.region,
            gcp_conn_id=self.gcp_conn_id,
            impersonation_chain=list(self.impersonation_chain) or None,
        )


_Reply = TypeVar("_Reply")

_PAGE_SIZE: Final = 100
# Jobs of these operators that may still move: only comparisons with AND, which need no precedence, and only
# states that both kinds of job have always had. What else is not active is left out by its state.
_ENDED: Final = ("SUCCEEDED", "FAILED", "CANCELLED")
_PREFIXES: Final[Mapping[JobKind, str]] = {JobKind.PIPELINE: "PIPELINE_STATE", JobKind.CUSTOM: "JOB_STATE"}


class UnreadableReplyError(ConnectionError):
    """The reply to a call arrived, and is no message of its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncVertex:
    """The calls that waiting needs, none of which blocks the event loop."""

    pipelines: PipelineServiceAsyncClient
    jobs: JobServiceAsyncClient
    _watches: dict[tuple[JobKind, str], JobWatch] = field(default_factory=dict, init=False, compare=False)

    def watch(self, kind: JobKind, location: str) -> JobWatch:
        """Return the one watch over the jobs of a kind in a location, ``projects/…/locations/…``."""
        watch = self._watches.get((kind, location))
        if watch is None:
            watch = self._watches[kind, location] = JobWatch(partial(self.list_active, kind, location))
        return watch

    async def list_active(self, kind: JobKind, location: str) -> Listing:
        """Return the active jobs that were submitted by an operator; raises as `get_job` does."""
        ended = [f'state!="{_PREFIXES[kind]}_{state}"' for state in _ENDED]
        request = {
            "parent": location,
            "filter": " AND ".join([f"labels.{ATTEMPT_LABEL}:*", *ended]),
            "page_size": _PAGE_SIZE,
            "read_mask": {"paths": ["name", "state"]},
        }
        if kind is JobKind.PIPELINE:
            pager: Any = await self.pipelines.list_pipeline_jobs(request, timeout=CALL_TIMEOUT)
        else:
            pager = await self.jobs.list_custom_jobs(request, timeout=CALL_TIMEOUT)
        ids: set[str] = set()
        pages = 0
        async for page in pager.pages:
            pages += 1
            readable = _readable(page, f"the jobs in {location}")
            jobs = readable.pipeline_jobs if kind is JobKind.PIPELINE else readable.custom_jobs
            ids |= {job.name.rpartition("/")[2] for job in jobs if wire_state(job.state) in ACTIVE_STATES}
        return Listing(ids=frozenset(ids), pages=pages)

    async def get_job(self, kind: JobKind, name: str) -> JobView:
        """Return a job as it is now; UnreadableReplyError beside the errors of google.api_core."""
        if kind is JobKind.PIPELINE:
            pipeline = await self.pipelines.get_pipeline_job(name=name, timeout=CALL_TIMEOUT)
            return view_pipeline(_readable(pipeline, name))
        if kind is JobKind.CUSTOM:
            return view_custom(
                _readable(await self.jobs.get_custom_job(name=name, timeout=CALL_TIMEOUT), name)
            )
        operation = await self.pipelines.get_operation({"name": name}, timeout=CALL_TIMEOUT)
        return view_operation(_readable(operation, name))

    async def cancel_job(self, kind: JobKind, name: str) -> None:
        """Ask for a job's cancellation; it happens later."""
        if kind is JobKind.PIPELINE:
            await self.pipelines.cancel_pipeline_job(name=name, timeout=CALL_TIMEOUT)
        elif kind is JobKind.CUSTOM:
            await self.jobs.cancel_custom_job(name=name, timeout=CALL_TIMEOUT)
        else:
            await self.pipelines.cancel_operation({"name": name}, timeout=CALL_TIMEOUT)


def _readable(reply: _Reply | None, name: str) -> _Reply:
    """Return the reply; grpc.aio gives None for one that it could not deserialize."""
    if reply is None:
        raise UnreadableReplyError(f"the reply about {name} could not be read")
    return reply


# Triggers are built one by one from the database, so that nobody above them could own the channel that
# they share: it belongs to the event loop they run in, and goes with it.
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Access, asyncio.Task[AsyncVertex]]] = (
    WeakKeyDictionary()
)


async def shared_vertex(access: Access) -> AsyncVertex:
    """Return this event loop's client for a connection and region, connecting the first time."""
    clients = _shared.setdefault(asyncio.get_running_loop(), {})
    connecting = clients.get(access)
    if connecting is None or (connecting.done() and (connecting.cancelled() or connecting.exception())):
        connecting = clients[access] = asyncio.create_task(_connect(access))
    return await asyncio.shield(connecting)


async def _connect(access: Access) -> AsyncVertex:
    endpoint, credentials = await sync_to_async(_resolve)(access)
    # On the loop's thread: a grpc.aio channel belongs to the loop it is made in.
    return _open(endpoint, credentials)


def _resolve(access: Access) -> tuple[ApiEndpoint, Any]:
    """Read the connection and import the clients; both take seconds, so never on the loop's thread."""
    import google.cloud.aiplatform_v1  # noqa: F401, PLC0415  # the import is the point

    hook = access.hook()
    return hook.endpoint, None if hook.endpoint.plaintext else hook.channel_credentials()


def _open(endpoint: ApiEndpoint, credentials: Any) -> AsyncVertex:  # noqa: ANN401  # google.auth has no types
    import grpc.aio  # noqa: PLC0415  # loaded by _resolve already
    from google.cloud.aiplatform_v1 import (  # noqa: PLC0415  # loaded by _resolve already
        JobServiceAsyncClient,
        PipelineServiceAsyncClient,
    )

    to_pipelines: Any = PipelineServiceAsyncClient.get_transport_class("grpc_asyncio")
    to_jobs: Any = JobServiceAsyncClient.get_transport_class("grpc_asyncio")
    if endpoint.plaintext:
        channel = grpc.aio.insecure_channel(endpoint.target, options=CHANNEL_OPTIONS)
    else:
        channel = to_pipelines.create_channel(
            endpoint.target, credentials=credentials, scopes=SCOPES, options=CHANNEL_OPTIONS
        )
    return AsyncVertex(
        pipelines=PipelineServiceAsyncClient(transport=to_pipelines(host=endpoint.target, channel=channel)),
        jobs=JobServiceAsyncClient(transport=to_jobs(host=endpoint.target, channel=channel)),
    )
