"""Requests exactly as written, which no well-behaved client sends."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


def send(
    url: str, request_line: str, headers: Mapping[str, str] | None = None, body: str | None = None
) -> tuple[int, dict[str, str], str]:
    """Send `VERB target` to `url`; return status, headers (lower case) and body of the answer."""
    verb, target = request_line.split(" ", 1)
    place = urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
    try:
        connection.request(verb, target, body, dict(headers or {}))
        answer = connection.getresponse()
        found = {key.lower(): value for key, value in answer.getheaders()}
        return answer.status, found, answer.read().decode("utf-8", "replace")
    finally:
        connection.close()
