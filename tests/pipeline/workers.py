"""Run a component's side and Beam's workers in containers of the pipeline image, in namespaces of their own.

`python -m tests.pipeline.workers FOLDER MODULE IMAGE…` runs `python -m MODULE FOLDER/shared POOL…` in a
container that sees the repository as well, with a job service and a pool of workers of each image. It takes
root; everything ends with it, and its servers are out of reach.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.pipeline.requests import IMAGE, REPOSITORY
from tests.pipeline.worker_image import WorkerImage

if TYPE_CHECKING:
    from collections.abc import Sequence

WHOLE: Final = "whole"
"""The name of the image as the Dockerfile has it."""

_JOBS: Final = "localhost:8099"
_NAMESPACES: Final = ("--net", "--uts", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc")
_FIRST_POOL: Final = 50000
_START_SECONDS: Final = 120


def run_in_namespaces(folder: Path, module: str, *images: str, timeout: float) -> None:
    """Run everything; `<folder>/log` has the output. Raises CalledProcessError and TimeoutExpired."""
    inside = (sys.executable, "-m", "tests.pipeline.workers", str(folder), module, *images)
    command = ["unshare", *_NAMESPACES, "--", *inside]
    with (folder / "log").open("wb") as log:
        subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}"},
            check=True,
            stdout=log,
            stderr=log,
            timeout=timeout,
        )


def beam_args(pool: str) -> tuple[str, ...]:
    """Return Beam's arguments for workers of a pool."""
    return (
        "--runner=PortableRunner",
        f"--job_endpoint={_JOBS}",
        "--environment_type=EXTERNAL",
        f"--environment_config={pool}",
        # Without an image's name TFX would pack itself for the workers.
        f"--sdk_container_image={IMAGE}",
    )


def image(folder: Path, name: str) -> WorkerImage:
    """Return the image, or one of those that lack something."""
    differences: dict[str, dict[str, Any]] = {
        WHOLE: {},
        "no-launcher": {"boot": None},
        "own-environment": {"variables": {"RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": ""}},
        "packages-of-root": {"owned": ("home/taxi",)},
        "launcher-fails": {"boot": _failing_launcher(folder)},
        "code-fails": {"code": _failing_code(folder)},
    }
    return WorkerImage(root=folder / "containers" / name, shared=folder / "shared", **differences[name])


def _failing_launcher(folder: Path) -> Path:
    file = folder / "boot"
    file.write_text("#!/bin/sh\necho 'PIP failed to install no-such.whl' >&2\nexit 1\n")
    return file


def _failing_code(folder: Path) -> Path:
    code = folder / "code"
    if not code.exists():
        shutil.copytree(REPOSITORY / "taxi_ml", code / "taxi_ml")
        (code / "requirements").mkdir()
        shutil.copy(REPOSITORY / "requirements" / "pipeline.txt", code / "requirements")
        executor = code / "taxi_ml" / "pipeline" / "parquet_examples.py"
        executor.write_text("raise ImportError('libarrow.so.1800 is of another release')\n")
    return code


def main(folder: Path, module: str, names: Sequence[str]) -> int:
    """Start the servers and run the component's side; return its exit code."""
    for command in (["hostname", "localhost"], ["ip", "link", "set", "lo", "up"]):
        subprocess.run(command, check=True)
    component = WorkerImage(
        root=folder / "containers" / "component", shared=folder / "shared", repository=REPOSITORY
    )
    component.make()
    job_service = ("python", "-m", "apache_beam.runners.portability.local_job_service_main")
    _start(component, *job_service, f"--port={_JOBS.partition(':')[2]}")
    pools = [_pool(image(folder, name), _FIRST_POOL + number) for number, name in enumerate(names)]
    for address in (_JOBS, *pools):
        _await_server(int(address.partition(":")[2]))
    path = f"PYTHONPATH=/opt/taxi:{REPOSITORY}"
    side = component.command(path, "python", "-m", module, str(folder / "shared"), *pools)
    return subprocess.run(side, check=False).returncode


def _pool(container: WorkerImage, port: int) -> str:
    container.make()
    _start(
        container,
        *("python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"),
        f"--container_executable={container.entrypoint()}",
    )
    return f"localhost:{port}"


def _start(container: WorkerImage, *command: str) -> None:
    subprocess.Popen(container.command(*command))


def _await_server(port: int) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("localhost", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
