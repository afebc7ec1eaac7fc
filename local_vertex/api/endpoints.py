"""The content of an endpoint: its deployed models and the split of its traffic (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.domain.errors import FailedPrecondition, InvalidArgument, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_vertex.api.messages import Message

ENDPOINT = aiplatform_v1.Endpoint.pb()
NEW_MODEL = "0"
"""The key by which a traffic split of DeployModel refers to the model that is being deployed."""
ALL_TRAFFIC = 100


def deployed_ids(endpoint: Message) -> list[str]:
    """Return the ids of an endpoint's deployed models."""
    return [deployed.id for deployed in endpoint.deployed_models]


def find_deployed(endpoint: Message, deployed_model_id: str) -> Message:
    """Return a deployed model of an endpoint; raises NotFound."""
    for deployed in endpoint.deployed_models:
        if deployed.id == deployed_model_id:
            return deployed
    raise NotFound(f"endpoint '{endpoint.name}' has no deployed model '{deployed_model_id}'")


def check_split(split: Mapping[str, int], known: list[str]) -> None:
    """Raise InvalidArgument unless `split` is empty, or gives 100 percent to `known` models."""
    for deployed_model_id, percent in split.items():
        if deployed_model_id not in known:
            raise InvalidArgument.of(
                "traffic_split",
                f"'{deployed_model_id}' is not deployed here; deployed: {', '.join(known) or 'nothing'}",
            )
        if not 0 <= percent <= ALL_TRAFFIC:
            raise InvalidArgument.of("traffic_split", f"{percent} percent for '{deployed_model_id}'")
    total = sum(split.values())
    if split and total != ALL_TRAFFIC:
        raise InvalidArgument.of("traffic_split", f"the percentages add up to {total}, not to {ALL_TRAFFIC}")


def set_split(endpoint: Message, split: Mapping[str, int]) -> None:
    """Check a split against the endpoint's deployed models and set it; zeros are left out."""
    check_split(split, deployed_ids(endpoint))
    endpoint.traffic_split.clear()
    endpoint.traffic_split.update({key: percent for key, percent in split.items() if percent})


def add_deployed(endpoint: Message, deployed: Message, split: Mapping[str, int]) -> None:
    """Add a deployed model; a non-empty `split`, in which `0` is the new model, replaces the old one."""
    endpoint.deployed_models.append(deployed)
    if split:
        set_split(endpoint, resolve_split(split, deployed.id))


def resolve_split(split: Mapping[str, int], new_id: str) -> dict[str, int]:
    """Return `split` with the new model's id in place of `0`."""
    return {new_id if key == NEW_MODEL else key: percent for key, percent in split.items()}


def remove_deployed(endpoint: Message, deployed_model_id: str, split: Mapping[str, int]) -> None:
    """Remove a deployed model, which must have no traffic afterwards.

    A non-empty `split` replaces the old one; when the last model goes, the split becomes empty.
    Raises NotFound, InvalidArgument for a wrong split and FailedPrecondition when the model has traffic.
    """
    find_deployed(endpoint, deployed_model_id)
    if split:
        set_split(endpoint, split)
    last = len(endpoint.deployed_models) == 1
    percent = endpoint.traffic_split.get(deployed_model_id, 0)
    if percent and not last:
        raise FailedPrecondition(
            f"deployed model '{deployed_model_id}' has {percent} percent of the traffic; "
            "move it to another model first, or give a traffic_split"
        )
    if last:
        endpoint.traffic_split.clear()
    kept = [deployed for deployed in endpoint.deployed_models if deployed.id != deployed_model_id]
    del endpoint.deployed_models[:]
    endpoint.deployed_models.extend(kept)
