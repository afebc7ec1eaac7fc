"""Reads from Airflow's REST API whether it has parsed the files of a deployment.

`gcloud composer environments run … dags` would do the same, but current releases of gcloud refuse it for
Airflow 3.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deploy.composer.shell import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The limit of the wait for Airflow, which reads new files from the bucket only periodically."""

    attempts: int = 30
    seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowApi:
    """Airflow's API at `uri`, called with an access token of the account that deploys."""

    uri: str
    token: str

    def wait_parsed(
        self, dag_id: str, since: datetime, *, patience: Patience, say: Callable[[str], None]
    ) -> None:
        """Wait until Airflow has parsed the DAG, later than `since` and without an import error.

        Raises:
            CommandError: it has not in time; each file that cannot be imported is printed.

        """
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.seconds)
            dag = self._get(f"dags/{dag_id}")
            told = dag.get("last_parsed_time")
            parsed = datetime.fromisoformat(told).astimezone(UTC) if told else None
            say(f"{dag_id} was last parsed {parsed or 'never'}")
            if parsed and parsed >= since and not dag.get("has_import_errors"):
                return
        errors = self._get("importErrors").get("import_errors", [])
        for each in errors:
            say(f"{each['filename']}:\n{each['stack_trace']}")
        raise CommandError(
            f"Airflow has not parsed {dag_id} since the files were copied (files that cannot be "
            f"imported: {len(errors)}); fix the errors printed above, or deploy the last good commit"
        )

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  # Composer's own address
            f"{self.uri}/api/v2/{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  # as above
                document: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:  # noqa: PLR2004  # Not Found: Airflow does not know the DAG yet
                return {}
            raise CommandError(f"{request.full_url} answered {error.code} {error.reason}") from error
        except OSError as error:
            raise CommandError(f"{request.full_url} cannot be reached: {error}") from error
        return document
