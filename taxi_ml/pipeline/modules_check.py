"""The user modules and the reviewed schema as content: read, checked by syntax, and addressed by digest."""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.naming import SCHEMA_FILE

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED_FUNCTIONS: Final = {
    "preprocessing.py": frozenset({"preprocessing_fn"}),
    "trainer.py": frozenset({"run_fn", "tuner_fn"}),
    "refit.py": frozenset({"run_fn"}),
}
"""The functions that TFX calls, by file."""


class ModuleError(ValueError):
    """A module cannot be compiled into the pipeline; the message begins with file:line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSet:
    """The contents of the modules and the schema by file name, and the SHA-256 over them."""

    files: dict[str, bytes]
    digest: str


def read_modules(folder: Path, schema: Path) -> ModuleSet:
    """Read the Python files of `folder`, except `__init__.py`, which is not in the wheels, and the schema.

    Raises:
        ModuleError: for a syntax error, with its line, and for a missing function or file that
            TFX needs.

    """
    files = {
        path.name: path.read_bytes() for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"
    }
    for name, required in REQUIRED_FUNCTIONS.items():
        if name not in files:
            raise ModuleError(f"{folder / name}:1: no such file; it must define {_listed(required)}")
    for name, source in files.items():
        _check(folder / name, source, REQUIRED_FUNCTIONS.get(name, frozenset()))
    if not schema.is_file():
        raise ModuleError(f"{schema}:1: no such file; `python -m taxi_ml.schema` writes one")
    files[SCHEMA_FILE] = schema.read_bytes()
    return ModuleSet(files=files, digest=digest(files))


def digest(files: dict[str, bytes]) -> str:
    """Return the SHA-256 over names and contents, in hexadecimal; the order of `files` does not matter."""
    total = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()


def _check(path: Path, source: bytes, required: frozenset[str]) -> None:
    try:
        tree = ast.parse(source, filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ModuleError(f"{path}:{line}: {getattr(error, 'msg', None) or error}") from error
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    if missing := required - defined:
        last = len(source.splitlines()) or 1
        raise ModuleError(f"{path}:{last}: {_listed(missing)} is not defined; TFX calls it by this name")


def _listed(names: frozenset[str]) -> str:
    return " and ".join(f"{name}()" for name in sorted(names))
