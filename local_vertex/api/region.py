"""One project in one region: the names, clock and storage that every service needs for its resources."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_vertex.domain.clock import utc_now
from local_vertex.domain.past import NO_LAGS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from local_vertex.domain.names import Project
    from local_vertex.domain.past import Lags
    from local_vertex.store import Store

PROJECT_NUMBER = "123456789012"


def random_id() -> str:
    """Return an id of the form that Vertex AI gives: 19 digits, no leading zero."""
    return str(10**18 + secrets.randbelow(9 * 10**18))


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """The project and region that are served, with their store, clock, lags and source of ids."""

    project: Project
    store: Store
    clock: Callable[[], datetime] = utc_now
    new_id: Callable[[], str] = random_id
    lags: Lags = NO_LAGS

    def canonical(self, name: str) -> str:
        """Return a resource name with the project's number; raises as `Project.canonical`."""
        return self.project.canonical(name)

    def parent(self, name: str) -> str:
        """Return the canonical location `name`, the parent of a new or listed resource."""
        canonical = self.canonical(name)
        if canonical != str(self.project.location):
            self.project.location.parse(canonical)
        return canonical
