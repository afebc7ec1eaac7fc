from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.protobuf import json_format, struct_pb2

from tests.conformance.contract.resources import create_endpoint, deploy

if TYPE_CHECKING:
    from tests.conformance.cloud import Cloud
    from tests.conformance.contract.asking import Asking
    from tests.conformance.contract.resources import Started
    from tests.conformance.target import Client

pytestmark = pytest.mark.stack
# https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#aip-variables
DOCUMENTED = frozenset(
    {
        "AIP_ACCELERATOR_TYPE",
        "AIP_DEPLOYED_MODEL_ID",
        "AIP_ENDPOINT_ID",
        "AIP_FRAMEWORK",
        "AIP_HEALTH_ROUTE",
        "AIP_HTTP_PORT",
        "AIP_MACHINE_TYPE",
        "AIP_MODE",
        "AIP_MODE_VERSION",
        "AIP_MODEL_NAME",
        "AIP_PREDICT_ROUTE",
        "AIP_PROJECT_NUMBER",
        "AIP_STORAGE_URI",
        "AIP_VERSION_NAME",
    }
)


@pytest.fixture(scope="module")
def empty(cloud: Cloud) -> str:
    """Return an endpoint on which nothing is deployed."""
    return create_endpoint(cloud)


@pytest.fixture(scope="module")
def first(cloud: Cloud, started: Started) -> str:
    """Return the id of the model that was deployed first, for all traffic."""
    return str(cloud.result(started.deployment).deployed_model.id)


@pytest.fixture(scope="module")
def second(cloud: Cloud, started: Started, first: str) -> str:
    """Return the id of the model that was deployed second, without a split."""
    operation = deploy(cloud, started.endpoint, started.model)
    identity = str(cloud.result(operation).deployed_model.id)
    assert identity != first
    return identity


def predict(cloud: Cloud, endpoint: str, *instances: Any) -> Client:  # noqa: ANN401  # JSON
    """Send a request to an endpoint."""
    values = [json_format.ParseDict(each, struct_pb2.Value()) for each in instances]
    return cloud.predictions.predict(endpoint=endpoint, instances=values)


def answered(cloud: Cloud, endpoint: str, *instances: Any, by: str = "") -> Client:  # noqa: ANN401  # JSON
    """Return a prediction, by one deployed model if one is named; traffic may take a while to arrive."""

    def look() -> Client:
        try:
            return predict(cloud, endpoint, *instances)
        except (exceptions.FailedPrecondition, exceptions.ServiceUnavailable):
            return None

    return cloud.until(look, lambda seen: seen is not None and by in ("", seen.deployed_model_id))


def test_a_new_endpoint(cloud: Cloud, ask: Asking, empty: str) -> None:
    """A new endpoint has an etag and no model."""
    endpoint = cloud.endpoints.get_endpoint(name=empty)

    ask(
        "endpoint.created", [bool(endpoint.etag), len(endpoint.deployed_models), dict(endpoint.traffic_split)]
    )


def test_filter(cloud: Cloud, ask: Asking, empty: str) -> None:
    """Endpoints are found by label, each once."""
    found = cloud.endpoints.list_endpoints(
        {"parent": cloud.target.parent, "filter": f'labels.run="{cloud.target.run}"'}
    )

    ask("endpoint.filter-label", [each.name for each in found].count(empty))


def test_an_absent_endpoint(cloud: Cloud, ask: Asking) -> None:
    """An endpoint that does not exist is not found."""
    ask.refused(
        "endpoint.absent",
        lambda: cloud.endpoints.get_endpoint(name=f"{cloud.target.parent}/endpoints/1"),
    )


def test_an_absent_operation(cloud: Cloud, ask: Asking, empty: str) -> None:
    """An operation that does not exist is not found."""
    ask.refused("operation.absent", lambda: cloud.endpoints.get_operation({"name": f"{empty}/operations/1"}))


def test_a_stale_etag(cloud: Cloud, ask: Asking, empty: str) -> None:
    """An update by someone who has not seen the newest state is refused."""
    mask = {"paths": ["description"]}
    stale = cloud.endpoints.get_endpoint(name=empty).etag
    cloud.endpoints.update_endpoint(endpoint={"name": empty, "description": "newer"}, update_mask=mask)
    changed = {"name": empty, "description": "newest", "etag": stale}

    ask.refused(
        "endpoint.stale-etag", lambda: cloud.endpoints.update_endpoint(endpoint=changed, update_mask=mask)
    )


def test_a_wrong_split(cloud: Cloud, ask: Asking, empty: str) -> None:
    """Traffic goes to deployed models only."""
    changed = {"name": empty, "traffic_split": {"99": 100}}

    ask.refused(
        "endpoint.wrong-split",
        lambda: cloud.endpoints.update_endpoint(endpoint=changed, update_mask={"paths": ["traffic_split"]}),
    )


def test_an_endpoint_without_models(cloud: Cloud, ask: Asking, empty: str) -> None:
    """An endpoint without a model cannot predict."""
    ask.refused("predict.empty", lambda: predict(cloud, empty, 1))


def test_a_deployment(cloud: Cloud, ask: Asking, started: Started, first: str) -> None:
    """A model that is deployed for `0` gets that traffic."""
    endpoint = cloud.endpoints.get_endpoint(name=started.endpoint)
    (deployed,) = (each for each in endpoint.deployed_models if each.id == first)

    ask(
        "endpoint.deploy",
        [deployed.model == started.model, deployed.model_version_id, endpoint.traffic_split.get(first)],
    )


@pytest.mark.usefixtures("first")
def test_operations(cloud: Cloud, ask: Asking, started: Started) -> None:
    """An endpoint's operations are listed, its deployment among them."""
    name = started.deployment.operation.name
    listed = {
        each.name: each.done
        for each in cloud.endpoints.list_operations({"name": started.endpoint}).operations
    }

    ask("endpoint.operations", listed.get(name))


def test_who_answered(cloud: Cloud, ask: Asking, started: Started, first: str) -> None:
    """A prediction says which deployed model and version made it."""
    answer = answered(cloud, started.endpoint, 1)

    ask(
        "predict.answer",
        [answer.deployed_model_id == first, answer.model == started.model, answer.model_version_id],
    )


@pytest.mark.usefixtures("first")
def test_integers(cloud: Cloud, ask: Asking, started: Started) -> None:
    """The wire knows doubles only; the container reads what the service makes of them."""
    (prediction,) = answered(cloud, started.endpoint, 3, 2.5).predictions

    ask("predict.integers", list(prediction["types"]))


@pytest.mark.usefixtures("first")
def test_variables(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A container is told its routes, its port and what it serves."""
    (prediction,) = answered(cloud, started.endpoint, 1).predictions

    ask("predict.variables", sorted(DOCUMENTED.intersection(prediction["names"])))


@pytest.mark.usefixtures("first")
def test_the_containers_refusal(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A 400 of the container reaches the client."""
    answered(cloud, started.endpoint, 1)

    ask.refused("predict.refusal", lambda: predict(cloud, started.endpoint, "wrong"))


def test_a_deployment_without_a_split(
    cloud: Cloud, ask: Asking, started: Started, first: str, second: str
) -> None:
    """A model that is deployed without a split leaves the traffic where it is."""
    split = cloud.endpoints.get_endpoint(name=started.endpoint).traffic_split

    ask("endpoint.deploy-without-split", [split.get(first), split.get(second, 0)])


@pytest.mark.usefixtures("second")
def test_undeploying_with_traffic(cloud: Cloud, ask: Asking, started: Started, first: str) -> None:
    """A model with traffic beside another one cannot be undeployed."""
    ask.refused(
        "endpoint.undeploy-traffic",
        lambda: cloud.result(
            cloud.endpoints.undeploy_model(endpoint=started.endpoint, deployed_model_id=first)
        ),
    )


def test_traffic_that_moves(cloud: Cloud, ask: Asking, started: Started, second: str) -> None:
    """Once the traffic has moved, the other model answers."""
    cloud.endpoints.update_endpoint(
        endpoint={"name": started.endpoint, "traffic_split": {second: 100}},
        update_mask={"paths": ["traffic_split"]},
    )
    answer = answered(cloud, started.endpoint, 1, by=second)

    ask("endpoint.traffic-moves", answer.deployed_model_id == second)


@pytest.mark.usefixtures("first")
def test_deleting_an_endpoint_with_models(cloud: Cloud, ask: Asking, started: Started) -> None:
    """An endpoint with models cannot be deleted."""
    ask.refused(
        "endpoint.delete-deployed",
        lambda: cloud.result(cloud.endpoints.delete_endpoint(name=started.endpoint)),
    )


@pytest.mark.usefixtures("first")
def test_deleting_a_deployed_model(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A model that is deployed cannot be deleted."""
    ask.refused("model.delete-deployed", lambda: cloud.result(cloud.models.delete_model(name=started.model)))
