"""Airflow's API server with the plugins of this repository, and people who may see more and less of it.

Started as a program: it makes an empty database in AIRFLOW_HOME, prints its port and a token for each person
as JSON, and serves until it is ended.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails

STRANGER: Final = "stranger"
PEOPLE: Final = {"viewer": "VIEWER", STRANGER: "VIEWER", "nobody": None}
SEEN_BY_STRANGERS: Final = "another_dag"


class DagByDag(SimpleAuthManager):
    """Airflow's simple auth manager, except that a stranger may see one DAG only."""

    def is_authorized_dag(
        self,
        *,
        user: SimpleAuthManagerUser,
        details: DagDetails | None = None,
        **kwargs: Any,  # noqa: ANN401  # the base class's
    ) -> bool:
        """Return whether a person may do something with a DAG, or with every DAG."""
        if user.username == STRANGER and (details is None or details.id != SEEN_BY_STRANGERS):
            return False
        return bool(super().is_authorized_dag(user=user, details=details, **kwargs))


def main() -> None:
    """Serve."""
    import uvicorn  # noqa: PLC0415  # Airflow imports this module for its auth manager
    from airflow import settings  # noqa: PLC0415  # as above
    from airflow.api_fastapi.app import create_app, get_auth_manager  # noqa: PLC0415  # as above
    from airflow.models import import_all_models  # noqa: PLC0415  # as above
    from airflow.models.base import Base  # noqa: PLC0415  # as above

    import_all_models()  # type: ignore[no-untyped-call]  # Airflow's
    Base.metadata.create_all(settings.engine)
    app = create_app(apps="core")
    tokens = {
        name: get_auth_manager().generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        for name, role in PEOPLE.items()
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(json.dumps({"port": listener.getsockname()[1], "tokens": tokens}), flush=True)  # noqa: T201  # what the test waits for
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
