"""The command `local-vertex fault`: make deployed models of a running server slow or failing, and stop it."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_ABOUT = (
    "Make deployed models of a server that runs with --faults slow or failing, until --clear. Without a "
    "model, list what is ordered."
)
_MODEL = (
    "pattern for the ids of deployed models, or for versions as in 'taxi-fare@3'; quote it in a shell. A "
    "model that is deployed later is meant as well"
)
_FAULT = "delay=SECONDS, fail=CODE[:MESSAGE] as in fail=UNAVAILABLE, hang[=SECONDS], garbage or lose-reply"
_SECONDS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("deployed_model", nargs="?", metavar="MODEL", help=_MODEL)
    parser.add_argument("fault", nargs="?", metavar="FAULT", help=_FAULT)
    parser.add_argument("--share", type=float, default=1.0, help="share of its requests (%(default)g)")
    parser.add_argument("--clear", action="store_true", help="forget all faults, those of calls included")


def run(url: str, chosen: argparse.Namespace) -> int:
    """Order a fault from the server at this URL; return 0, or 1 with a line on stderr that says why not."""
    if bool(chosen.deployed_model) != bool(chosen.fault):
        sys.stderr.write(f"vertex: write MODEL and FAULT, as in: fault '*' delay=0.5; faults: {_FAULT}\n")
        return 1
    order = None
    if chosen.fault:
        names = ("deployed_model", "fault", "share")
        order = json.dumps({name: getattr(chosen, name) for name in names}).encode()
    request = urllib.request.Request(  # noqa: S310  # the URL is the caller's own
        f"{url}/faults",
        data=order,
        headers={"Content-Type": "application/json"},
        method="DELETE" if chosen.clear else None,
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310  # as above
            left: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        sys.stderr.write(f"vertex: {_reason(error)}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"vertex: {url} does not answer ({error}); start the server, or give its --server\n")
        return 1
    for each in left["faults"]:
        sys.stdout.write(f"{json.dumps(each)}\n")
    return 0


def _reason(error: urllib.error.HTTPError) -> str:
    if error.code == 404:  # noqa: PLR2004  # Not Found
        return f"{error.url} does not exist; start the server with --faults"
    try:
        return str(json.load(error)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(error)


def main(arguments: Sequence[str]) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="local-vertex fault", description=_ABOUT)
    parser.add_argument("--server", required=True, metavar="URL", help="the server's REST address")
    add_arguments(parser)
    chosen = parser.parse_args(arguments)
    return run(chosen.server.rstrip("/"), chosen)
