"""The calls about each kind of job, as both hooks make them, and the settings of every call.

Imported at parse time: it holds no client and imports none.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from vertex_airflow.jobs import JobKind, view_custom, view_operation, view_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vertex_airflow.jobs import JobView

CALL_TIMEOUT: Final = 30.0  # seconds
CHANNEL_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 60_000),
)
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCalls:
    """The calls about one kind of job; each takes a request ``{"name": …}`` and a timeout.

    ``get`` and ``cancel`` return the method of a hook's client: of `VertexHook` or of `AsyncVertex`, whose
    clients have the same names. ``view`` takes the reply to ``get``.
    """

    get: Callable[[Any], Any]
    cancel: Callable[[Any], Any]
    view: Callable[[Any], JobView]


CALLS: Final[Mapping[JobKind, JobCalls]] = {
    JobKind.PIPELINE: JobCalls(
        get=attrgetter("pipelines.get_pipeline_job"),
        cancel=attrgetter("pipelines.cancel_pipeline_job"),
        view=view_pipeline,
    ),
    JobKind.CUSTOM: JobCalls(
        get=attrgetter("jobs.get_custom_job"), cancel=attrgetter("jobs.cancel_custom_job"), view=view_custom
    ),
    # The operations of all services are read through one client: the services share an address.
    JobKind.OPERATION: JobCalls(
        get=attrgetter("pipelines.get_operation"),
        cancel=attrgetter("pipelines.cancel_operation"),
        view=view_operation,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListCall:
    """The call that lists the jobs of one kind.

    ``jobs`` returns those of a page. ``state_prefix`` is how a filter writes the kind's states.
    """

    list: Callable[[Any], Any]
    jobs: Callable[[Any], Any]
    state_prefix: str


LISTS: Final[Mapping[JobKind, ListCall]] = {
    JobKind.PIPELINE: ListCall(
        list=attrgetter("pipelines.list_pipeline_jobs"),
        jobs=attrgetter("pipeline_jobs"),
        state_prefix="PIPELINE_STATE",
    ),
    JobKind.CUSTOM: ListCall(
        list=attrgetter("jobs.list_custom_jobs"), jobs=attrgetter("custom_jobs"), state_prefix="JOB_STATE"
    ),
}
