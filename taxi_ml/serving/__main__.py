"""The server's process: `python -m taxi_ml.serving` listens, loads the model and answers until SIGTERM."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taxi_ml.serving.instances import ContractError
from taxi_ml.serving.server import PredictionServer
from taxi_ml.serving.settings import ServingSettings, ServingSettingsError
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from taxi_ml.serving.model import ServedModel

_LOG: Final = logging.getLogger("taxi_ml.serving")


def main() -> int:
    """Serve; return the process's exit code. A failed start gives one line on stderr."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = ServingSettings.from_environment(os.environ)
        server = PredictionServer(settings)
    except (ServingSettingsError, OSError) as error:
        return _refuse(error)
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for the loop that this very thread runs, so another thread has to call it.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    _LOG.info("listening on port %d, loading %s", server.server_port, settings.storage_uri)
    failures: list[Exception] = []
    # Vertex AI restarts a container that takes no TCP connection within about 40 s: bind first, then load.
    threading.Thread(target=_load_into, args=(server, failures), name="load", daemon=True).start()
    with server:
        server.serve_forever(poll_interval=0.1)
    if failures:
        return _refuse(failures[0])
    _LOG.info("stopped")
    return 0


def _refuse(error: Exception) -> int:
    print(f"cannot serve: {error}", file=sys.stderr)  # noqa: T201  # a command's answer
    return 1


def _load_into(server: PredictionServer, failures: list[Exception]) -> None:
    """Give the server its model, or stop it with the reason for having none."""
    try:
        server.model = _load(server.settings.storage_uri)
    except Exception as error:  # noqa: BLE001  # the thread's boundary: the process ends with the reason
        if not isinstance(error, ContractError | OSError):
            _LOG.exception("the model cannot be loaded")
        failures.append(error)
        server.shutdown()
        return
    _LOG.info("serving %s", server.settings.storage_uri)


def _load(uri: str) -> ServedModel:
    """Download the model and load it, because TensorFlow's own GCS filesystem ignores emulators."""
    with tempfile.TemporaryDirectory(prefix="model-") as folder:
        if not Storage().download(uri, Path(folder)):
            raise FileNotFoundError(f"{uri} is empty; set AIP_STORAGE_URI to the folder of a SavedModel")
        # It takes seconds to import; a wrong environment is reported before that.
        from taxi_ml.serving.model import ServedModel  # noqa: PLC0415

        return ServedModel.load(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
