"""The replay's command line: compares policies on stored predictions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.report import ReportError
from taxi_ml.replay import policies
from taxi_ml.replay.document import replay, summary
from taxi_ml.replay.page import render
from taxi_ml.replay.power import DRAWS
from taxi_ml.replay.stored import StoredError, load
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.replay.policies import Policy


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the result, and write replay.json and replay.html; return 0, or 2 if there can be none."""
    options = _parser().parse_args(arguments)
    storage = Storage()
    try:
        months = load(storage, options.errors).between(options.first, options.last)
        chosen = [*_own(storage, options.policy), *policies.standard()]
        found = replay(months, chosen, draws=options.draws)
    except (StoredError, PolicyError, ReportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    document = found.to_json()
    sys.stdout.write(summary(document))
    if options.out:
        out = options.out.rstrip("/")
        storage.write(f"{out}/replay.json", document.encode())
        storage.write(f"{out}/replay.html", render(found).encode())
        sys.stdout.write(f"{out}/replay.html\n")
    return 0


def _own(storage: Storage, files: Sequence[str]) -> list[Policy]:
    return [policies.of_text(Path(file).stem, storage.read(file).decode()) for file in files if file]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taxi_ml.replay", description=__doc__)
    parser.add_argument("--errors", required=True, help="folder or gs:// address of stored predictions")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="TOML",
        help="a policy to compare with the shipped one; may be repeated",
    )
    parser.add_argument("--out", help="folder or gs:// address for replay.json and replay.html")
    parser.add_argument("--first", default="", metavar="YYYY-MM", help="leave out months that end earlier")
    parser.add_argument("--last", default="9999", metavar="YYYY-MM", help="leave out months that end later")
    parser.add_argument(
        "--draws",
        type=int,
        default=DRAWS,
        help=f"draws for each point of the power curve, {DRAWS} by default; 0: none",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
