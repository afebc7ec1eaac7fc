#!/opt/pipeline/bin/python
"""Do what Beam's launcher for Python does in a container, which is a Go program; runs inside the image.

By https://github.com/apache/beam/blob/v2.77.0/sdks/python/container/boot.go, told to run in the default
environment: request the provisions, fetch the staged files, install them by pip, start the worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_artifact_api_pb2,
    beam_artifact_api_pb2_grpc,
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    beam_runner_api_pb2,
)
from google.protobuf import json_format

TRIES = 4
MANIFEST = "extra_packages.txt"
PIP = ("python", "-m", "pip")
INSTALL = (*PIP, "install", "--no-cache-dir", "--disable-pip-version-check")


def main(arguments: list[str]) -> None:
    """Start a worker and wait for its end; a failure ends this process with 1 and its reason."""
    options = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    if not options.get("id"):
        sys.exit("No id provided.")
    folder = Path(options.get("semi_persist_dir", "/tmp"), "staged")  # noqa: S108  # as Beam has it
    metadata = (("worker_id", options["id"]),)
    info = provisions(options["provision_endpoint"], metadata)
    install(folder, fetch(info, metadata, folder))
    work(options, info, folder.parent)


def provisions(endpoint: str, metadata: Any) -> Any:  # noqa: ANN401  # protobuf messages have no types here
    """Request the worker's endpoints, options and artifacts from the runner."""
    with grpc.insecure_channel(endpoint) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        return stub.GetProvisionInfo(request, metadata=metadata, timeout=60).info


def fetch(info: Any, metadata: Any, folder: Path) -> set[str]:  # noqa: ANN401  # as above
    """Copy the staged artifacts to the folder; return their names."""
    names = set()
    folder.mkdir(parents=True, exist_ok=True)
    with grpc.insecure_channel(info.artifact_endpoint.url) as channel:
        stub = beam_artifact_api_pb2_grpc.ArtifactRetrievalServiceStub(channel)
        for artifact in info.dependencies:
            role = beam_runner_api_pb2.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
            request = beam_artifact_api_pb2.GetArtifactRequest(artifact=artifact)
            chunks = stub.GetArtifact(request, metadata=metadata, timeout=60)
            (folder / role.staged_name).write_bytes(b"".join(chunk.data for chunk in chunks))
            names.add(role.staged_name)
    return names


def install(folder: Path, names: set[str]) -> None:
    """Install the extra packages over the existing ones, then their dependencies."""
    if subprocess.run([*PIP, "show", "--quiet", "apache-beam"], check=False).returncode:
        sys.exit("failed to install required packages: Apache Beam is not installed in the environment")
    for name in (folder / MANIFEST).read_text().split() if MANIFEST in names else ():
        for flags in (("--upgrade", "--force-reinstall", "--no-deps"), ()):
            if subprocess.run([*INSTALL, *flags, folder / name], check=False).returncode:
                sys.exit(f"failed to install required packages: PIP failed to install {name}")


def work(options: dict[str, str], info: Any, folder: Path) -> None:  # noqa: ANN401  # as above
    """Run the worker; restart it if it crashes."""
    environment = {
        **os.environ,
        "WORKER_ID": options["id"],
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "SEMI_PERSISTENT_DIRECTORY": str(folder),
        "LOGGING_API_SERVICE_DESCRIPTOR": f'url: "{info.logging_endpoint.url}"',
        "CONTROL_API_SERVICE_DESCRIPTOR": f'url: "{info.control_endpoint.url}"',
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    command = ["python", "-m", "apache_beam.runners.worker.sdk_worker_main"]
    for _ in range(TRIES):
        if subprocess.run(command, env=environment, check=False).returncode == 0:
            return
    sys.exit(f"Python (worker {options['id']}) exited {TRIES} times\nout of retries, failing container")


if __name__ == "__main__":
    main(sys.argv[1:])
