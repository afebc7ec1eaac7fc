"""Endpoints as they are now: their deployed models, and which of these get traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertex_airflow import model_registry, traffic
from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.aiplatform_v1.types import DeployedModel

    from vertex_airflow.hooks.vertex import VertexHook


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveEndpoint:
    """An endpoint with its deployed models, by id, and its traffic split as they are now.

    ``deployed_at`` is when each was deployed, in seconds since the epoch.
    """

    name: str
    etag: str
    deployed: Mapping[str, ModelName]
    deployed_at: Mapping[str, float]
    split: Mapping[str, int]

    def still_deployed(self, split: Mapping[str, int]) -> dict[str, int]:
        """Return the part of an earlier split whose models are still deployed."""
        return {each: share for each, share in split.items() if each in self.deployed}

    def deployment_of(self, version: ModelName) -> Deployment | None:
        """Return a version's deployment, the busiest one if there are several, or None."""
        ids = [deployed for deployed, name in self.deployed.items() if name.is_version(version)]
        own = max(ids, key=lambda deployed: (self.split.get(deployed, 0), deployed), default=None)
        return None if own is None else Deployment(endpoint=self, id=own)

    @property
    def busiest(self) -> ModelName | None:
        """The version with most of the traffic; None if no version has any."""
        deployed = traffic.busiest(self.split)
        return None if deployed is None else self.deployed[deployed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A version on an endpoint, where it is called by the id of its deployed model."""

    endpoint: LiveEndpoint
    id: str

    @property
    def share(self) -> int:
        """The percentage of the traffic that it gets."""
        return self.endpoint.split.get(self.id, 0)

    @property
    def has_all_traffic(self) -> bool:
        """True if nothing else serves."""
        return self.endpoint.split == {self.id: traffic.WHOLE}

    @property
    def names(self) -> dict[str, str]:
        """The names of it that tasks return."""
        return {"endpoint": self.endpoint.name, "deployed_model": self.id}


def find_endpoint(hook: VertexHook, display_name: str) -> LiveEndpoint | None:
    """Return the endpoint with this id, else the oldest with this display name, as it is now, or None."""
    # Any, as proto-plus gives datetimes where its stubs say Timestamp.
    endpoint: Any = model_registry.find_by_name(
        hook, "endpoints", display_name, hook.endpoints.get_endpoint, hook.endpoints.list_endpoints
    )
    if endpoint is None:
        return None
    return LiveEndpoint(
        name=endpoint.name,
        etag=endpoint.etag,
        deployed={each.id: _version(each) for each in endpoint.deployed_models},
        deployed_at={each.id: each.create_time.timestamp() for each in endpoint.deployed_models},
        split={deployed: share for deployed, share in endpoint.traffic_split.items() if share},
    )


def find_deployment(hook: VertexHook, display_name: str, version: ModelName) -> Deployment | None:
    """Return a version's deployment on the endpoint with this name, or None."""
    endpoint = find_endpoint(hook, display_name)
    return endpoint.deployment_of(version) if endpoint is not None else None


def is_promoted(hook: VertexHook, deployment: Deployment, version: ModelName) -> bool:
    """Return whether a version's promotion is complete: it has all of the traffic, and is the champion."""
    return deployment.has_all_traffic and model_registry.CHAMPION in model_registry.aliases_of(hook, version)


def set_traffic(hook: VertexHook, endpoint: LiveEndpoint, split: Mapping[str, int]) -> None:
    """Replace the endpoint's traffic split; ABORTED if somebody else has changed it since it was read."""
    hook.endpoints.update_endpoint(
        {
            "endpoint": {"name": endpoint.name, "etag": endpoint.etag, "traffic_split": dict(split)},
            "update_mask": {"paths": ["traffic_split"]},
        },
        timeout=CALL_TIMEOUT,
    )


def give_back(hook: VertexHook, display_name: str, version: ModelName, before: Mapping[str, int]) -> None:
    """Give a version's share of the traffic back to the others; a promoted one keeps it.

    :param before: the split before the run; empty if that is not known
    """
    own = find_deployment(hook, display_name, version)
    if own is not None and own.share and not is_promoted(hook, own, version):
        earlier = own.endpoint.still_deployed(before)
        set_traffic(hook, own.endpoint, traffic.restored(own.endpoint.split, own.id, earlier))


def undeploy(hook: VertexHook, endpoint: LiveEndpoint, deployed: str) -> str:
    """Start to undeploy a model that has no traffic, and return the operation's name."""
    undeployment = hook.endpoints.undeploy_model(
        {"endpoint": endpoint.name, "deployed_model_id": deployed}, timeout=CALL_TIMEOUT
    )
    return str(undeployment.operation.name)


def _version(deployed: DeployedModel) -> ModelName:
    name = ModelName.parse(deployed.model)
    version = deployed.model_version_id or name.version
    return ModelName(project=name.project, location=name.location, id=name.id, version=version)
