"""Run one service of the local cloud in a container: ``python -m local_gcp.container gcs``.

The containers of a cloud share one state folder: BigQuery and Vertex AI see Cloud Storage as a folder.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_gcp.errors import LocalCloudError, ServiceFailedError
from local_gcp.layout import Layout
from local_gcp.services import CLOUD, Setting, told_addresses
from local_gcp.stack import to_stderr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from local_gcp.services import Declaration
    from local_gcp.supervise import Service

CONSOLE_VARIABLE: Final = "VERTEX_CONSOLE"
READY: Final = Path("/tmp/ready")  # noqa: S108  # a container's /tmp is its own
PORTS: Final = {
    "gcs": 4443,
    "bigquery.rest": 9050,
    "bigquery.grpc": 9060,
    "vertex.rest": 8090,
    "vertex.grpc": 8091,
}
# Each service is reached by its own name in the network of the containers.
HOSTS: Final = {port: port.partition(".")[0] for port in PORTS}

_EVERYWHERE: Final = "0.0.0.0"  # noqa: S104  # a container's network is its own
_POLL_SECONDS: Final = 0.2


def setting(environ: Mapping[str, str]) -> Setting:
    """Return the setting of the services in containers."""
    return Setting(
        layout=Layout.from_environment(environ),
        ports=PORTS,
        bind=_EVERYWHERE,
        hosts=HOSTS,
        console=environ.get(CONSOLE_VARIABLE, ""),
        told=told_addresses(environ),
    )


def run(declaration: Declaration, where: Setting, ready: Path = READY) -> int:
    """Run a service until it ends or this process is told to stop; return its exit status.

    `ready` is a file that exists while the service is healthy and filled.

    Raises:
        LocalCloudError: it cannot start, or did not become healthy in time.

    """
    ready.unlink(missing_ok=True)
    where.layout.state.mkdir(parents=True, exist_ok=True)
    if declaration.prepare:
        declaration.prepare(where, to_stderr)
    service = declaration.build(where)
    with subprocess.Popen(
        service.command, cwd=service.directory, env={**os.environ, **service.environment}
    ) as child:
        _pass_signals_on(child)
        try:
            _await(service, child)
            if declaration.fill and child.poll() is None:
                declaration.fill(where, to_stderr)
            ready.touch()
            return child.wait()
        finally:
            child.kill()


def _pass_signals_on(child: subprocess.Popen[bytes]) -> None:
    def send(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, send)


def _await(service: Service, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + service.start_seconds
    while child.poll() is None and not service.healthy():
        if time.monotonic() > deadline:
            raise ServiceFailedError(
                f"{service.name} did not become healthy in {service.start_seconds:.0f} s; see its log"
            )
        time.sleep(_POLL_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service that is named; return the exit status."""
    declarations = {declaration.name: declaration for declaration in CLOUD}
    parser = argparse.ArgumentParser(prog="python -m local_gcp.container", description=__doc__)
    parser.add_argument("service", choices=declarations)
    chosen = parser.parse_args(arguments).service
    try:
        return run(declarations[chosen], setting(os.environ))
    except LocalCloudError as error:
        sys.stderr.write(f"{chosen}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
