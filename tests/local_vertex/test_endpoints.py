"""Endpoints and deployments through the official clients, over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import CANONICAL, PARENT
from tests.local_vertex.test_models import upload
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.local_vertex.servers import Client, Server

AUTOMATIC = {"min_replica_count": 1, "max_replica_count": 1}


def deploy(
    endpoints: Client, endpoint: str, model: str, split: dict[str, int] | None = None, **fields: object
) -> str:
    """Deploy a model and return the id of the deployed model."""
    deployed = {"model": model, "automatic_resources": AUTOMATIC, **fields}
    operation = endpoints.deploy_model(endpoint=endpoint, deployed_model=deployed, traffic_split=split or {})
    return str(operation.result(timeout=10).deployed_model.id)


def split_of(endpoints: Client, endpoint: str) -> dict[str, int]:
    """Return the traffic split of an endpoint."""
    return dict(endpoints.get_endpoint(name=endpoint).traffic_split)


def test_create_and_get(endpoints: Client, endpoint: str) -> None:
    """A new endpoint has the client's id, an etag and nothing deployed."""
    got = endpoints.get_endpoint(name=endpoint)

    assert got.name == f"{CANONICAL}/endpoints/7"
    assert got.etag
    assert list(got.deployed_models) == []


def test_same_endpoint_id_twice(endpoints: Client, endpoint: str) -> None:
    """A taken id is ALREADY_EXISTS."""
    with pytest.raises(exceptions.Conflict, match=endpoint):
        endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"}, endpoint_id="7")


def test_deploy(endpoints: Client, models: Client, endpoint: str, server: Server) -> None:
    """A deployed model has a server, its version and the traffic that the request gave to `0`."""
    model = upload(models, model_id="fare")
    deployed_id = deploy(endpoints, endpoint, model.name, {"0": 100})
    deployed = endpoints.get_endpoint(name=endpoint).deployed_models[0]

    assert server.models.running() == (deployed_id,)
    assert (deployed.model, deployed.model_version_id) == (model.name, "1")
    assert deployed.display_name == "fare"
    assert split_of(endpoints, endpoint) == {deployed_id: 100}


def test_deploy_by_alias(endpoints: Client, models: Client, endpoint: str) -> None:
    """`model@alias` deploys that version."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name, version_aliases=["challenger"])
    deploy(endpoints, endpoint, f"{name}@challenger", {"0": 100})

    assert endpoints.get_endpoint(name=endpoint).deployed_models[0].model_version_id == "2"


def test_deploy_without_split_gives_no_traffic(endpoints: Client, models: Client, endpoint: str) -> None:
    """A model that is deployed without a split leaves the traffic where it is."""
    model = upload(models, model_id="fare")
    first = deploy(endpoints, endpoint, model.name, {"0": 100})
    deploy(endpoints, endpoint, model.name)

    assert split_of(endpoints, endpoint) == {first: 100}


def test_shift_traffic_then_undeploy(
    endpoints: Client, models: Client, endpoint: str, server: Server
) -> None:
    """Traffic moves by an update, then the old model can go."""
    model = upload(models, model_id="fare")
    first = deploy(endpoints, endpoint, model.name, {"0": 100})
    second = deploy(endpoints, endpoint, model.name, {first: 100, "0": 0})
    endpoints.update_endpoint(
        endpoint={"name": endpoint, "traffic_split": {second: 100}},
        update_mask={"paths": ["traffic_split"]},
    )
    endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=first).result(timeout=5)

    assert split_of(endpoints, endpoint) == {second: 100}
    assert server.models.running() == (second,)


def test_undeploy_with_traffic_is_refused(endpoints: Client, models: Client, endpoint: str) -> None:
    """A model with traffic, which is not the last one, stays."""
    model = upload(models, model_id="fare")
    first = deploy(endpoints, endpoint, model.name, {"0": 100})
    deploy(endpoints, endpoint, model.name)

    with pytest.raises(exceptions.BadRequest, match="100 percent"):
        endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=first)


def test_last_undeploy_empties_the_split(endpoints: Client, models: Client, endpoint: str) -> None:
    """The last model may go with its traffic."""
    first = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=first).result(timeout=5)

    assert split_of(endpoints, endpoint) == {}


@pytest.mark.parametrize("split", [{"0": 50}, {"0": 50, "99": 50}, {"0": 200, "99": -100}])
def test_wrong_splits_are_refused(
    endpoints: Client, models: Client, endpoint: str, split: dict[str, int]
) -> None:
    """A split must give 100 percent to models that are deployed; nothing is started otherwise."""
    model = upload(models)

    with pytest.raises(exceptions.BadRequest, match="traffic_split"):
        deploy(endpoints, endpoint, model.name, split)


def test_failed_deploy_leaves_the_endpoint(
    endpoints: Client, models: Client, endpoint: str, server: Server
) -> None:
    """If the server does not start, the operation fails and the endpoint is as before."""
    first = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    before = endpoints.get_endpoint(name=endpoint)
    broken = upload(models, artifact_uri="gs://bkt/broken")
    with pytest.raises(exceptions.GoogleAPICallError, match="ImportError"):
        deploy(endpoints, endpoint, broken.name, {"0": 100})

    assert endpoints.get_endpoint(name=endpoint) == before
    assert server.models.running() == (first,)


def test_cancelled_deploy(endpoints: Client, models: Client, endpoint: str, server: Server) -> None:
    """A deploy that is cancelled ends as CANCELLED and leaves nothing."""
    slow = upload(models, artifact_uri="gs://bkt/slow")
    operation = endpoints.deploy_model(
        endpoint=endpoint, deployed_model={"model": slow.name, "automatic_resources": AUTOMATIC}
    )
    running = not operation.done()
    endpoints.cancel_operation({"name": operation.operation.name})
    wait_for(operation.done)

    assert running
    assert operation.operation.error.code == 1
    assert server.models.running() == ()


def test_resources_are_required(endpoints: Client, models: Client, endpoint: str) -> None:
    """A deployed model needs one of the kinds of resources."""
    model = upload(models)

    with pytest.raises(exceptions.BadRequest, match="dedicated_resources"):
        endpoints.deploy_model(endpoint=endpoint, deployed_model={"model": model.name})


def test_deployed_model_protects_its_version(endpoints: Client, models: Client, endpoint: str) -> None:
    """A model that is deployed shows where, and cannot be deleted."""
    name = upload(models, model_id="fare").name
    deployed_id = deploy(endpoints, endpoint, name, {"0": 100})
    reference = models.get_model(name=name).deployed_models[0]

    assert (reference.endpoint, reference.deployed_model_id) == (endpoint, deployed_id)
    with pytest.raises(exceptions.BadRequest, match="undeploy"):
        models.delete_model(name=name)


def test_delete_endpoint(endpoints: Client, models: Client, endpoint: str) -> None:
    """An endpoint can be deleted once nothing is deployed on it."""
    deployed_id = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    with pytest.raises(exceptions.BadRequest, match="undeploy"):
        endpoints.delete_endpoint(name=endpoint)
    endpoints.undeploy_model(endpoint=endpoint, deployed_model_id=deployed_id).result(timeout=5)
    endpoints.delete_endpoint(name=endpoint).result(timeout=5)

    with pytest.raises(exceptions.NotFound):
        endpoints.get_endpoint(name=endpoint)


def test_update_by_mask(endpoints: Client, endpoint: str) -> None:
    """Only the fields in the mask change, and the etag with them."""
    before = endpoints.get_endpoint(name=endpoint)
    changed = {"name": endpoint, "display_name": "new", "labels": {"team": "ml"}}
    after = endpoints.update_endpoint(endpoint=changed, update_mask={"paths": ["labels"]})

    assert (after.display_name, dict(after.labels)) == ("fare", {"team": "ml"})
    assert after.etag != before.etag


@pytest.mark.parametrize(
    ("paths", "problem"),
    [([], "update_mask"), (["deployed_models"], "update_mask"), (["display_name"], "display_name")],
)
def test_wrong_updates_are_refused(endpoints: Client, endpoint: str, paths: list[str], problem: str) -> None:
    """An update names what it changes, of what may change, to a value that is allowed."""
    changed = {"name": endpoint, "display_name": "x" * 129}
    with pytest.raises(exceptions.BadRequest, match=problem):
        endpoints.update_endpoint(endpoint=changed, update_mask={"paths": paths})

    assert endpoints.get_endpoint(name=endpoint).display_name == "fare"


def test_update_with_an_old_etag(endpoints: Client, endpoint: str) -> None:
    """An update by someone who has not seen the newest state is refused."""
    changed = {"name": endpoint, "display_name": "new", "etag": "old"}

    with pytest.raises(exceptions.Conflict, match="etag"):
        endpoints.update_endpoint(endpoint=changed, update_mask={"paths": ["display_name"]})


def test_mutate_deployed_model(endpoints: Client, models: Client, endpoint: str) -> None:
    """The resources of a deployed model can be changed."""
    deployed_id = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    deployed = {"id": deployed_id, "automatic_resources": {"min_replica_count": 1, "max_replica_count": 3}}
    endpoints.mutate_deployed_model(
        endpoint=endpoint,
        deployed_model=deployed,
        update_mask={"paths": ["automatic_resources.max_replica_count"]},
    ).result(timeout=5)
    got = endpoints.get_endpoint(name=endpoint).deployed_models[0]

    assert got.automatic_resources.max_replica_count == 3


def test_mutating_counts_keeps_the_machine(endpoints: Client, models: Client, endpoint: str) -> None:
    """An update keeps the fields that its mask does not name, next to what it names."""
    resources = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    made = endpoints.deploy_model(
        endpoint=endpoint, deployed_model={"model": upload(models).name, "dedicated_resources": resources}
    )
    deployed_id = made.result(timeout=10).deployed_model.id
    endpoints.mutate_deployed_model(
        endpoint=endpoint,
        deployed_model={"id": deployed_id, "dedicated_resources": {"min_replica_count": 2}},
        update_mask={"paths": ["dedicated_resources.min_replica_count"]},
    ).result(timeout=5)
    got = endpoints.get_endpoint(name=endpoint).deployed_models[0].dedicated_resources

    assert (got.machine_spec.machine_type, got.min_replica_count) == ("n1-standard-2", 2)


@pytest.mark.parametrize(
    "path",
    [
        "dedicated_resources.machine_spec",
        "dedicated_resources.min_replica_count",
        "service_account",
        "model",
    ],
)
def test_a_deployed_model_is_immutable(endpoints: Client, models: Client, endpoint: str, path: str) -> None:
    """Other resources, another account or another version take another deployment."""
    deployed_id = deploy(endpoints, endpoint, upload(models).name, {"0": 100})
    deployed = {
        "id": deployed_id,
        "model": "m",
        "service_account": "a@b.c",
        "dedicated_resources": {"machine_spec": {"machine_type": "n1-standard-4"}, "min_replica_count": 1},
    }

    with pytest.raises(exceptions.BadRequest, match=f"'{path}' cannot be updated"):
        endpoints.mutate_deployed_model(
            endpoint=endpoint, deployed_model=deployed, update_mask={"paths": [path]}
        )


def test_wait_for_a_deploy(endpoints: Client, models: Client, endpoint: str, server: Server) -> None:
    """WaitOperation returns when the operation is done, or after its time-out."""
    slow = upload(models, artifact_uri="gs://bkt/slow")
    operation = endpoints.deploy_model(
        endpoint=endpoint, deployed_model={"model": slow.name, "automatic_resources": AUTOMATIC}
    )
    request = {"name": operation.operation.name, "timeout": {"nanos": 10_000_000}}
    endpoints.wait_operation(request)
    early = endpoints.get_operation({"name": operation.operation.name}).done
    server.models.release.set()
    endpoints.wait_operation({**request, "timeout": {"seconds": 10}})
    late = endpoints.get_operation({"name": operation.operation.name}).done

    assert (early, late) == (False, True)


def test_list_operations(endpoints: Client, endpoint: str) -> None:
    """The operations of a resource can be listed, read and deleted."""
    listed = endpoints.list_operations({"name": endpoint}).operations
    got = endpoints.get_operation({"name": listed[0].name})
    endpoints.delete_operation({"name": listed[0].name})

    assert got.metadata.Is(aiplatform_v1.CreateEndpointOperationMetadata.pb().DESCRIPTOR)
    with pytest.raises(exceptions.NotFound):
        endpoints.get_operation({"name": listed[0].name})
