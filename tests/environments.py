"""Python environments that only some tests need: each is created from its lock once, then cached."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path


def interpreter_of(lock: Path, *, compiled: bool = False) -> Path:
    """Return the interpreter of the environment with a lock's packages.

    `compiled` writes all bytecode at once, which is worth it if most modules are imported.

    Raises:
        CalledProcessError: the environment cannot be created.

    """
    cache = Path(
        os.environ.get("LOCAL_GCP_CACHE_DIR")
        or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taxi-vertex"
    )
    name = lock.stem
    home = cache / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    python = home / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            uv = Path(sys.executable).with_name("uv")
            environ = {**os.environ, "UV_COMPILE_BYTECODE": str(int(compiled))}
            subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, home], check=True)
            subprocess.run([uv, "pip", "sync", "-q", "--python", python, lock], check=True, env=environ)
            (home / "complete").touch()
    return python
