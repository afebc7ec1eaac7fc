"""What the model registry and the endpoint hold now, as frozen types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertex_airflow import traffic
from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.names import ModelName
from vertex_airflow.polling import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.cloud.aiplatform_v1 import Endpoint, Model
    from google.cloud.aiplatform_v1.types import DeployedModel

    from vertex_airflow.hooks.vertex import VertexHook

CHALLENGER, CHAMPION = "challenger", "champion"
# The version of a model's name without a version: `aiplatform.Model("chicago-taxi-fare")`.
DEFAULT = "default"


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

    def deployment_of(self, model: ModelName) -> str | None:
        """Return the id under which a version is deployed, the busiest if there are several."""
        ids = [deployed for deployed, name in self.deployed.items() if name.is_version(model)]
        return max(ids, key=lambda deployed: (self.split.get(deployed, 0), deployed), default=None)


def find_endpoint(hook: VertexHook, display_name: str) -> LiveEndpoint | None:
    """Return the endpoint with this id, else the oldest with this display name, as it is now, or None.

    A list only tells names: it may not show yet what was just made, still show what was deleted, and show a
    split of before. The endpoint that our own deployments make is found without one, by its id.
    """
    own = _get(hook.endpoints.get_endpoint, f"{hook.location}/endpoints/{display_name}")
    if own is not None:
        return live_endpoint(own)
    for listed in _oldest_first(hook, hook.endpoints.list_endpoints, display_name):
        endpoint = _get(hook.endpoints.get_endpoint, listed.name)
        if endpoint is not None and endpoint.display_name == display_name:
            return live_endpoint(endpoint)
    return None


def live_endpoint(endpoint: Endpoint) -> LiveEndpoint:
    """Return the frozen view of an endpoint."""
    return LiveEndpoint(
        name=endpoint.name,
        etag=endpoint.etag,
        deployed={each.id: _version(each) for each in endpoint.deployed_models},
        deployed_at={each.id: _created(each).timestamp() for each in endpoint.deployed_models},
        split={deployed: share for deployed, share in endpoint.traffic_split.items() if share},
    )


def set_traffic(hook: VertexHook, endpoint: LiveEndpoint, split: Mapping[str, int]) -> None:
    """Replace the endpoint's traffic split; ABORTED when somebody else has changed it since it was read."""
    hook.endpoints.update_endpoint(
        {
            "endpoint": {"name": endpoint.name, "etag": endpoint.etag, "traffic_split": dict(split)},
            "update_mask": {"paths": ["traffic_split"]},
        },
        timeout=CALL_TIMEOUT,
    )


def is_promoted(hook: VertexHook, endpoint: LiveEndpoint, version: ModelName) -> bool:
    """Return whether a promotion of this version has ended: it has all traffic, and is the champion."""
    own = endpoint.deployment_of(version)
    if own is None or endpoint.split != {own: traffic.WHOLE}:
        return False
    return CHAMPION in aliases_of(hook, version)


def find_model(hook: VertexHook, display_name: str) -> ModelName | None:
    """Return the model that `find_endpoint` would return if it were an endpoint, without a version."""
    own = _get(hook.models.get_model, f"{hook.location}/models/{display_name}")
    if own is not None:
        return ModelName.parse(own.name).unversioned
    for listed in _oldest_first(hook, hook.models.list_models, display_name):
        model = _get(hook.models.get_model, listed.name)
        if model is not None and model.display_name == display_name:
            return ModelName.parse(model.name).unversioned
    return None


def find_version(hook: VertexHook, model: ModelName, alias: str) -> Model | None:
    """Return the version that an alias points to, or None."""
    found: Model | None = _get(hook.models.get_model, f"{model.unversioned}@{alias}")
    return found


def aliases_of(hook: VertexHook, version: ModelName) -> frozenset[str]:
    """Return the aliases of a version; none where it does not exist."""
    model = find_version(hook, version, str(version.version))
    return frozenset(model.version_aliases) if model is not None else frozenset()


def give_aliases(hook: VertexHook, version: ModelName, *aliases: str) -> None:
    """Make aliases point to a version, by one call, which takes them from the versions that have them.

    See https://cloud.google.com/vertex-ai/docs/model-registry/model-alias.
    """
    if not aliases_of(hook, version).issuperset(aliases):
        _merge_aliases(hook, version, aliases)


def take_aliases(hook: VertexHook, version: ModelName, *aliases: str) -> None:
    """Make aliases point to this version no more; those that do not are left alone. Not for `default`."""
    if held := aliases_of(hook, version).intersection(aliases):
        _merge_aliases(hook, version, [f"-{alias}" for alias in sorted(held)])


def _created(resource: Any) -> Any:  # noqa: ANN401  # proto-plus gives a datetime, its stub says Timestamp
    return resource.create_time


def version_name(model: Model) -> ModelName:
    """Return the resource name of a model with its version."""
    return ModelName.parse(f"{model.name.partition('@')[0]}@{model.version_id}")


def _get(get: Callable[..., Any], name: str) -> Any:  # noqa: ANN401  # an endpoint or a model, or None
    try:
        return get(name=name, timeout=CALL_TIMEOUT)
    except Exception as error:
        if judge(error) is Verdict.MISSING:
            return None
        raise


def _oldest_first(hook: VertexHook, list_all: Callable[..., Any], display_name: str) -> list[Any]:
    request = {"parent": hook.location, "filter": f'display_name="{display_name}"'}
    return sorted(list_all(request, timeout=CALL_TIMEOUT), key=_created)


def _merge_aliases(hook: VertexHook, version: ModelName, aliases: Sequence[str]) -> None:
    hook.models.merge_version_aliases(name=str(version), version_aliases=list(aliases), timeout=CALL_TIMEOUT)


def _version(deployed: DeployedModel) -> ModelName:
    name = ModelName.parse(deployed.model)
    version = deployed.model_version_id or name.version
    return ModelName(project=name.project, location=name.location, id=name.id, version=version)
