"""The table that maps container images to interpreters of this machine, read from its JSON file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from local_vertex.run.ports import ImageRule


class ImageTableError(ValueError):
    """The file with the image table cannot be used; the message says why."""


def read_images(own: Path | None, given: Path | None) -> tuple[ImageRule, ...]:
    """Read `[{"image": pattern, "interpreter": path, "environment": {…}, "labels": [argument]}, …]`.

    The rows of the file `own`, if it exists, come before those of `given`. Raises ImageTableError.
    """
    return (*(_read(own) if own and own.exists() else ()), *(_read(given) if given else ()))


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
