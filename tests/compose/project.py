"""The project of docker-compose.yaml in an engine: build, up, look, kill, down."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from local_gcp.layout import Layout
from local_gcp.ports import HOST
from tests.compose.engine import run
from tests.compose.progress import ProofError, say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.compose.engine import Engine

FILE: Final = Layout.from_environment({}).repository / "docker-compose.yaml"

_NAME: Final = "taxi-proof"
_POLL_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container as the engine sees it; `health` is empty for one without a check."""

    id: str
    pid: int
    state: str
    exit_code: int
    health: str
    restarts: int

    @property
    def settled(self) -> bool:
        """True if it is healthy, or has finished its work."""
        return self.health == "healthy" or (
            self.state == "exited" and self.exit_code == 0 and not self.health
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The services of the compose file; `variables` take the place of a user's .env."""

    engine: Engine
    variables: Mapping[str, str]

    def url(self, port: str) -> str:
        """Return the URL of a published port, by its variable."""
        return f"http://{HOST}:{self.variables[port]}"

    def services(self) -> dict[str, Any]:
        """Return the services as they are written."""
        services: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
        return services

    def build(self) -> None:
        """Build the images over the machine's own network: the engine's has no route out."""
        self._compose("build")

    def up(self) -> None:
        """Start everything in the background."""
        self._compose("up", "--detach", "--no-build")

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self._compose("down", "--volumes", "--remove-orphans")

    def logs(self) -> str:
        """Return the end of all logs."""
        return self._compose("logs", "--no-color", "--tail=40")

    def inside(self, service: str, *command: str) -> str:
        """Run a command in a running container and return what it prints."""
        return self.engine.docker("exec", self.container(service).id, *command)

    def container(self, service: str) -> Container:
        """Look at the container of a service."""
        found = self.engine.docker(
            "ps", "--all", "--quiet", "--no-trunc",
            "--filter", f"label=com.docker.compose.project={_NAME}",
            "--filter", f"label=com.docker.compose.service={service}",
        ).split()  # fmt: skip
        if len(found) != 1:
            raise ProofError(f"service {service} has {len(found)} containers, not one")
        (body,) = json.loads(self.engine.docker("inspect", found[0]))
        return Container(
            id=found[0],
            pid=body["State"]["Pid"],
            state=body["State"]["Status"],
            exit_code=body["State"]["ExitCode"],
            health=body["State"].get("Health", {}).get("Status", ""),
            restarts=body["RestartCount"],
        )

    def await_settled(self, *services: str, seconds: float) -> None:
        """Wait until services (all of them if none is named) are healthy or have done their work."""
        until = time.monotonic() + seconds
        waiting = set(services or self.services())
        while waiting := {name for name in waiting if not self.container(name).settled}:
            if time.monotonic() > until:
                raise ProofError(
                    f"{', '.join(sorted(waiting))} not healthy after {seconds:.0f} s\n{self.logs()}"
                )
            time.sleep(_POLL_SECONDS)

    def crash(self, service: str) -> None:
        """Kill a container as a fault would, behind the engine's back, and wait until it is healthy again."""
        before = self.container(service)
        os.kill(before.pid, signal.SIGKILL)
        until = time.monotonic() + 60
        while self.container(service).restarts == before.restarts:
            if time.monotonic() > until:
                raise ProofError(f"{service} was not started again after a crash")
            time.sleep(_POLL_SECONDS)
        self.await_settled(service, seconds=180)
        say(f"{service} crashed and is healthy again")

    def _compose(self, *arguments: str) -> str:
        override = self._override(self.engine.folder / "override.json")
        command = ["docker-compose", "--project-name", _NAME, "--project-directory", str(FILE.parent)]
        command += ["--file", str(FILE), "--file", str(override)]
        return run([*command, *arguments], {**self.engine.environment, **self.variables})

    def _override(self, file: Path) -> Path:
        network = {"build": {"network": "host"}}
        file.write_text(json.dumps({"services": dict.fromkeys(self.services(), network)}))
        return file
