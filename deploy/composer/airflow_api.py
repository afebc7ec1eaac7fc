"""Asks Airflow's REST API how it gets on with the files of a deployment.

`gcloud composer environments run … dags` would do, but releases of gcloud that are around refuse it for
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
    """How long Airflow may take to read new files: it looks at the bucket only now and then."""

    attempts: int = 30
    seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowApi:
    """Airflow's API at `uri`, asked with an access token as the account that deploys."""

    uri: str
    token: str

    def wait_parsed(
        self, dag_id: str, since: datetime, *, patience: Patience, say: Callable[[str], None]
    ) -> None:
        """Return when Airflow has parsed the DAG after `since` without an error of import.

        Raises:
            CommandError: when it does not; it names each file that cannot be imported.

        """
        for attempt in range(patience.attempts):
            if attempt:
                time.sleep(patience.seconds)
            dag = self._get(f"dags/{dag_id}")
            parsed = _moment(dag.get("last_parsed_time"))
            say(f"{dag_id} was last parsed {parsed or 'never'}")
            if parsed and parsed >= since and not dag.get("has_import_errors"):
                return
        errors = self._get("importErrors").get("import_errors", [])
        for each in errors:
            say(f"{each['filename']}:\n{each['stack_trace']}")
        raise CommandError(
            f"Airflow has not parsed {dag_id} since the files were copied, {len(errors)} files cannot be "
            "imported; mend what is named above, or deploy the last good commit"
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


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
