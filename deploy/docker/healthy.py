"""Health check of a container: `healthy.py URL [COMPONENT]` exits with 0 if the server answers below 500.

With a component of Airflow, the URL is that of `/api/v2/monitor/health`, which must report its heartbeat.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

_SECONDS = 5


def is_healthy(url: str, component: str | None) -> bool:
    """Send one request and judge the answer."""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  # written in the compose file
            body = answer.read()
    except urllib.error.HTTPError as error:
        return component is None and error.code < HTTPStatus.INTERNAL_SERVER_ERROR
    except OSError:
        return False
    return component is None or json.loads(body)[component]["status"] == "healthy"


if __name__ == "__main__":
    sys.exit(not is_healthy(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))  # noqa: PLR2004
