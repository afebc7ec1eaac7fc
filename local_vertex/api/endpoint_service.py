"""EndpointService: endpoints, deployed models and the split of traffic between them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api.collection import Collection, check_etag
from local_vertex.api.endpoints import (
    ENDPOINT,
    check_split,
    deployed_ids,
    find_deployed,
    remove_deployed,
    resolve_split,
    set_split,
)
from local_vertex.api.field_behavior import clear_output_only
from local_vertex.api.listing import page_of
from local_vertex.api.messages import first_set, last_part, set_time, update
from local_vertex.api.operations import Work
from local_vertex.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    Unimplemented,
)
from local_vertex.domain.names import EndpointName, ModelName

if TYPE_CHECKING:
    from local_vertex.api.deployments import Deployments
    from local_vertex.api.messages import Message
    from local_vertex.api.models import Models
    from local_vertex.api.operations import Operations
    from local_vertex.api.region import Region

_UNSUPPORTED = (
    "encryption_spec",
    "enable_private_service_connect",
    "private_service_connect_config",
    "predict_request_response_logging_config",
    "dedicated_endpoint_enabled",
    "client_connection_config",
    "gen_ai_advanced_features_config",
    "private_model_server_enabled",
)
_DEPLOYED_UNSUPPORTED = ("shared_resources", "explanation_spec", "speculative_decoding_spec")
_UPDATABLE = frozenset({"display_name", "description", "labels", "traffic_split"})
_RESOURCES = ("dedicated_resources", "automatic_resources")
_MUTABLE = frozenset(
    {
        *(f"{each}.{count}_replica_count" for each in _RESOURCES for count in ("min", "max")),
        "dedicated_resources.required_replica_count",
        "dedicated_resources.autoscaling_metric_specs",
        "disable_container_logging",
    }
)
"""Fields that the comment of MutateDeployedModelRequest lists; the rest of a deployed model is immutable."""


class EndpointService:
    """Answers google.cloud.aiplatform.v1.EndpointService.

    The resources of a deployed model, its service account and logging are kept; on this machine they have
    no effect, and each deployed model has one server.
    """

    def __init__(
        self, region: Region, models: Models, operations: Operations, deployments: Deployments
    ) -> None:
        self._region = region
        self._models = models
        self._operations = operations
        self._deployments = deployments
        self._endpoints = Collection(region.store, ENDPOINT)

    def create_endpoint(self, request: Message) -> Message:
        """Answer CreateEndpoint, with an id of the client or of the server."""
        parent = self._region.parent(request.parent)
        endpoint = ENDPOINT()
        endpoint.CopyFrom(request.endpoint)
        clear_output_only(endpoint)
        # A new endpoint has no models that could get a share.
        endpoint.ClearField("traffic_split")
        if unsupported := first_set(endpoint, _UNSUPPORTED):
            raise Unimplemented(
                f"endpoint.{unsupported} is not supported by the local Vertex AI; leave it out"
            )
        endpoint.name = f"{parent}/endpoints/{request.endpoint_id or self._region.new_id()}"
        now = self._region.clock()
        set_time(endpoint.create_time, now)
        set_time(endpoint.update_time, now)
        with self._region.store.transaction():
            self._endpoints.insert(endpoint, parent)
            metadata = aiplatform_v1.CreateEndpointOperationMetadata.pb()()
            return self._operations.finished(endpoint.name, metadata, endpoint)

    def get_endpoint(self, request: Message) -> Message:
        """Answer GetEndpoint."""
        return self._endpoints.get(self._name(request.name))

    def list_endpoints(self, request: Message) -> Message:
        """Answer ListEndpoints, the newest first unless ordered otherwise."""
        parent = self._region.parent(request.parent)
        endpoints = self._endpoints.earlier(parent, age=self._region.lags.lists)
        page = page_of(endpoints, request, ENDPOINT, virtual={"endpoint": last_part})
        return aiplatform_v1.ListEndpointsResponse.pb()(
            endpoints=page.items, next_page_token=page.next_page_token
        )

    def update_endpoint(self, request: Message) -> Message:
        """Answer UpdateEndpoint: display name, description, labels and traffic split, by mask."""
        changed = request.endpoint
        paths = list(request.update_mask.paths)
        with self._region.store.transaction():
            endpoint = self._endpoints.get(self._name(changed.name))
            check_etag(endpoint, changed.etag)
            update(endpoint, changed, paths, _UPDATABLE)
            if "traffic_split" in paths:
                set_split(endpoint, dict(changed.traffic_split))
            return self._put(endpoint)

    def delete_endpoint(self, request: Message) -> Message:
        """Answer DeleteEndpoint; nothing may be deployed on it."""
        with self._region.store.transaction():
            endpoint = self._endpoints.get(self._name(request.name))
            if endpoint.deployed_models:
                raise FailedPrecondition(
                    f"endpoint '{endpoint.name}' has deployed models "
                    f"({', '.join(deployed_ids(endpoint))}); undeploy them first"
                )
            self._endpoints.delete(endpoint.name)
            return self._operations.deleted(endpoint.name)

    def deploy_model(self, request: Message) -> Message:
        """Answer DeployModel: the operation is done when the model's server is healthy."""
        endpoint = self._endpoints.get(self._name(request.endpoint))
        deployed = self._new_deployed(request.deployed_model)
        split = dict(request.traffic_split)
        check_split(resolve_split(split, deployed.id), [*deployed_ids(endpoint), deployed.id])

        cancelled = threading.Event()

        def run() -> Message:
            self._deployments.deploy(endpoint.name, deployed, split, cancelled)
            return aiplatform_v1.DeployModelResponse.pb()(deployed_model=deployed)

        def cancel() -> None:
            cancelled.set()
            self._deployments.stop(deployed.id)

        metadata = aiplatform_v1.DeployModelOperationMetadata.pb()()
        return self._operations.start(endpoint.name, metadata, Work(run=run, cancel=cancel))

    def _new_deployed(self, asked: Message) -> Message:
        deployed = type(asked)()
        deployed.CopyFrom(asked)
        clear_output_only(deployed)
        _check_deployed(deployed)
        version = self._models.get(ModelName.parse(self._region.canonical(asked.model)))
        deployed.model = version.name
        deployed.model_version_id = version.version_id
        deployed.display_name = deployed.display_name or version.display_name
        deployed.id = self._deployed_id(asked.id)
        set_time(deployed.create_time, self._region.clock())
        return deployed

    def _deployed_id(self, chosen: str) -> str:
        if not chosen:
            return self._region.new_id()
        for endpoint in self._endpoints.all():
            if chosen in deployed_ids(endpoint):
                raise AlreadyExists(f"deployed model '{chosen}' already exists on '{endpoint.name}'")
        return chosen

    def undeploy_model(self, request: Message) -> Message:
        """Answer UndeployModel; the model may have no traffic, unless it is the last one."""
        with self._region.store.transaction():
            endpoint = self._endpoints.get(self._name(request.endpoint))
            remove_deployed(endpoint, request.deployed_model_id, dict(request.traffic_split))
            self._put(endpoint)
            operation = self._operations.finished(
                endpoint.name,
                aiplatform_v1.UndeployModelOperationMetadata.pb()(),
                aiplatform_v1.UndeployModelResponse.pb()(),
            )
        self._deployments.stop(request.deployed_model_id)
        return operation

    def mutate_deployed_model(self, request: Message) -> Message:
        """Answer MutateDeployedModel: keep the requested resources; on this machine they change nothing."""
        with self._region.store.transaction():
            endpoint = self._endpoints.get(self._name(request.endpoint))
            deployed = find_deployed(endpoint, request.deployed_model.id)
            kind = deployed.WhichOneof("prediction_resources")
            allowed = frozenset(path for path in _MUTABLE if path.partition(".")[0] in (kind, path))
            update(deployed, request.deployed_model, request.update_mask.paths, allowed)
            self._put(endpoint)
            return self._operations.finished(
                endpoint.name,
                aiplatform_v1.MutateDeployedModelOperationMetadata.pb()(),
                aiplatform_v1.MutateDeployedModelResponse.pb()(deployed_model=deployed),
            )

    def _put(self, endpoint: Message) -> Message:
        set_time(endpoint.update_time, self._region.clock())
        self._endpoints.put(endpoint)
        return endpoint

    def _name(self, text: str) -> str:
        return str(EndpointName.parse(self._region.canonical(text)))


def _check_deployed(deployed: Message) -> None:
    unsupported = first_set(deployed, _DEPLOYED_UNSUPPORTED)
    if unsupported:
        raise Unimplemented(
            f"deployed_model.{unsupported} is not supported by the local Vertex AI; leave it out"
        )
    if first_set(deployed, _RESOURCES) is None:
        raise InvalidArgument.of("deployed_model", f"one of {' and '.join(_RESOURCES)} is required")
