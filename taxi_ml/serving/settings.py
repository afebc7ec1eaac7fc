"""The environment variables that Vertex AI sets for a serving container.

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PORT: Final = 65_535


class ServingSettingsError(ValueError):
    """The environment lacks a model to serve; the message names the variable and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """The addresses of the model and the server; port 0 takes any free one."""

    storage_uri: str
    host: str
    port: int
    health_route: str
    predict_route: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read the AIP_ variables.

        A container listens on all its addresses; set SERVING_HOST to narrow that outside of one.

        Raises:
            ServingSettingsError: for a missing AIP_STORAGE_URI, and an invalid port or route.

        """
        storage_uri = environ.get("AIP_STORAGE_URI", "")
        if not storage_uri:
            raise ServingSettingsError("AIP_STORAGE_URI is not set; give the folder of a SavedModel")
        return cls(
            storage_uri=storage_uri.rstrip("/"),
            host=environ.get("SERVING_HOST", "0.0.0.0"),  # noqa: S104  # a container's network is its own
            port=_port(environ.get("AIP_HTTP_PORT", "8080")),
            health_route=_route(environ, "AIP_HEALTH_ROUTE", "/health"),
            predict_route=_route(environ, "AIP_PREDICT_ROUTE", "/predict"),
        )


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > _MAX_PORT:
        raise ServingSettingsError(f"AIP_HTTP_PORT is {text!r}; give a port up to {_MAX_PORT}")
    return int(text)


def _route(environ: Mapping[str, str], name: str, default: str) -> str:
    route = environ.get(name, default)
    if not route.startswith("/"):
        raise ServingSettingsError(f"{name} is {route!r}; begin it with a slash")
    return route
