"""The entry point of the pipeline image: any command, and for Dataflow a worker of Beam.

Dataflow restarts a worker that cannot start, and the component that waits for its job never learns why. So
Beam's launcher runs as a child process. If it fails, this process answers the runner's work with its error,
and the job fails with that error after as many tries as the runner makes.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import subprocess
import sys
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BOOT: Final = Path("/opt/apache/beam/boot")
"""Beam's launcher, by the contract of its containers: https://s.apache.org/beam-fn-api-container-contract."""

PACKAGES: Final = Path("/opt/worker-packages")
"""The folder for wheels that a job brings; the image's own packages belong to root."""

IN_DEFAULT_ENVIRONMENT: Final = "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"

_REQUIRED: Final = frozenset({"--id", "--provision_endpoint"})
_PERSISTENT: Final = "--semi_persist_dir"
# The runner sends work as soon as a worker connects, and starts a container again if it ends.
_ANSWER_SECONDS: Final = 120
_LINES_OF_ERROR: Final = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or a worker if there are only options; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-"):
        os.execvp(given[0], given)  # noqa: S606  # a container runs the command that it is given
    found = list(problems(os.environ))
    sys.stderr.writelines(f"{each}\n" for each in found)
    error = "\n".join(found) or _launch(given)
    if not error:
        return 0
    options = _options(given)
    if options.keys() >= _REQUIRED:
        _answer_work(options, f"the worker failed: {error}")
    return 1


def problems(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the problems that keep a container of this image from being a worker, with remedies."""
    if not os.access(BOOT, os.X_OK):
        yield (
            f"{BOOT} does not exist: the image was built without Beam's worker; "
            "build it with the build argument BEAM_SDK that deploy/docker/beam.txt names"
        )
    if not environ.get(IN_DEFAULT_ENVIRONMENT):
        yield (
            f"{IN_DEFAULT_ENVIRONMENT} is not set: Beam would make an environment without this image's "
            "packages; set it to 1"
        )
    if importlib.util.find_spec("apache_beam") is None:
        yield f"{sys.executable} has no apache_beam; put the image's own environment first in PATH"
    if not os.access(PACKAGES, os.W_OK):
        yield f"user {os.getuid()} cannot write to {PACKAGES}; make it that user's, or run as its owner"


def _launch(arguments: Sequence[str]) -> str:
    """Run Beam's launcher until it ends; if it failed, return the end of its output."""
    command = [str(BOOT), *arguments]
    persistent = _options(arguments).get(_PERSISTENT)
    if persistent is not None and not os.access(persistent, os.W_OK):
        # A folder of the host that only its root may write to; only a restart would have reused its content.
        command.append(f"{_PERSISTENT}={tempfile.gettempdir()}")
    paths = filter(None, [os.environ.get("PYTHONPATH"), str(PACKAGES)])
    environment = {**os.environ, "PIP_TARGET": str(PACKAGES), "PYTHONPATH": ":".join(paths)}
    boots: list[subprocess.Popen[str]] = []
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if boots:
            boots[0].send_signal(number)
        else:
            early.append(number)

    # Before the launcher runs: a signal in between would end this process alone, and nobody the launcher.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    boots.append(boot := subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for missed in early:
        boot.send_signal(missed)
    lines = _passed_on(boot.stderr) if boot.stderr else deque[str]()
    code = boot.wait()
    # A signal ends a worker whose job has ended.
    return "" if code <= 0 else "".join(lines) or f"{BOOT} ended with {code}"


def _passed_on(stream: IO[str]) -> deque[str]:
    lines: deque[str] = deque(maxlen=_LINES_OF_ERROR)
    for line in stream:
        sys.stderr.write(line)
        sys.stderr.flush()
        lines.append(line)
    return lines


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """Return options by name, with two hyphens, of which Go's flags may have one."""
    parts = (argument.lstrip("-").partition("=") for argument in arguments)
    return {f"--{name}": value for name, _, value in parts}


def _answer_work(options: Mapping[str, str], error: str) -> None:
    """Answer the runner's requests with the error, until it ends or the time is up."""
    import grpc  # noqa: PLC0415  # a worker that starts needs none of it

    metadata = (("worker_id", options["--id"]),)
    try:
        with grpc.insecure_channel(options["--provision_endpoint"]) as channel:
            endpoint = _control_endpoint(channel, metadata) or options.get("--control_endpoint", "")
        with grpc.insecure_channel(endpoint) as channel:
            _answer(channel, metadata, error)
    except grpc.RpcError as ended:
        print(f"the runner has ended, or cannot be told: {ended}", file=sys.stderr)  # noqa: T201  # a container's log


def _control_endpoint(channel: Any, metadata: Any) -> str:  # noqa: ANN401  # grpc has no types here
    from apache_beam.portability.api import (  # noqa: PLC0415  # as above
        beam_provision_api_pb2,
        beam_provision_api_pb2_grpc,
    )

    stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
    request = beam_provision_api_pb2.GetProvisionInfoRequest()
    answer = stub.GetProvisionInfo(request, metadata=metadata, timeout=_ANSWER_SECONDS)
    return str(answer.info.control_endpoint.url)


def _answer(channel: Any, metadata: Any, error: str) -> None:  # noqa: ANN401  # as above
    from apache_beam.portability.api import (  # noqa: PLC0415  # as above
        beam_fn_api_pb2,
        beam_fn_api_pb2_grpc,
    )

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stub = beam_fn_api_pb2_grpc.BeamFnControlStub(channel)
    for request in stub.Control(iter(answers.get, None), metadata=metadata, timeout=_ANSWER_SECONDS):
        answers.put(beam_fn_api_pb2.InstructionResponse(instruction_id=request.instruction_id, error=error))


if __name__ == "__main__":
    sys.exit(main())
