"""The one table of container images: which interpreter of this machine stands for which image."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

_PYTHON = re.compile(r"(/.*/)?python(3(\.\d+)?)?")
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
# Where pip finds packages is a matter of the machine.
_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT")
# Tasks run side by side, so each may have one thread for linear algebra only, and a forked child must not
# find its parent's threads gone. Unbuffered output makes logs live.
_OURS = {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRule:
    """One row of the image table: images that match `image` (fnmatch) run with this interpreter.

    `labels` are the interpreter's arguments with which it prints the image's labels, `key=value` lines.
    """

    image: str
    interpreter: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()

    def command(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return `argv` as it runs on this machine: `python` becomes the image's interpreter."""
        return (str(self.interpreter), *argv[1:]) if _PYTHON.fullmatch(argv[0]) else argv


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """All rows; every container gets `environment`, and `own` is the file to which users may add rows."""

    rules: tuple[ImageRule, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    own: Path | None = None

    def rule(self, image: str) -> ImageRule:
        """Return the first row that matches `image`; raises InvalidArgument that shows the table."""
        for rule in self.rules:
            if fnmatchcase(image, rule.image):
                return rule
        table = ", ".join(rule.image for rule in self.rules) or "empty"
        remedies = ["use one of these"] if self.rules else []
        if self.own:
            row = json.dumps({"image": image, "interpreter": "/path/to/its/bin/python"})
            remedies.append(
                f"make a virtual environment with the image's packages, write [{row}] to {self.own} "
                "(or add it to the list there) and start the server again"
            )
        remedy = ", or ".join(remedies) or "start the server with a row for it"
        raise InvalidArgument(f"image '{image}' is not in this machine's image table ({table}); {remedy}")


def container_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of every container: a few of this process's, ours, and `extra`."""
    return {
        **{name: os.environ[name] for name in (*_INHERITED, *_PIP) if name in os.environ},
        **_OURS,
        **extra,
    }


NO_IMAGES: Final = ImageTable()


class ImageTableError(ValueError):
    """The file with the image table cannot be used; the message says why."""


def read_images(own: Path, given: Path | None) -> tuple[ImageRule, ...]:
    """Read `[{"image": pattern, "interpreter": path, "environment": {…}, "labels": [argument]}, …]`.

    The rows of the file `own`, if it exists, come before those of `given`. Raises ImageTableError.
    """
    return (*(_read(own) if own.exists() else ()), *(_read(given) if given else ()))


def _read(path: Path) -> tuple[ImageRule, ...]:
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ImageTableError(f"cannot read the image table {path}: {error}") from error
    if not isinstance(rows, list):
        raise ImageTableError(f"{path} is not a list of images; write [{{…}}, …]")
    return tuple(_rule(row, path) for row in rows)


def _rule(row: object, path: Path) -> ImageRule:
    match row:
        case {"image": str(image), "interpreter": str(interpreter), **rest}:
            environment, labels = rest.get("environment", {}), rest.get("labels", [])
            if not os.access(interpreter, os.X_OK):
                raise ImageTableError(
                    f"{path}: interpreter {interpreter} of image '{image}' cannot be executed; fix its path"
                )
            if isinstance(environment, dict) and isinstance(labels, list):
                return ImageRule(
                    image=image, interpreter=Path(interpreter), environment=environment, labels=tuple(labels)
                )
    raise ImageTableError(
        f"{path}: {row!r} needs 'image', 'interpreter' and at most an 'environment' and a list 'labels'"
    )
