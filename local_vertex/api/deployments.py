"""Deployed models as processes: the requests to the model servers, and their return after a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from local_vertex.api.collection import Collection
from local_vertex.api.endpoints import ENDPOINT, add_deployed, deployed_ids, find_deployed
from local_vertex.api.messages import set_time
from local_vertex.domain.errors import Cancelled, NotFound, VertexError
from local_vertex.domain.names import ModelName
from local_vertex.run.ports import ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from local_vertex.api.messages import Message
    from local_vertex.api.models import Models
    from local_vertex.api.region import Region
    from local_vertex.run.ports import ModelServers

_STARTS_AT_ONCE = 2


class Deployments:
    """Starts and ends the servers of deployed models, and keeps the endpoints in step with them."""

    def __init__(self, region: Region, models: Models, servers: ModelServers) -> None:
        self._region = region
        self._models = models
        self._servers = servers
        self._endpoints = Collection(region.store, ENDPOINT)
        self._starts = ThreadPoolExecutor(_STARTS_AT_ONCE, thread_name_prefix="model-server")

    def deploy(
        self, endpoint_name: str, deployed: Message, split: Mapping[str, int], cancelled: Event
    ) -> None:
        """Start the model's server, then add it to the endpoint, unless it is `cancelled` by then.

        Whatever fails, the endpoint stays as it was and no server is left.
        """
        self._start(deployed)
        try:
            self._add(endpoint_name, deployed, split, cancelled)
        except Exception:
            self.stop(deployed.id)
            raise

    def _add(self, endpoint_name: str, deployed: Message, split: Mapping[str, int], cancelled: Event) -> None:
        if cancelled.is_set():
            raise Cancelled("cancelled while the model's server was starting")
        with self._region.store.transaction():
            self._models.get(_version_name(deployed))
            endpoint = self._endpoints.get(endpoint_name)
            add_deployed(endpoint, deployed, split)
            set_time(endpoint.update_time, self._region.clock())
            self._endpoints.put(endpoint)

    def stop(self, deployed_model_id: str) -> None:
        """End the server of a deployed model, if there is one."""
        self._servers.stop(deployed_model_id)

    def recover(self) -> None:
        """Begin to start the servers of all deployed models; returns at once."""
        for endpoint in self._endpoints.all():
            for deployed in endpoint.deployed_models:
                self._starts.submit(self._restart, endpoint.name, deployed)

    def close(self) -> None:
        """End all servers."""
        # Starts that wait must not begin once the servers are ended, and those under way end only with them:
        # so the first shutdown drops the queue, and the second waits for the threads.
        self._starts.shutdown(wait=False, cancel_futures=True)
        self._servers.close()
        self._starts.shutdown()

    def _start(self, deployed: Message) -> None:
        version = self._models.get(_version_name(deployed))
        container = version.container_spec
        self._servers.start(
            deployed.id,
            ContainerSpec(
                image=container.image_uri,
                command=tuple(container.command),
                args=tuple(container.args),
                env={each.name: each.value for each in container.env},
                ports=tuple(port.container_port for port in container.ports),
                predict_route=container.predict_route,
                health_route=container.health_route,
            ),
            version.artifact_uri,
        )

    def _restart(self, endpoint_name: str, deployed: Message) -> None:
        try:
            self._start(deployed)
            endpoint = self._endpoints.find(endpoint_name)
            # It may have been undeployed while it was starting.
            if endpoint is None or deployed.id not in deployed_ids(endpoint):
                self.stop(deployed.id)
        except VertexError as error:
            self._note(
                endpoint_name, deployed.id, f"not started after a restart of the server: {error.message}"
            )

    def _note(self, endpoint_name: str, deployed_model_id: str, message: str) -> None:
        def write() -> None:
            with self._region.store.transaction():
                endpoint = self._endpoints.find(endpoint_name)
                if endpoint is None:
                    return
                try:
                    deployed = find_deployed(endpoint, deployed_model_id)
                except NotFound:
                    return
                deployed.status.message = message
                set_time(deployed.status.last_update_time, self._region.clock())
                self._endpoints.put(endpoint)

        self._region.store.record(f"deployed model '{deployed_model_id}': {message}", write, final=True)


def _version_name(deployed: Message) -> ModelName:
    return ModelName.parse(f"{deployed.model}@{deployed.model_version_id}")
