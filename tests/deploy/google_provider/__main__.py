"""The command behind `make plan`: show what Terraform would create for an environment, without any cloud."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.deploy.google_provider.stand_in import Checkout, install

_NOTE = "planned with stand-ins that have the Google providers' schemas and no cloud: all is shown as new\n"


def main(environment: str) -> int:
    """Print Terraform's plan of an environment; return 1 when it refuses the module."""
    if shutil.which("terraform") is None:
        sys.stderr.write("terraform is not installed, or not on the PATH\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        mirror = Path(folder) / "mirror"
        mirror.mkdir()
        checkout = Checkout.make(Path(folder) / "copy", {**os.environ, **install(mirror)})
        checkout.keep_state_here()
        for words in (["init"], ["validate"], ["plan", f"-var-file=env/{environment}.tfvars"]):
            ended = checkout.terraform(*words)
            if ended.returncode:
                sys.stderr.write(f"terraform {words[0]} failed:\n{ended.stdout}{ended.stderr}")
                return 1
        sys.stdout.write(f"{ended.stdout}\n{_NOTE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
