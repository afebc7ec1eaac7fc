"""The target of a deployment, read from `env/<environment>.env`, which Terraform writes, and `.settings`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from taxi_ml.rules import SettingsError
from taxi_ml.settings import PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_WRITE_IT = "`terraform -chdir=deploy/terraform output -raw deploy_env` prints its content"
_NAMES = ("PROJECT", "REGION", "COMPOSER_ENVIRONMENT", "ARTIFACT_REPOSITORY")


class TargetError(ValueError):
    """The file of an environment is missing or wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A Composer environment, the repository of its images, and the settings of its Airflow."""

    project: str
    region: str
    composer_environment: str
    artifact_repository: str
    settings: dict[str, str]

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read NAME=value lines, then those of the user's `.settings`; settings begin with TAXI_.

        Raises:
            TargetError: for a missing file or name, a malformed line or an invalid setting.

        """
        if not file.is_file():
            raise TargetError(f"{file} does not exist; {_WRITE_IT}")
        files = (file, file.with_suffix(".settings"))
        values = dict(pair for each in files if each.is_file() for pair in _pairs(each))
        if absent := [name for name in _NAMES if not values.get(name)]:
            raise TargetError(f"{file} lacks {', '.join(absent)}; {_WRITE_IT}")
        settings = {name: text for name, text in values.items() if name.startswith(PREFIX)}
        try:
            Settings.from_environment({**settings, f"{PREFIX}PIPELINE_IMAGE": "deployed"})
        except SettingsError as error:
            raise TargetError(f"{file}: {error}") from error
        return cls(**{name.lower(): values[name] for name in _NAMES}, settings=settings)


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for line in map(str.strip, file.read_text().splitlines()):
        found = re.fullmatch(r"([A-Z][A-Z0-9_]*)=(.*)", line)
        if found:
            yield found[1], found[2]
        elif line and not line.startswith("#"):
            raise TargetError(f"{file}: {line!r} is not NAME=value")
