"""The endpoint as a run found it before it spent anything, and what must still hold when it promotes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow import endpoints, model_registry, traffic
from vertex_airflow.model_registry import RegisteredModel
from vertex_airflow.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vertex_airflow.endpoints import LiveEndpoint
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The models that served before a run began; `split` has the deployed ones with traffic, by id.

    `champion` has most of the traffic; None if no model has any. `anchor` is another version that the run is
    compared with, if there is one. `members` are further versions that the run builds on.
    """

    deployed: Mapping[str, ModelName]
    split: Mapping[str, int]
    champion: RegisteredModel | None
    anchor: RegisteredModel | None = None
    members: tuple[RegisteredModel, ...] = ()

    @classmethod
    def of(cls, endpoint: LiveEndpoint | None, champion: RegisteredModel | None) -> Self:
        """Return the baseline of an endpoint as it is now; one that does not exist serves nothing."""
        if endpoint is None:
            return cls(deployed={}, split={}, champion=champion)
        return cls(deployed=endpoint.deployed, split=endpoint.split, champion=champion)

    @classmethod
    def live(cls, hook: VertexHook, endpoint_name: str) -> Self:
        """Return what an endpoint serves now, by its traffic."""
        endpoint = endpoints.find_endpoint(hook, endpoint_name)
        busiest = endpoint.busiest if endpoint is not None else None
        return cls.of(endpoint, model_registry.get_version(hook, busiest) if busiest is not None else None)

    @classmethod
    def recorded(cls, store: ObjectStore, uri: str) -> Self:
        """Return what served before a run.

        Raises:
            AirflowFailException: if it was never recorded, or has been deleted.

        """
        try:
            return cls.from_json(store.read(uri))
        except FileNotFoundError as error:
            raise AirflowFailException(
                f"{error}: there is no record of what served before this run; start a new run"
            ) from error

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return the baseline that `to_json` wrote."""
        document = json.loads(content)
        return cls(
            deployed={each: ModelName.parse(name) for each, name in document["deployed"].items()},
            split=document["split"],
            champion=_from_json(document["champion"]),
            anchor=_from_json(document.get("anchor")),
            members=tuple(filter(None, map(_from_json, document.get("members", ())))),
        )

    def to_json(self) -> bytes:
        """Return the document that is kept in the run's folder."""
        document = {
            "anchor": _to_json(self.anchor),
            "champion": _to_json(self.champion),
            "members": [_to_json(each) for each in self.members],
            "deployed": {each: str(name) for each, name in self.deployed.items()},
            "split": dict(self.split),
        }
        return json.dumps(document, indent=2, sort_keys=True).encode()

    def objection(self, endpoint: LiveEndpoint | None, own: str | None) -> str | None:
        """Return how the endpoint has changed since, in words, or None if a promotion may continue.

        It may while the champion still has most of the traffic and no other model has begun to serve. The
        share of `own`, the run's deployed model, does not count.
        """
        others = {each: share for each, share in (endpoint.split if endpoint else {}).items() if each != own}
        live = {each: endpoint.deployed[each] for each in others} if endpoint else {}
        for each in sorted(others, key=lambda deployed: (-others[deployed], deployed)):
            if not _holds(live[each], (self.deployed[known] for known in self.split)):
                return f"{live[each]} has {others[each]} % of the traffic and had none"
        if self.champion is None:
            return None
        # Either of two with the same share may have been recorded as the champion.
        most = max(others.values(), default=0)
        leaders = [live[each] for each, share in others.items() if share == most]
        if _holds(self.champion.name, leaders):
            return None
        busiest = traffic.busiest(others)
        return (
            f"{live[busiest]} has most of the traffic"
            if busiest
            else f"{self.champion.name} has no traffic any more"
        )


def _from_json(model: dict[str, Any] | None) -> RegisteredModel | None:
    if model is None:
        return None
    return RegisteredModel(name=ModelName.parse(model["name"]), uri=model["uri"], labels=model["labels"])


def _to_json(model: RegisteredModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {"name": str(model.name), "uri": model.uri, "labels": dict(model.labels)}


def _holds(version: ModelName, versions: Iterable[ModelName]) -> bool:
    return any(version.is_version(each) for each in versions)
