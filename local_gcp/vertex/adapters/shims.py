"""Makes `python` mean an image's interpreter in every command of that image, shells included."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from local_gcp.vertex.engine.ports import ImageRule

_NAMES = ("python", "python3")


def with_shims(rules: tuple[ImageRule, ...], folder: Path, path: str) -> tuple[ImageRule, ...]:
    """Return the rules with a PATH (`path` behind it) on which `python` is their interpreter.

    The scripts are written below `folder`. A link would not do: a virtual environment is found from the
    place of the file that is executed.
    """
    return tuple(_with_shim(rule, folder / str(number), path) for number, rule in enumerate(rules))


def _with_shim(rule: ImageRule, folder: Path, path: str) -> ImageRule:
    folder.mkdir(parents=True, exist_ok=True)
    for name in _NAMES:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(str(rule.interpreter))} "$@"\n')
        script.chmod(0o755)
    return replace(rule, environment={**rule.environment, "PATH": f"{folder}:{path}"})
