"""The table of methods that both doors serve, read from Google's own generated clients."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, TypeAlias, cast

from google.cloud import aiplatform_v1, monitoring_v3, resourcemanager_v3
from google.cloud.aiplatform_v1 import services as aiplatform_services
from google.cloud.location import locations_pb2
from google.longrunning import operations_pb2

from local_vertex.api.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Handler: TypeAlias = Callable[[Message], Message]

AIPLATFORM = "google.cloud.aiplatform.v1"
OPERATIONS = "google.longrunning.Operations"
LOCATIONS = "google.cloud.location.Locations"
PROJECTS = "google.cloud.resourcemanager.v3.Projects"
METRICS = "google.monitoring.v3.MetricService"

# Its client speaks gRPC only: the bindings are those of google/monitoring/v3/metric_service.proto, as far as
# a path has a fixed number of segments.
_METRIC_RULES = {
    "ListMonitoredResourceDescriptors": ("GET", "/monitoredResourceDescriptors", None),
    "GetMonitoredResourceDescriptor": None,
    "ListMetricDescriptors": ("GET", "/metricDescriptors", None),
    "GetMetricDescriptor": None,
    "CreateMetricDescriptor": ("POST", "/metricDescriptors", "metric_descriptor"),
    "DeleteMetricDescriptor": None,
    "ListTimeSeries": ("GET", "/timeSeries", None),
    "CreateTimeSeries": ("POST", "/timeSeries", "*"),
    "CreateServiceTimeSeries": ("POST", "/timeSeries:createService", "*"),
}

_MIXINS = {
    "ListOperations": (OPERATIONS, operations_pb2),
    "GetOperation": (OPERATIONS, operations_pb2),
    "DeleteOperation": (OPERATIONS, operations_pb2),
    "CancelOperation": (OPERATIONS, operations_pb2),
    "WaitOperation": (OPERATIONS, operations_pb2),
    "GetLocation": (LOCATIONS, locations_pb2),
    "ListLocations": (LOCATIONS, locations_pb2),
}
_SHARED_REQUESTS = {"CreateServiceTimeSeries": "CreateTimeSeries"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRule:
    """One binding of google.api.http: `uri` is a template, `body` a field, `*` or None."""

    verb: str
    uri: str
    body: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One RPC: its names on the wire, and its handler.

    `handler` is None for a method that the local Vertex AI does not support.
    """

    service: str
    rpc: str
    request_type: type[Message] | None
    rules: tuple[HttpRule, ...]
    handler: Handler | None = field(default=None, compare=False)

    @property
    def path(self) -> str:
        """The gRPC path."""
        return f"/{self.service}/{self.rpc}"


def method_table(services: Mapping[str, object]) -> tuple[Method, ...]:
    """Return every method of the clients, with handlers for those that are supported.

    `services` maps the full name of a gRPC service to the object that implements it: the method
    `CreatePipelineJob` is answered by its attribute `create_pipeline_job`, if there is one.
    """
    return tuple(
        # CreatePipelineJob is answered by create_pipeline_job.
        replace(
            each,
            handler=getattr(
                services.get(each.service), re.sub(r"(?<!^)(?=[A-Z])", "_", each.rpc).lower(), None
            ),
        )
        for each in _declared_methods()
    )


@cache
def _declared_methods() -> tuple[Method, ...]:
    """Return every method without a handler; the clients are the same for every server of a process."""
    table: dict[str, Method] = {}
    for service, types, transport in _transports():
        for rpc, rules in _rules(transport):
            owner, module = _MIXINS.get(rpc, (service, types))
            request_type = _message_type(module, f"{rpc}Request")
            method = Method(service=owner, rpc=rpc, request_type=request_type, rules=rules)
            known = table.get(method.path, method)
            # Many services declare the same mixin, each with bindings of its own.
            table[method.path] = replace(known, rules=tuple(dict.fromkeys((*known.rules, *rules))))
    return (*table.values(), *_metric_methods())


def _metric_methods() -> Iterator[Method]:
    for rpc, rule in _METRIC_RULES.items():
        request_type = _message_type(monitoring_v3, f"{_SHARED_REQUESTS.get(rpc, rpc)}Request")
        rules: tuple[HttpRule, ...] = ()
        if rule:
            verb, rest, body = rule
            rules = (HttpRule(verb=verb, uri=f"/v3/{{name=projects/*}}{rest}", body=body),)
        yield Method(service=METRICS, rpc=rpc, request_type=request_type, rules=rules)


def _transports() -> Iterator[tuple[str, object, type]]:
    for module in pkgutil.iter_modules(aiplatform_services.__path__):
        transport = _transport(f"{aiplatform_services.__name__}.{module.name}")
        name = transport.__name__.removeprefix("_Base").removesuffix("RestTransport")
        yield f"{AIPLATFORM}.{name}", aiplatform_v1, transport
    projects = _transport("google.cloud.resourcemanager_v3.services.projects")
    yield PROJECTS, resourcemanager_v3, projects


def _transport(package: str) -> type:
    module = importlib.import_module(f"{package}.transports.rest_base")
    return next(
        cast("type", value)
        for name, value in vars(module).items()
        if name.startswith("_Base") and name.endswith("RestTransport")
    )


def _rules(transport: type) -> Iterator[tuple[str, tuple[HttpRule, ...]]]:
    for name, stub in vars(transport).items():
        if name.startswith("_Base"):
            options: Iterable[dict[str, str]] = getattr(stub, "_get_http_options", list)()
            yield (
                name.removeprefix("_Base"),
                tuple(
                    HttpRule(verb=each["method"].upper(), uri=each["uri"], body=each.get("body"))
                    for each in options
                ),
            )


def _message_type(module: object, name: str) -> type[Message] | None:
    message = getattr(module, name, None)
    if message is None:
        return None
    return cast("type[Message]", message.pb() if hasattr(message, "pb") else message)
