"""The commands `local-vertex serve`, which serves until SIGTERM or SIGINT, and `local-vertex fault`.

`python -m local_vertex` is the same.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from local_vertex import limits, order_fault
from local_vertex.composition import HOST, Doors, LocalVertex, Options, build_engines
from local_vertex.domain.past import Lags
from local_vertex.gcs_objects import adopt, leave
from local_vertex.images import ImageRule, ImageTable, ImageTableError, container_environment, read_images
from local_vertex.monitoring.samples import Sampling
from local_vertex.run.ports import EngineSettings
from local_vertex.server.grpc_server import PortInUseError
from local_vertex.store import StateInUseError, StateUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType


_ABOUT = "Serve the API of Vertex AI on this machine, and run pipelines, jobs and models as local processes."
_FOR_CONTAINERS = ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
_LAGS = {
    "--stale-lists": "lists show the state of SECONDS ago: new resources are missing, deleted ones stay",
    "--late-traffic": "predictions are routed by the traffic split of SECONDS ago",
}
_COMMAND = "the default; the other command is `local-vertex fault --help`"
_STATE = "folder that keeps the state (%(default)s)"
_GCS_ROOT = (
    "folder whose subfolders are the buckets, if fake-gcs-server serves them: files that tasks write become "
    "its objects (default: a folder in the state, which is not served)"
)
_IMAGE = (
    "image that may run, such as 'python:3.*', and the interpreter to use for it (default: the one that runs "
    "this server); may be repeated"
)
_IMAGES = 'JSON file with such images: [{"image": PATTERN, "interpreter": PATH}]'
_OWN_IMAGES = (
    "the same for images that you add yourself, which take precedence over --images; it may be missing "
    "(default: own-images.json in the state)"
)
_GIGABYTE = 10**9
_SHORTEST_PERIOD = 0.1
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve, or order a fault; return 0 after a clean end and 1, with one line on what to do, otherwise."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["fault"]:
        return order_fault.main(given[1:])
    chosen = _parsed(given)
    logging.basicConfig(level=logging.INFO, format=_LOG_FORMAT)
    _on_signals(lambda _number, _frame: sys.exit(0))
    try:
        _serve(chosen)
    except (ImageTableError, PortInUseError, StateInUseError, StateUnreadableError) as error:
        sys.stderr.write(f"vertex: {error}\n")
        return 1
    return 0


def _serve(chosen: argparse.Namespace) -> None:
    images = _image_table(chosen)
    options = Options(
        state=chosen.state,
        project=chosen.project,
        region=chosen.region,
        host=chosen.host,
        rest_port=chosen.rest_port,
        grpc_port=chosen.grpc_port,
        images=images,
        faults=chosen.faults,
        lean_skipped=chosen.lean_skipped,
        lags=Lags(lists=chosen.stale_lists, traffic=chosen.late_traffic),
        sampling=Sampling(
            period=chosen.metrics_period, soonest=chosen.metrics_delay[0], latest=chosen.metrics_delay[1]
        ),
        addresses=tuple(chosen.allow_host),
    )
    vertex = LocalVertex(options, partial(build_engines, _engine_settings(chosen), images))
    try:
        chosen.gcs_root.mkdir(parents=True, exist_ok=True)
        doors = Doors(vertex, options)
        vertex.recover()
        host = chosen.host
        rest = f"http://{host}:{doors.rest_port}"
        sys.stdout.write(f"vertex: REST {rest} gRPC {host}:{doors.grpc_port}\n")
        sys.stdout.write(f"vertex: console {rest}/console, state {chosen.state}\n")
        sys.stdout.flush()
        # A signal that comes before the web server has handlers of its own, or that it raises again after its
        # end. Unlike SIG_IGN, a function is not inherited by children.
        _on_signals(lambda _number, _frame: doors.stop())
        doors.serve()
    finally:
        vertex.close()


def _on_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _image_table(chosen: argparse.Namespace) -> ImageTable:
    extra = {name: os.environ[name] for name in _FOR_CONTAINERS if name in os.environ}
    return ImageTable(
        rules=(*chosen.image, *read_images(chosen.own_images, chosen.images)),
        environment=container_environment(extra),
        own=chosen.own_images,
    )


def _engine_settings(chosen: argparse.Namespace) -> EngineSettings:
    return EngineSettings(
        state_dir=chosen.state,
        gcs_root=chosen.gcs_root,
        adopt=chosen.adopt,
        cores=chosen.cores,
        memory=int(chosen.memory * _GIGABYTE),
        warm=chosen.warm,
        prestart=chosen.prestart,
    )


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    chosen = _parser().parse_args(arguments)
    chosen.own_images = chosen.own_images or chosen.state / "own-images.json"
    # The folder inside the state is not served, so its files need not be objects.
    chosen.adopt = adopt if chosen.gcs_root else leave
    chosen.gcs_root = chosen.gcs_root or chosen.state / "gcs"
    return chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="local-vertex", description=_ABOUT)
    parser.add_argument("command", nargs="?", choices=["serve"], help=_COMMAND)
    parser.add_argument("--version", action="version", version=_version(), help="print the version")
    parser.add_argument("--state", type=_absolute, default=_absolute(".local-vertex"), help=_STATE)
    parser.add_argument("--gcs-root", type=_absolute, metavar="FOLDER", help=_GCS_ROOT)
    parser.add_argument(
        "--image", type=_image, action="append", default=[], metavar="PATTERN[=PYTHON]", help=_IMAGE
    )
    parser.add_argument("--images", type=_absolute, metavar="FILE", help=_IMAGES)
    parser.add_argument("--own-images", type=_absolute, metavar="FILE", help=_OWN_IMAGES)
    parser.add_argument("--project", default="local", help="id of the one project (%(default)s)")
    parser.add_argument("--region", default="us-central1", help="the one region (%(default)s)")
    parser.add_argument("--host", default=HOST, help="address to listen on (%(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="another address by which REST clients reach this server",
    )
    parser.add_argument("--rest-port", type=int, default=0, help="default: any free port")
    parser.add_argument("--grpc-port", type=int, default=0, help="default: any free port")
    parser.add_argument(
        "--cores", type=int, default=limits.cores(), help="CPU cores that tasks share (%(default)s)"
    )
    # Everything else on the machine keeps a fifth of its memory.
    memory = 0.8 * limits.memory() / _GIGABYTE
    parser.add_argument("--memory", type=float, default=memory, help="GB that tasks share (%(default).1f)")
    parser.add_argument(
        "--warm",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="fork TFX tasks from a process that has imported TFX",
    )
    parser.add_argument(
        "--prestart", action=argparse.BooleanOptionalAction, default=False, help="start that process at once"
    )
    parser.add_argument(
        "--lean-skipped", action="store_true", help="list no outputs for tasks from the cache"
    )
    parser.add_argument(
        "--faults",
        action="store_true",
        help="let requests ask for faults on the wire, and `local-vertex fault` for those of models",
    )
    _add_lags(parser)
    _add_metrics(parser)
    return parser


def _add_lags(parser: argparse.ArgumentParser) -> None:
    lags = parser.add_argument_group(
        "replicas", "imitate a service whose replicas lag behind (default: 0 seconds)"
    )
    for option, meaning in _LAGS.items():
        lags.add_argument(option, type=_duration, default=0.0, metavar="SECONDS", help=meaning)


def _add_metrics(parser: argparse.ArgumentParser) -> None:
    metrics = parser.add_argument_group("Cloud Monitoring", "points of the time series about predictions")
    metrics.add_argument(
        "--metrics-period",
        type=_period,
        default=60.0,
        metavar="SECONDS",
        help="time that a point is about, and the shortest alignment period if it is less than a minute "
        "(%(default)g, Google's)",
    )
    metrics.add_argument(
        "--metrics-delay",
        type=_delay,
        default=(2.0, 2.0),
        metavar="SECONDS[:SECONDS]",
        help="a point is visible so long after its period, or between the two (2); on Google after minutes",
    )


def _period(text: str) -> float:
    seconds = _duration(text)
    if seconds < _SHORTEST_PERIOD:
        raise argparse.ArgumentTypeError(
            f"{text} s is too short; a period has {_SHORTEST_PERIOD:g} s or more"
        )
    return seconds


def _delay(text: str) -> tuple[float, float]:
    soonest, _, latest = text.partition(":")
    delay = _duration(soonest), _duration(latest if ":" in text else soonest)
    if delay[0] > delay[1]:
        raise argparse.ArgumentTypeError(f"{text}: the longest delay, {latest} s, comes second")
    return delay


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds, such as 2 or 0.5")
    return seconds


def _image(text: str) -> ImageRule:
    image, _, interpreter = text.partition("=")
    path = shutil.which(interpreter or sys.executable)
    if not image or not path:
        raise argparse.ArgumentTypeError(
            f"{text!r} does not name an image and a program; write python:3.11=/path/to/python"
        )
    # Not resolved: an interpreter finds its virtual environment by the link that it was started from.
    return ImageRule(image=image, interpreter=Path(path).absolute())


def _version() -> str:
    try:
        return version("local-vertex")
    except PackageNotFoundError:
        return "not installed: run from its folder"


def _absolute(text: str) -> Path:
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
