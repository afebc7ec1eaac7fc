"""Locations and Resource Manager's projects: what clients look up before they begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import resourcemanager_v3
from google.cloud.location import locations_pb2

from local_vertex.domain.errors import PermissionDenied

if TYPE_CHECKING:
    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region


class LocationService:
    """Answers google.cloud.location.Locations: the one region that is served."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def get_location(self, request: Message) -> Message:
        """Answer GetLocation."""
        self._region.parent(request.name)
        return self._location()

    def list_locations(self, request: Message) -> Message:
        """Answer ListLocations."""
        self._region.canonical(f"{request.name}/locations/{self._region.project.region}")
        return locations_pb2.ListLocationsResponse(locations=[self._location()])

    def _location(self) -> Message:
        project = self._region.project
        return locations_pb2.Location(
            name=f"projects/{project.id}/locations/{project.region}", location_id=project.region
        )


class ProjectService:
    """Answers google.cloud.resourcemanager.v3.Projects: the one project that is served."""

    def __init__(self, region: Region) -> None:
        self._region = region

    def get_project(self, request: Message) -> Message:
        """Answer GetProject, by id or number."""
        project = self._region.project
        if request.name.removeprefix("projects/") not in (project.id, project.number):
            raise PermissionDenied(
                f"'{request.name}' is not on this machine; the local project is '{project.id}'"
            )
        return resourcemanager_v3.Project.pb()(
            name=f"projects/{project.number}",
            project_id=project.id,
            display_name=project.id,
            state=int(resourcemanager_v3.Project.State.ACTIVE),
        )
