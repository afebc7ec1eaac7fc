"""Model server processes for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
PIPELINE_PYTHON = REPOSITORY / ".pipeline" / "bin" / "python"
START_SECONDS = 90


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def start(
    storage_uri: str, port: int, log: IO[bytes], *, module: str = "taxi_ml.serving", **environment: str
) -> subprocess.Popen[bytes]:
    """Start a server as Vertex AI starts a container: by its environment alone."""
    return subprocess.Popen(
        [PIPELINE_PYTHON, "-m", module],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "AIP_STORAGE_URI": storage_uri,
            "AIP_HTTP_PORT": str(port),
            "SERVING_HOST": "127.0.0.1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **environment,
        },
        stdout=log,
        stderr=log,
    )


@contextmanager
def serving(storage_uri: str, *, module: str = "taxi_ml.serving", **environment: str) -> Iterator[str]:
    """Yield the address of a healthy server; stop it in the end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryFile() as log:
        process = start(storage_uri, port, log, module=module, **environment)
        try:
            wait_until_healthy(url + environment.get("AIP_HEALTH_ROUTE", "/health"), process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> set[int]:
    """Wait for a 200 and return the statuses before it; fail with the log if it does not come in time."""
    deadline = time.monotonic() + START_SECONDS
    seen: set[int] = set()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return seen
        except urllib.error.HTTPError as error:
            seen.add(error.code)
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    log.seek(0)
    raise RuntimeError(f"no server at {url}:\n{log.read().decode()[-2000:]}")
