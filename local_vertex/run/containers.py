"""The port through which the engine runs containers, and the table that says what runs an image."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local_vertex.run.ports import ImageRule

_PYTHON = re.compile(r"(/.*/)?python(3(\.\d+)?)?")


class ContainerLostError(Exception):
    """The container ended for a reason of ours, not of its command; it may be run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command to run: `rule` of its image, output appended to `log_path`, started in `folder`.

    `environment` is complete: nothing is inherited from the server.
    """

    argv: tuple[str, ...]
    rule: ImageRule
    environment: Mapping[str, str]
    log_path: Path
    folder: Path


class Container(Protocol):
    """A running command."""

    def wait(self) -> int:
        """Wait for the end and return the exit code, negative for a signal. Raises ContainerLostError."""

    def stop(self, grace: float) -> None:
        """Ask it to terminate, kill all of it after `grace` seconds, return when it has ended."""


class Launcher(Protocol):
    """Starts commands; what it started ends with the server at the latest."""

    def launch(self, launch: Launch) -> Container:
        """Start a command and return at once."""

    def close(self) -> None:
        """End all that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTable:
    """What runs which image on this machine; `own_images` is the file to which a person may add rows."""

    rules: tuple[ImageRule, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    own_images: Path | None = None

    def rule(self, image: str) -> ImageRule:
        """Return the first rule that matches `image`; raises InvalidArgument with the table."""
        for rule in self.rules:
            if fnmatchcase(image, rule.image):
                return rule
        table = ", ".join(rule.image for rule in self.rules) or "empty"
        remedy = "use one of these"
        if self.own_images:
            row = json.dumps({"image": image, "interpreter": "/path/to/its/bin/python"})
            remedy += (
                f", or make a virtual environment with the image's packages, write [{row}] to "
                f"{self.own_images} (or add it to the list there) and start the server again"
            )
        raise InvalidArgument(f"image '{image}' is not in this machine's image table ({table}); {remedy}")

    def launch(self, image: str, argv: tuple[str, ...], env: Mapping[str, str], log_path: Path) -> Launch:
        """Return the launch of `argv` in `image`; `python` becomes the image's interpreter."""
        rule = self.rule(image)
        if _PYTHON.fullmatch(argv[0]):
            argv = (str(rule.interpreter), *argv[1:])
        environment = {**self.environment, **rule.environment, **env}
        return Launch(
            argv=argv, rule=rule, environment=environment, log_path=log_path, folder=log_path.parent
        )
