"""Resource names of Vertex AI as types: parsed once at the door, printed in one way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from local_vertex.domain.errors import InvalidArgument, PermissionDenied

_LOCATION = re.compile(r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)")
_MODEL_ID = re.compile(r"[^/@]+")
# A bucket's name has 3 to 63 characters; one with dots has up to 222, and up to 63 between two dots.
_BUCKET_PART = "[-_a-z0-9]{1,63}"
_GCS_URI = re.compile(rf"gs://(?=[a-z0-9][^/]{{1,220}}[a-z0-9](/|$)){_BUCKET_PART}(\.{_BUCKET_PART})*(/.*)?")


def check_gcs_uri(field: str, uri: str) -> None:
    """Raise InvalidArgument when `uri`, the value of a request's `field`, is not gs://BUCKET[/PATH].

    Names of buckets: https://cloud.google.com/storage/docs/buckets#naming. A path cannot lead out of its
    bucket, which is a folder of this machine.
    """
    if not _GCS_URI.fullmatch(uri) or "/../" in f"{uri}/":
        raise InvalidArgument.of(field, f"'{uri}' is not a Cloud Storage URI; expected gs://BUCKET[/PATH]")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocationName:
    """`projects/{project}/locations/{location}`, the parent of everything else."""

    project: str
    location: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidArgument."""
        match = _LOCATION.fullmatch(text)
        if match is None:
            raise InvalidArgument(f"'{text}' is not a location; expected projects/PROJECT/locations/LOCATION")
        return cls(**match.groupdict())

    def __str__(self) -> str:
        """Print the name as the API does."""
        return f"projects/{self.project}/locations/{self.location}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceName:
    """`projects/{project}/locations/{location}/{collection}/{id}`; one subclass for each collection."""

    collection: ClassVar[str]

    parent: LocationName
    id: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidArgument that shows the expected form."""
        parent, _, rest = text.partition(f"/{cls.collection}/")
        if not rest or "/" in rest or _LOCATION.fullmatch(parent) is None:
            raise InvalidArgument(
                f"'{text}' is not a resource name; "
                f"expected projects/PROJECT/locations/LOCATION/{cls.collection}/ID"
            )
        return cls(parent=LocationName.parse(parent), id=rest)

    def __str__(self) -> str:
        """Print the name as the API does."""
        return f"{self.parent}/{self.collection}/{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineJobName(ResourceName):
    """Name of a PipelineJob; its id is chosen by the client or by the server."""

    collection = "pipelineJobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomJobName(ResourceName):
    """Name of a CustomJob; its id is always chosen by the server."""

    collection = "customJobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointName(ResourceName):
    """Name of an Endpoint."""

    collection = "endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataStoreName(ResourceName):
    """Name of a MetadataStore."""

    collection = "metadataStores"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName(ResourceName):
    """Name of a Model, optionally of one of its versions: `…/models/{id}[@{version id or alias}]`."""

    collection = "models"

    version: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the name, or raise InvalidArgument that shows the expected form."""
        unversioned, at, version = text.partition("@")
        name = super(ModelName, cls).parse(unversioned)
        if not _MODEL_ID.fullmatch(name.id) or (at and not version):
            raise InvalidArgument(f"'{text}' is not a model; expected …/models/ID or …/models/ID@VERSION")
        return replace(name, version=version)

    @property
    def unversioned(self) -> Self:
        """The name of the model itself."""
        return replace(self, version="")

    def __str__(self) -> str:
        """Print the name as the API does, with the version if it has one."""
        suffix = f"@{self.version}" if self.version else ""
        return f"{self.parent}/{self.collection}/{self.id}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The one project of this local cloud, known by its id and by its number, in one region."""

    id: str
    number: str
    region: str

    @property
    def location(self) -> LocationName:
        """The parent of all resources, spelled as the API answers: with the project's number."""
        return LocationName(project=self.number, location=self.region)

    def canonical(self, text: str) -> str:
        """Return the resource name `text` with the project's number.

        Raises PermissionDenied for another project and InvalidArgument for another region.
        """
        match = _LOCATION.match(text)
        if match is None:
            raise InvalidArgument(f"'{text}' is not a resource name; expected projects/PROJECT/locations/…")
        self._check(match["project"], match["location"])
        return f"{self.location}{text[match.end() :]}"

    def _check(self, project: str, location: str) -> None:
        if project not in (self.id, self.number):
            raise PermissionDenied(
                f"project '{project}' is not on this machine; the local one is '{self.id}' ({self.number})"
            )
        if location != self.region:
            raise InvalidArgument(
                f"location '{location}' is not served here; this endpoint serves '{self.region}'"
            )
