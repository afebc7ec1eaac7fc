"""A container of the pipeline image: a folder from its Dockerfile and the pipeline environment, and a chroot.

It contains nothing else of this machine but the mounts. It takes root, and namespaces of its own.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

BOOT: Final = REPOSITORY / "tests" / "pipeline" / "beam_boot.py"
"""Stands for Beam's launcher, which comes with an image that nothing here can pull."""

_USER: Final = 10001
_STAGE: Final = re.compile(r"(?ms)^FROM \S+ AS pipeline$(.+?)(?=^FROM |\Z)")
_FILES: Final = {
    "passwd": f"taxi:x:{_USER}:{_USER}::/home/taxi:/bin/sh\n",
    "hosts": "127.0.0.1 localhost\n",
    "nsswitch.conf": "hosts: files\n",
}
# Arguments: the root; how, what and where to mount, as often as needed; --; a command and its variables.
_ENTER: Final = f"""
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while [ "$1" != -- ]; do
    mkdir -p "$root$3"
    mount --bind "$2" "$root$3"
    mount -o "remount,bind,$1" "$root$3"
    shift 3
done
shift
exec chroot --userspec={_USER}:{_USER} --groups= "$root" /usr/bin/env -i -C /home/taxi "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerImage:
    """One container: its root folder, and its differences from the Dockerfile's image."""

    root: Path
    shared: Path
    """Stands for Cloud Storage: seen at its own path, and writable by anyone."""
    repository: Path | None = None
    """Mounted at its own path for a container that runs tests."""
    code: Path = REPOSITORY
    boot: Path | None = BOOT
    variables: Mapping[str, str] = field(default_factory=dict)
    owned: tuple[str, ...] = ("home/taxi", "opt/worker-packages")

    def make(self) -> None:
        """Create the folder's layout."""
        for name in ("dev", "etc", "proc", "opt/taxi", "opt/apache/beam", "opt/worker-packages", *self.owned):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").mkdir(mode=0o1777)
        (self.root / "tmp").chmod(0o1777)
        for link in ("bin", "lib", "lib64", "sbin"):
            (self.root / link).symlink_to(f"usr/{link}")
        for name, text in _FILES.items():
            (self.root / "etc" / name).write_text(text)
        for name in self.owned:
            os.chown(self.root / name, _USER, _USER)
        for source in re.findall(r"(?m)^COPY (?!--)(\S+) /opt/taxi/", _dockerfile()):
            copy = shutil.copytree if (self.code / source).is_dir() else shutil.copy
            target = self.root / "opt" / "taxi" / source
            target.parent.mkdir(exist_ok=True)
            copy(self.code / source, target)
        if self.boot:
            launcher = self.root / "opt" / "apache" / "beam" / "boot"
            shutil.copy(self.boot, launcher)
            launcher.chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs a program in it, with the image's environment only."""
        mounts = [part for mount in self._mounts() for part in mount]
        environment = [f"{name}={value}" for name, value in self._environment().items() if value]
        enter = ["unshare", "--mount", "--", "sh", "-euc", _ENTER, "enter", str(self.root)]
        return [*enter, *mounts, "--", *environment, *arguments]

    def entrypoint(self) -> str:
        """Write the Dockerfile's entry point as one program of the container."""
        (words,) = re.findall(r'(?m)^ENTRYPOINT \["(.+)"\]$', _dockerfile())
        program = self.root / "entrypoint"
        program.write_text(f'#!/bin/sh\nexec {words.replace(chr(34) + ", " + chr(34), " ")} "$@"\n')
        program.chmod(0o755)
        return "/entrypoint"

    def _mounts(self) -> Iterator[tuple[str, str, str]]:
        home = PIPELINE_PYTHON.resolve().parent
        usr = home / "root" / "usr"
        yield "ro", str(usr if usr.exists() else "/usr"), "/usr"
        yield "ro", str(home / "venv"), "/opt/pipeline"
        yield "rw", str(self.shared), str(self.shared)
        if self.repository:
            yield "ro", str(self.repository), str(self.repository)

    def _environment(self) -> dict[str, str]:
        lines = re.findall(r"(?m)^ENV (.+)$", _dockerfile())
        found = dict(pair.split("=", 1) for line in lines for pair in line.split())
        found["PATH"] = found["PATH"].replace("$PATH", "/usr/local/bin:/usr/bin:/bin")
        return {**found, "HOME": "/home/taxi", **self.variables}


def _dockerfile() -> str:
    found = _STAGE.search((REPOSITORY / "deploy" / "docker" / "pipeline.Dockerfile").read_text())
    if found is None:
        raise ValueError("deploy/docker/pipeline.Dockerfile has no stage named pipeline")
    return found[1]
