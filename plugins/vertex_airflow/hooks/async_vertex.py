"""Asynchronous Vertex AI calls for triggers: one channel per process, however many jobs wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from vertex_airflow.hooks.calls import CALL_TIMEOUT, CALLS, CHANNEL_OPTIONS, LISTS, SCOPES
from vertex_airflow.jobs import ACTIVE_STATES, wire_state
from vertex_airflow.labels import ATTEMPT_LABEL
from vertex_airflow.objects import ObjectStore
from vertex_airflow.watch import JobWatch, Listing

if TYPE_CHECKING:
    from google.cloud.aiplatform_v1 import JobServiceAsyncClient, PipelineServiceAsyncClient

    from vertex_airflow.hooks.monitoring import MonitoringHook
    from vertex_airflow.hooks.vertex import ApiEndpoint, VertexHook
    from vertex_airflow.jobs import JobKind, JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The key of a trigger's channel. Secrets stay in the connection."""

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

    def monitoring(self) -> MonitoringHook:
        """Return the hook of Cloud Monitoring of the same connection."""
        from vertex_airflow.hooks.monitoring import MonitoringHook  # noqa: PLC0415  # not at parse time

        return MonitoringHook(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=list(self.impersonation_chain) or None
        )

    def store(self) -> ObjectStore:
        """Return the objects of Cloud Storage that the same connection reaches."""
        return ObjectStore(
            gcp_conn_id=self.gcp_conn_id, impersonation_chain=list(self.impersonation_chain) or None
        )


_Reply = TypeVar("_Reply")

_PAGE_SIZE: Final = 100
# Jobs of these operators that may still change. Only comparisons with AND, which need no precedence, and only
# states that both kinds of job have always had: `list_active` drops other inactive jobs by their state.
_ENDED: Final = ("SUCCEEDED", "FAILED", "CANCELLED")


class UnreadableReplyError(ConnectionError):
    """The reply to a call arrived, and is not a message of its type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncVertex:
    """The calls that waiting needs. None of them blocks the event loop."""

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
        calls = LISTS[kind]
        ended = [f'state!="{calls.state_prefix}_{state}"' for state in _ENDED]
        request = {
            "parent": location,
            "filter": " AND ".join([f"labels.{ATTEMPT_LABEL}:*", *ended]),
            "page_size": _PAGE_SIZE,
            "read_mask": {"paths": ["name", "state"]},
        }
        pager = await calls.list(self)(request, timeout=CALL_TIMEOUT)
        ids: set[str] = set()
        pages = 0
        async for page in pager.pages:
            pages += 1
            jobs = calls.jobs(_readable(page, f"the jobs in {location}"))
            ids |= {job.name.rpartition("/")[2] for job in jobs if wire_state(job.state) in ACTIVE_STATES}
        return Listing(ids=frozenset(ids), pages=pages)

    async def get_job(self, kind: JobKind, name: str) -> JobView:
        """Return a job as it is now; UnreadableReplyError beside the errors of google.api_core."""
        calls = CALLS[kind]
        return calls.view(_readable(await calls.get(self)({"name": name}, timeout=CALL_TIMEOUT), name))

    async def cancel_job(self, kind: JobKind, name: str) -> None:
        """Request a job's cancellation; it happens later."""
        await CALLS[kind].cancel(self)({"name": name}, timeout=CALL_TIMEOUT)


def _readable(reply: _Reply | None, name: str) -> _Reply:
    """Return the reply; grpc.aio gives None for one that it could not deserialize."""
    if reply is None:
        raise UnreadableReplyError(f"the reply about {name} could not be read")
    return reply


# Triggers are built one by one from the database, so nothing above them could own the channel that they
# share: it belongs to the event loop that they run in, and goes with it.
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


def _resolve(access: Access) -> tuple[ApiEndpoint, Any]:
    """Read the connection and import the clients, which takes seconds: never call it on the loop's thread."""
    import google.cloud.aiplatform_v1  # noqa: F401, PLC0415  # the import is the point

    hook = access.hook()
    return hook.endpoint, None if hook.endpoint.plaintext else hook.channel_credentials()


async def _connect(access: Access) -> AsyncVertex:
    """Resolve the endpoint on a thread; open the channel on the loop's own, as it belongs to the loop."""
    endpoint, credentials = await sync_to_async(_resolve)(access)
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
