"""The local cloud's command line: ``python -m local_gcp up | down | status | reset | logs | fault | env``."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from local_gcp.airflow import AIRFLOW, login
from local_gcp.errors import LocalCloudError
from local_gcp.layout import Layout
from local_gcp.services import CLOUD, VERTEX
from local_gcp.stack import Condition, Stack
from local_gcp.tls import TLS, is_on
from local_vertex import order_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NOT_RUNNING: Final = 3
_ANY_ERROR: Final = "cannot be used; set LOCAL_GCP_STATE_DIR to a writable folder"
_DISK_ERRORS: Final = {
    errno.ENOSPC: "the disk is full; free some space or set LOCAL_GCP_STATE_DIR to a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; free some space or set LOCAL_GCP_STATE_DIR to another folder",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = _parser().parse_args(arguments)
    layout = Layout.from_environment(os.environ)
    command: Callable[[Stack, Layout, argparse.Namespace], int | None] = options.run
    try:
        return command(Stack(layout, declarations=(*CLOUD, TLS, *AIRFLOW)), layout, options) or 0
    except LocalCloudError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(
            f"{error.filename or layout.state}: {_DISK_ERRORS.get(error.errno or 0, _ANY_ERROR)} ({error})"
        )
    except KeyboardInterrupt:
        return _fail("interrupted; `python -m local_gcp down` stops the services that were started")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_gcp", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    up = commands.add_parser("up", help="start services and wait until they are healthy")
    chosen = up.add_mutually_exclusive_group()
    chosen.add_argument("--only", type=_names, default=(), metavar="A,B", help="only these services")
    chosen.add_argument(
        "--airflow", action="store_true", help="also Airflow, with the DAGs of this repository"
    )
    up.add_argument(
        "--tls",
        action="store_true",
        help="serve unmodified Google clients at googleapis.com addresses; stays on until reset",
    )
    up.add_argument("--new-ports", action="store_true", help="replace ports that are taken")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="stop the services; their data is kept")
    down.add_argument("--only", type=_names, default=(), metavar="A,B", help="only these services")
    down.set_defaults(run=lambda stack, _layout, chosen: stack.down(chosen.only))
    status = commands.add_parser(
        "status", help="list the services; exit status 3 unless the cloud is running"
    )
    status.set_defaults(run=_status)
    reset = commands.add_parser("reset", help="stop the services and delete their data")
    reset.set_defaults(run=lambda stack, _layout, _chosen: stack.reset())
    logs = commands.add_parser("logs", help="show the end of the logs")
    logs.add_argument("service", nargs="*", help="only these services")
    logs.add_argument("-f", "--follow", action="store_true", help="wait for new lines")
    logs.add_argument("-n", "--lines", type=int, default=20, help="lines of each log (%(default)s)")
    logs.set_defaults(run=_logs)
    fault = commands.add_parser("fault", help="make deployed models slow or failing")
    order_fault.add_arguments(fault)
    fault.set_defaults(run=_fault)
    env = commands.add_parser(
        "env", help='print the variables for clients: eval "$(python -m local_gcp env)"'
    )
    env.set_defaults(run=_env)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _up(stack: Stack, layout: Layout, options: argparse.Namespace) -> None:
    wanted = (*CLOUD, *AIRFLOW) if options.airflow else CLOUD
    chosen = options.only or tuple(declaration.name for declaration in wanted)
    tls = (TLS.name,) if options.tls or (is_on(layout) and not options.only) else ()
    stack.up((*chosen, *tls), new_ports=options.new_ports)
    _say_login(stack, layout)


def _status(stack: Stack, layout: Layout, _options: argparse.Namespace) -> int:
    services = stack.status()
    for service in services:
        pid = f"pid {service.pid}" if service.pid else "-"
        place = " ".join(service.urls) or service.log
        sys.stdout.write(f"{service.name:<22} {service.condition:<10} {pid:<12} {place}\n")
    _say_login(stack, layout)
    awaited = {declaration.name for declaration in CLOUD} | {item.name for item in services if item.pid}
    running = {item.name for item in services if item.condition is Condition.RUNNING}
    return 0 if awaited <= running else _NOT_RUNNING


def _say_login(stack: Stack, layout: Layout) -> None:
    """Print the URL and login of Airflow if it is running."""
    for service in stack.status():
        if service.name == AIRFLOW[0].name and service.urls:
            user, password = login(layout)
            sys.stdout.write(f"Airflow at {service.urls[0]}: user {user}, password {password}\n")


def _logs(_stack: Stack, layout: Layout, options: argparse.Namespace) -> int:
    files = [layout.logs / f"{name}.log" for name in options.service] or sorted(layout.logs.glob("*.log"))
    if missing := [file for file in files if not file.exists()]:
        return _fail(f"{missing[0]} does not exist; `python -m local_gcp status` lists the services")
    if not files:
        return _fail(f"{layout.logs} has no logs yet; run `python -m local_gcp up`")
    follow = ["-F"] if options.follow else []
    command = ["tail", "-n", str(options.lines), *follow, *map(str, files)]
    return subprocess.run(command, check=False).returncode


def _fault(stack: Stack, _layout: Layout, options: argparse.Namespace) -> int:
    for service in stack.status():
        if service.name == VERTEX.name and service.condition is Condition.RUNNING:
            return order_fault.run(service.urls[0], options)
    return _fail("Vertex AI is not running; run `python -m local_gcp up`")


def _env(stack: Stack, _layout: Layout, _options: argparse.Namespace) -> None:
    for name, value in stack.client_environment().items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"local_gcp: {message}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
