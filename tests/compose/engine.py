"""A separate Docker engine, which adds no rule to the machine's network and has only Compose's bridge."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.compose.progress import ProofError, say

if TYPE_CHECKING:
    from collections.abc import Mapping

SUITES: Final = ("trixie", "bookworm")

_PROGRAMS: Final = {"dockerd": "docker.io", "docker-compose": "docker-compose", "debootstrap": "debootstrap"}
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 60
_NEEDED_GIGABYTES: Final = 20
# Files that the official slim images leave out, and package lists, which are soon out of date.
_NOT_IN_SLIM: Final = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "var/lib/apt/lists",
)
# Certificates that this machine trusts beside Debian's: package indexes may be behind one.
_OWN_CERTIFICATES: Final = Path("/usr/local/share/ca-certificates")


def install() -> None:
    """Install from Debian what is missing."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if not missing:
        return
    say(f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], environment)
    options = ["--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    run(["apt-get", "install", *options, *missing], environment)


def require(folder: Path) -> None:
    """Raise ProofError unless an engine can run here."""
    if os.geteuid() != 0:
        raise ProofError("an engine needs root; run `make test-compose` as root")
    free = shutil.disk_usage(folder).free >> 30
    if free < _NEEDED_GIGABYTES:
        raise ProofError(
            f"{folder} has {free} GB free, {_NEEDED_GIGABYTES} are needed; set TMPDIR to another disk"
        )


@dataclass(frozen=True, slots=True)
class Engine:
    """A dockerd with all of its state in one folder."""

    folder: Path

    @property
    def address(self) -> str:
        """The engine's address, for DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its clients; without BuildKit, which Debian 12 does not have."""
        return {
            **os.environ,
            "DOCKER_HOST": self.address,
            "DOCKER_BUILDKIT": "0",
            "COMPOSE_DOCKER_CLI_BUILD": "0",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start it and wait until it answers."""
        command = ["dockerd", "--host", self.address, "--data-root", str(self.folder / "root")]
        command += ["--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "pid")]
        # Ports are published by docker-proxy, and nothing but a build has to reach the outside.
        command += [
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ]
        with (self.folder / "dockerd.log").open("ab") as log:
            daemon = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + _START_SECONDS
        while not self._answers():
            if daemon.poll() is not None or time.monotonic() > until:
                tail = (self.folder / "dockerd.log").read_text()[-2000:]
                raise ProofError(f"dockerd does not answer after {_START_SECONDS} s:\n{tail}")
            time.sleep(0.5)
        return daemon

    def stop(self, daemon: subprocess.Popen[bytes]) -> None:
        """Stop it, and remove what it kept."""
        daemon.send_signal(signal.SIGTERM)
        try:
            daemon.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        self._unmount()
        shutil.rmtree(self.folder)

    def _unmount(self) -> None:
        """Unmount the mounts that an engine leaves, such as the network namespace of host networking."""
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted(places, reverse=True):
            if Path(place).is_relative_to(self.folder):
                run(["umount", place], os.environ)

    def make_base_images(self) -> None:
        """Build debian:<suite>-slim from Debian's own packages, since no image is pulled."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._make_base_image, SUITES))

    def _make_base_image(self, suite: str) -> None:
        root = self.folder / suite
        run(["debootstrap", "--variant=minbase", suite, str(root)], os.environ)
        for path in _NOT_IN_SLIM:
            shutil.rmtree(root / path, ignore_errors=True)
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            package.unlink()
        if _OWN_CERTIFICATES.is_dir():
            shutil.copytree(_OWN_CERTIFICATES, root / _OWN_CERTIFICATES.relative_to("/"), dirs_exist_ok=True)
        archive = self.folder / f"{suite}.tar"
        run(["tar", "--create", "--directory", str(root), "--file", str(archive), "."], os.environ)
        self.docker("import", str(archive), f"debian:{suite}-slim")
        archive.unlink()
        shutil.rmtree(root)

    def _answers(self) -> bool:
        try:
            self.docker("info")
        except ProofError:
            return False
        return True

    def docker(self, *arguments: str) -> str:
        """Run a docker command and return what it prints."""
        return run(["docker", *arguments], self.environment)


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """Run a command and return its output; ProofError with the end of it when it fails."""
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ended.returncode:
        raise ProofError(f"{' '.join(command[:6])} … failed:\n{ended.stdout[-4000:]}")
    return ended.stdout
