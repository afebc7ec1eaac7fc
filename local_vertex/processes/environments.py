"""Gives each container its own Python environment, so that packages it installs are gone when it ends.

The environment is a virtual one over the image's: it sees the image's packages, `pip install` puts others
before them, and `pip uninstall` leaves the image's alone, as they are outside of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from local_vertex.domain.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_vertex.images import ImageRule
    from local_vertex.run.containers import Launch

_SECONDS: Final = 60
_COMMAND_NOT_FOUND: Final = 127
_DESCRIBE: Final = (
    "import json, os, site, sys; print(json.dumps({"
    "'executable': os.path.realpath(sys._base_executable), 'home': os.path.dirname(sys._base_executable), "
    "'version': '%d.%d' % sys.version_info[:2], 'packages': site.getsitepackages()}))"
)
# An interpreter may be a script that first changes what /usr is: only what it starts finds its own files.
_ENTER: Final = f"""\
import os, sys
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.stderr.write(f"{{sys.argv[1]}}: {{error.strerror}}\\n")
    sys.exit({_COMMAND_NOT_FOUND})
"""
_PIP: Final = '#!/bin/sh\nexec "$(dirname "$0")/python" -m pip "$@"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEnvironment:
    """The environment of one container in `folder`, to be removed when the container has ended."""

    folder: Path

    def variables(self, launch: Launch) -> dict[str, str]:
        """Return the container's variables, with which `python` and `pip` are the environment's."""
        path = launch.environment.get("PATH", os.defpath)
        return {
            **launch.environment,
            "PATH": f"{self.folder / 'bin'}:{path}",
            "VIRTUAL_ENV": str(self.folder),
        }

    def entered(self, launch: Launch) -> Launch:
        """Return the same command for the environment's interpreter, where it names the image's."""
        program, *rest = launch.argv
        if program == str(launch.rule.interpreter):
            program = str(self.folder / "bin" / "python")
        enter = (str(launch.rule.interpreter), "-I", "-S", "-c", _ENTER)
        return replace(launch, argv=(*enter, program, *rest), environment=self.variables(launch))

    def remove(self) -> None:
        """Remove it with everything that was installed."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Environments:
    """Creates environments; inspects each interpreter only once."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[str, Any]] = {}
        self._lock = Lock()

    def create(self, launch: Launch) -> OwnEnvironment:
        """Make an environment in the folder of `launch`; raises FailedPrecondition."""
        about = self._describe(launch.rule, launch.environment)
        launch.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".python-", dir=launch.folder))
        packages = folder / "lib" / f"python{about['version']}" / "site-packages"
        packages.mkdir(parents=True)
        (folder / "pyvenv.cfg").write_text(f"home = {about['home']}\ninclude-system-site-packages = false\n")
        # Unlike a path, this line lets the .pth files of the image's packages count as well.
        (packages / "image.pth").write_text(
            f"import site; list(map(site.addsitedir, {about['packages']!r}))\n"
        )
        _write_programs(folder / "bin", about)
        return OwnEnvironment(folder=folder)

    def _describe(self, rule: ImageRule, environment: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            if rule.interpreter not in self._known:
                self._known[rule.interpreter] = _described(rule, environment)
            return self._known[rule.interpreter]


def _write_programs(folder: Path, about: Mapping[str, Any]) -> None:
    folder.mkdir()
    (folder / "python").symlink_to(about["executable"])
    for name in ("python3", f"python{about['version']}"):
        (folder / name).symlink_to("python")
    for name in ("pip", "pip3"):
        (folder / name).write_text(_PIP)
        (folder / name).chmod(0o755)


def _described(rule: ImageRule, environment: Mapping[str, str]) -> dict[str, Any]:
    try:
        said = subprocess.run(
            [rule.interpreter, "-I", "-c", _DESCRIBE],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_SECONDS,
        )
        described: dict[str, Any] = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise FailedPrecondition(
            f"interpreter {rule.interpreter} of image '{rule.image}' does not run ({error}); fix that row of "
            "the image table"
        ) from error
    return described
