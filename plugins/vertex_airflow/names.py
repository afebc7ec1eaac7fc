"""Full resource names on Vertex AI, as frozen types. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self


class ResourceNameError(ValueError):
    """A string is not the resource name that it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceName:
    """A Vertex AI resource, ``projects/<project>/locations/<location>/<collection>/<id>``."""

    collection: ClassVar[str]

    project: str
    location: str
    id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a full resource name.

        Raises:
            ResourceNameError: if the string names another kind of resource, or none.

        """
        project, location, identity = _name_parts(cls.collection, text)
        return cls(project=project, location=location, id=identity)

    @property
    def parent(self) -> str:
        """The location that the resource is in."""
        return f"projects/{self.project}/locations/{self.location}"

    def __str__(self) -> str:
        """Return the full resource name."""
        return f"{self.parent}/{self.collection}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJobName(ResourceName):
    """A run of a pipeline."""

    collection: ClassVar[str] = "pipelineJobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName(ResourceName):
    """A model of the registry, at one of its versions or aliases where `version` is not None."""

    collection: ClassVar[str] = "models"

    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of ``projects/…/models/<id>`` or ``projects/…/models/<id>@<version or alias>``.

        Raises:
            ResourceNameError: if the string names another kind of resource, or none.

        """
        unversioned, at, version = text.partition("@")
        if at and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,126}", version):
            raise ResourceNameError(
                f"{text!r} has no version after the @; write <id>@<number> or <id>@<alias>"
            )
        project, location, identity = _name_parts(cls.collection, unversioned)
        return cls(project=project, location=location, id=identity, version=version or None)

    @property
    def unversioned(self) -> ModelName:
        """The model itself."""
        return ModelName(project=self.project, location=self.location, id=self.id)

    def is_version(self, other: ModelName) -> bool:
        """Return whether two names mean one version.

        The project is not compared: Vertex AI answers with a project's number where the request has its id.
        """
        return self.is_model(other) and self.version == other.version

    def is_model(self, other: ModelName) -> bool:
        """Return whether two names mean versions of one model."""
        return (self.location, self.id) == (other.location, other.id)

    def __str__(self) -> str:
        """Return the full resource name, with the version where there is one."""
        name = f"{self.parent}/{self.collection}/{self.id}"
        return name if self.version is None else f"{name}@{self.version}"


def _name_parts(collection: str, text: str) -> tuple[str, str, str]:
    found = re.fullmatch(rf"projects/([^/]+)/locations/([^/]+)/{collection}/([A-Za-z0-9._-]{{1,128}})", text)
    if found is None:
        raise ResourceNameError(
            f"{text!r} is not a name of {collection}; "
            f"write projects/<project>/locations/<location>/{collection}/<id>"
        )
    return found[1], found[2], found[3]
