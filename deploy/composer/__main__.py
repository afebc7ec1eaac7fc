"""Deploy this working tree to a Composer environment: `python -m deploy.composer ENVIRONMENT`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from deploy.composer.deployment import Deployment
from deploy.composer.packages import REPOSITORY, PackagesError
from deploy.composer.shell import CommandError, Shell
from deploy.composer.target import Target, TargetError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Deploy and return the exit status; print the step that failed and what to do about it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.composer", description=__doc__)
    parser.add_argument("environment", choices=("dev", "staging", "prod"))
    parser.add_argument("--dry-run", action="store_true", help="print every command and change nothing")
    parser.add_argument("--tested", action="store_true", help="skip lint and tests")
    chosen = parser.parse_args(arguments)
    os.chdir(REPOSITORY)
    shell = Shell(dry_run=chosen.dry_run)
    step = "read the settings of the environment"
    try:
        target = Target.read(REPOSITORY / "deploy" / "composer" / "env" / f"{chosen.environment}.env")
        for step, work in Deployment(shell=shell, target=target, tested=chosen.tested).steps():
            shell.say(f"\n== {step}")
            work()
    except (TargetError, PackagesError, CommandError) as error:
        sys.stderr.write(f"deploy: could not {step}: {error}\nFix the cause and deploy again.\n")
        return 1
    shell.say("\nnothing was changed: this was a dry run" if chosen.dry_run else "\ndeployed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
