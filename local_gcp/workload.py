"""Additions of the repository around the local cloud, read from ``local_gcp.toml``.

The local cloud itself is generic: the data in BigQuery, more variables for clients and the image that jobs
name are the repository's.
"""

from __future__ import annotations

import pkgutil
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from local_gcp.errors import LocalCloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

FILE_NAME: Final = "local_gcp.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """The images that the pipeline environment stands for, and the arguments that print their labels."""

    pattern: str
    labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Everything in the file; empty without one."""

    image: Image | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    fill_bigquery: str = ""

    def __post_init__(self) -> None:
        """Refuse values that no process could get as a variable.

        Raises:
            TypeError: a value in the environment is not a string.

        """
        for name, value in self.environment.items():
            if not isinstance(value, str):
                raise TypeError(f"environment: {name} is {value!r}, which is not a string; quote it")

    def bigquery_filler(self) -> Callable[..., None] | None:
        """Import the function that fills BigQuery, which is called as a declaration's `fill`.

        Raises:
            LocalCloudError: there is no such function.

        """
        if not self.fill_bigquery:
            return None
        try:
            found: Callable[..., None] = pkgutil.resolve_name(self.fill_bigquery)
        except (ImportError, AttributeError, ValueError) as error:
            raise LocalCloudError(
                f"{FILE_NAME}: fill_bigquery is {self.fill_bigquery!r}, which cannot be imported: {error}"
            ) from error
        return found


def read(repository: Path) -> Workload:
    """Read the file of a repository.

    Raises:
        LocalCloudError: the file is not valid TOML, or has a key that is unknown or missing.

    """
    file = repository / FILE_NAME
    try:
        document: dict[str, Any] = tomllib.loads(file.read_text())
        image = document.pop("image", None)
        return Workload(image=image and Image(**image), **document)
    except FileNotFoundError:
        return Workload()
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise LocalCloudError(f"{file}: {error}") from error
