"""Labels of a pipeline image, which tell whether it was built from the code and lock that are here.

`python -m taxi_ml.image` prints them as `key=value` lines, which `docker build --label` takes.
"""

from __future__ import annotations

import hashlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import Final

CODE: Final = Path(__file__).resolve().parent
LOCK: Final = CODE.parent / "requirements" / "pipeline.txt"
"""The lock of the pipeline image, beside this package wherever it is synced to."""


class Label(StrEnum):
    """The labels of a pipeline image."""

    CODE = "taxi-vertex.code"
    LOCK = "taxi-vertex.lock"


def labels(code: Path = CODE, lock: Path = LOCK) -> dict[Label, str]:
    """Return the SHA-256 of the package's files, their names included, and of the lock.

    Raises:
        FileNotFoundError: if the lock is not beside the package.

    """
    return {
        Label.CODE: _digest_of_files(code),
        Label.LOCK: hashlib.sha256(lock.read_bytes()).hexdigest(),
    }


def digest() -> str:
    """Return one SHA-256 of the package's files and, if it is beside them, of the lock."""
    lock = LOCK.read_bytes() if LOCK.exists() else b""
    return hashlib.sha256(_digest_of_files(CODE).encode() + lock).hexdigest()


def _digest_of_files(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
        parts = path.relative_to(folder).parts
        # A deployment copies neither bytecode nor hidden files.
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in parts):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def main() -> None:
    """Print the labels."""
    sys.stdout.writelines(f"{name}={value}\n" for name, value in labels().items())


if __name__ == "__main__":
    main()
