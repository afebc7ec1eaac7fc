"""Keeps one process for each deployed model, by Vertex AI's container contract."""

from __future__ import annotations

import http.client
import re
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from local_vertex.domain.errors import FailedPrecondition, NotFound, Unavailable
from local_vertex.run.containers import Launch
from local_vertex.run.custom_jobs import container_argv
from local_vertex.run.ports import ServerAddress
from local_vertex.run.root_cause import explain_exit, root_cause, tail

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.images import ImageTable
    from local_vertex.processes.guarded import GuardedContainer, GuardedLauncher
    from local_vertex.run.ports import ContainerSpec, EngineSettings

_UNSAFE = re.compile(r"[^\w.-]")
_HTTP_OK = 200
_NO_ANSWER = (OSError, http.client.HTTPException)
_POLL = 0.1
_CALL_TIMEOUT = 60.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_STEADY = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Deployment:
    """The definition of a deployed model's process."""

    id: str
    container: ContainerSpec
    artifact_uri: str
    log_path: Path
    stopped: Event = field(default_factory=Event)

    @property
    def health_route(self) -> str:
        return self.container.health_route or f"/v1/models/{self.id}"

    @property
    def predict_route(self) -> str:
        return self.container.predict_route or f"/v1/models/{self.id}:predict"

    def environment(self, port: int) -> dict[str, str]:
        """Return the variables that Vertex AI sets in a prediction container.

        https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements#aip-variables
        """
        return {
            "AIP_MODE": "PREDICTION",
            "AIP_MODE_VERSION": "1.0.0",
            "AIP_FRAMEWORK": "CUSTOM_CONTAINER",
            "AIP_HTTP_PORT": str(port),
            "AIP_HEALTH_ROUTE": self.health_route,
            "AIP_PREDICT_ROUTE": self.predict_route,
            "AIP_STORAGE_URI": self.artifact_uri,
            "AIP_DEPLOYED_MODEL_ID": self.id,
            **self.container.env,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """A process of a deployment and the port that it listens on."""

    deployment: _Deployment
    process: GuardedContainer
    port: int


class LocalModelServers:
    """Starts, watches and calls model servers; one that crashes restarts after ever longer pauses."""

    def __init__(self, *, settings: EngineSettings, images: ImageTable, launcher: GuardedLauncher) -> None:
        self._settings = settings
        self._images = images
        self._launcher = launcher
        self._servers: dict[str, _Server] = {}
        self._lock = Lock()

    def start(self, deployed_model_id: str, container: ContainerSpec, artifact_uri: str) -> ServerAddress:
        """Start a server and wait until it is healthy.

        Raises InvalidArgument for an unknown image and FailedPrecondition, with the tail of the log, when
        the server ends or is not healthy in time.
        """
        self.stop(deployed_model_id)
        folder = self._settings.state_dir / "servers" / _UNSAFE.sub("_", deployed_model_id)
        deployment = _Deployment(
            id=deployed_model_id,
            container=container,
            artifact_uri=artifact_uri,
            log_path=folder / "log.txt",
        )
        server = self._launch(deployment)
        try:
            self._wait_healthy(server)
        except Exception:
            server.process.stop(self._settings.stop_grace)
            raise
        with self._lock:
            self._servers[deployed_model_id] = server
        Thread(target=self._watch, args=(server,), name=f"watch {deployed_model_id}", daemon=True).start()
        return ServerAddress(port=server.port, log_path=deployment.log_path)

    def _launch(self, deployment: _Deployment) -> _Server:
        argv = container_argv(deployment.container)
        port = _free_port()
        environment = deployment.environment(port)
        launch = Launch.of(self._images, deployment.container.image, argv, environment, deployment.log_path)
        return _Server(deployment=deployment, process=self._launcher.launch(launch), port=port)

    def _wait_healthy(self, server: _Server) -> None:
        limit = self._settings.server_deadline
        begin = time.monotonic()
        log_path = server.deployment.log_path
        listening = False
        while not self._healthy(server):
            listening = listening or _listens(server.port)
            code = server.process.poll()
            if code is not None:
                raise FailedPrecondition(
                    f"the model server ended: {explain_exit(code, log_path)}; log: {log_path}"
                )
            waited = time.monotonic() - begin
            alive_by = self._settings.liveness_deadline
            if not listening and waited > alive_by:
                raise FailedPrecondition(
                    f"the model server took no TCP connection for {alive_by:g} s, after which Vertex AI "
                    f"restarts it: listen first, then load the model; log: {log_path}"
                )
            if waited > limit:
                said = root_cause(tail(log_path))
                raise FailedPrecondition(
                    f"the model server was not healthy within {limit:g} s: {said}; log: {log_path}"
                )
            server.deployment.stopped.wait(_POLL)

    def _healthy(self, server: _Server) -> bool:
        try:
            status, _ = _call(server.port, "GET", server.deployment.health_route, None, timeout=5.0)
        except _NO_ANSWER:
            return False
        return status == _HTTP_OK

    def _watch(self, server: _Server) -> None:
        """Restart the server whenever it crashes, until it is stopped."""
        deployment, pause = server.deployment, _FIRST_PAUSE
        while True:
            born = time.monotonic()
            server.process.wait()
            if time.monotonic() - born > _STEADY:
                pause = _FIRST_PAUSE
            if deployment.stopped.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                server = self._launch(deployment)
            except OSError as error:
                sys.stderr.write(f"model server {deployment.id} could not be restarted yet: {error}\n")
                continue
            # `stop` sets the event under the same lock: a server that it has not seen is ended here.
            with self._lock:
                if not deployment.stopped.is_set():
                    self._servers[deployment.id] = server
                    continue
            server.process.stop(self._settings.stop_grace)
            return

    def stop(self, deployed_model_id: str) -> None:
        """End the server; no-op for one that is not running."""
        with self._lock:
            server = self._servers.pop(deployed_model_id, None)
            if server:
                server.deployment.stopped.set()
        if server:
            server.process.stop(self._settings.stop_grace)

    def predict(self, deployed_model_id: str, body: bytes) -> tuple[int, bytes]:
        """POST `body` (JSON) to the server and return its HTTP status and body.

        Raises NotFound when there is no such server and Unavailable when it does not answer.
        """
        with self._lock:
            server = self._servers.get(deployed_model_id)
        if server is None:
            raise NotFound(f"deployed model '{deployed_model_id}' has no server")
        try:
            return _call(server.port, "POST", server.deployment.predict_route, body, timeout=_CALL_TIMEOUT)
        except _NO_ANSWER as error:
            raise Unavailable(
                f"deployed model '{deployed_model_id}' does not answer ({error!r}); "
                f"it restarts automatically if it crashes; log: {server.deployment.log_path}"
            ) from error

    def running(self) -> tuple[str, ...]:
        """Return the ids of the deployed models that have a server."""
        with self._lock:
            return tuple(sorted(self._servers))

    def close(self) -> None:
        """End all servers."""
        for deployed_model_id in self.running():
            self.stop(deployed_model_id)
        self._launcher.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
        return True
    return False


def _call(port: int, method: str, route: str, body: bytes | None, *, timeout: float) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        # A server that refuses a body unread has answered before it closes the connection.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, route, body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
