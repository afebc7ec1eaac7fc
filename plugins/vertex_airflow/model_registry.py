"""The model registry as it is now: models, their versions, and the aliases that point to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.names import ModelName
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.cloud.aiplatform_v1 import Model

    from vertex_airflow.hooks.vertex import VertexHook

CHALLENGER, CHAMPION = "challenger", "champion"
# The version of a model's name without a version: `aiplatform.Model("chicago-taxi-fare")`.
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A version as it is registered; `uri` is the folder of its files, which may be gone."""

    name: ModelName
    uri: str
    labels: Mapping[str, str]


def get_version(hook: VertexHook, name: ModelName) -> RegisteredModel:
    """Return a version that must be there; google.api_core's errors go to the caller."""
    model = hook.models.get_model(name=str(name), timeout=CALL_TIMEOUT)
    return RegisteredModel(name=version_name(model), uri=model.artifact_uri, labels=dict(model.labels))


def find_model(hook: VertexHook, display_name: str) -> ModelName | None:
    """Return the model with this id, else the oldest with this display name, without a version, or None."""
    model = find_by_name(hook, "models", display_name, hook.models.get_model, hook.models.list_models)
    return ModelName.parse(model.name).unversioned if model is not None else None


def find_version(hook: VertexHook, model: ModelName, alias: str) -> Model | None:
    """Return the version that an alias points to, or None."""
    found: Model | None = _get(hook.models.get_model, f"{model.unversioned}@{alias}")
    return found


def served_alias(version: ModelName) -> str:
    """Return the alias that a version keeps once it has been promoted.

    An alias belongs to one version of a model at a time, so that each version has one of its own.
    """
    return f"served-{version.version}"


def list_served(hook: VertexHook, model: ModelName) -> list[RegisteredModel]:
    """Return the versions that a list shows as once promoted; a list may lag behind `aliases_of`."""
    versions = hook.models.list_model_versions(name=str(model.unversioned), timeout=CALL_TIMEOUT)
    return [
        RegisteredModel(name=version_name(each), uri=each.artifact_uri, labels=dict(each.labels))
        for each in versions
        if served_alias(version_name(each)) in each.version_aliases
    ]


def version_name(model: Model) -> ModelName:
    """Return the resource name of a model with its version."""
    return ModelName.parse(f"{model.name.partition('@')[0]}@{model.version_id}")


def aliases_of(hook: VertexHook, version: ModelName) -> frozenset[str]:
    """Return the aliases of a version; none if it does not exist."""
    model = find_version(hook, version, str(version.version))
    return frozenset(model.version_aliases) if model is not None else frozenset()


def give_aliases(hook: VertexHook, version: ModelName, *aliases: str) -> None:
    """Make aliases point to a version, in one call, which takes them from the versions that have them.

    See https://cloud.google.com/vertex-ai/docs/model-registry/model-alias.
    """
    # A retry whose earlier try got this far has nothing left to write.
    if not aliases_of(hook, version).issuperset(aliases):
        _merge_aliases(hook, version, aliases)


def take_aliases(hook: VertexHook, version: ModelName, *aliases: str) -> None:
    """Remove aliases from this version; those that point elsewhere stay. Not for `default`."""
    if held := aliases_of(hook, version).intersection(aliases):
        _merge_aliases(hook, version, [f"-{alias}" for alias in sorted(held)])


def _merge_aliases(hook: VertexHook, version: ModelName, aliases: Sequence[str]) -> None:
    hook.models.merge_version_aliases(name=str(version), version_aliases=list(aliases), timeout=CALL_TIMEOUT)


def find_by_name(
    hook: VertexHook,
    collection: str,
    display_name: str,
    get: Callable[..., Any],
    list_all: Callable[..., Any],
) -> Any:  # noqa: ANN401  # a model or an endpoint, or None
    """Return the resource with this id, else the oldest one with this display name, as it is now, or None.

    A list is used for names only: it may not yet show what was just made, still show what was deleted, and
    show an earlier state. Resources of our own operators are found without one, by their id.
    """
    own = _get(get, f"{hook.location}/{collection}/{display_name}")
    if own is not None:
        return own
    request = {"parent": hook.location, "filter": f'display_name="{display_name}"'}
    for listed in sorted(list_all(request, timeout=CALL_TIMEOUT), key=lambda each: each.create_time):
        found = _get(get, listed.name)
        if found is not None and found.display_name == display_name:
            return found
    return None


def _get(get: Callable[..., Any], name: str) -> Any:  # noqa: ANN401  # a model or an endpoint, or None
    try:
        return get(name=name, timeout=CALL_TIMEOUT)
    except Exception as error:
        if classify(error) is ErrorKind.MISSING:
            return None
        raise
