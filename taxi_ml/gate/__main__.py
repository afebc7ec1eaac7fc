"""The gate's command line: prints the decision on a report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from taxi_ml.gate import decision, policy, report

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the decision; return 0 for either verdict, or 2 if there can be none."""
    options = _parser().parse_args(arguments)
    try:
        verdict = decision.decide(
            policy.load(options.policy),
            report.parse(options.report.read_bytes(), window=options.window),
            decision.Override.of(options.because, options.override)
            if options.override or options.because
            else None,
        )
    except (policy.PolicyError, report.ReportError, decision.OverrideError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{verdict.to_json() if options.json else verdict.describe()}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m taxi_ml.gate", description=__doc__)
    parser.add_argument("--report", type=Path, required=True, help="report.json of a pipeline run")
    parser.add_argument(
        "--policy", type=Path, default=policy.DEFAULT_PATH, help="default: taxi_ml/gate/policy.toml"
    )
    parser.add_argument("--window", help="refuse a report of another window")
    parser.add_argument("--json", action="store_true", help="print the decision as JSON")
    parser.add_argument(
        "--override",
        action="append",
        default=[],
        metavar="CODE",
        help="ignore reasons with this code; may be repeated, and needs --because",
    )
    parser.add_argument("--because", default="", help="why these reasons are ignored")
    return parser


if __name__ == "__main__":
    sys.exit(main())
