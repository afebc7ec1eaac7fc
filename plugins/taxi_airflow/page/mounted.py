"""What the plugin mounts: the page's app, imported by the first request.

Every process of Airflow loads the plugins, and only the API server needs FastAPI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping


class MountedPage:
    """An ASGI app that hands over to `taxi_airflow.page.app`."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if self._app is None:
            from taxi_airflow.page.app import build  # noqa: PLC0415  # see above

            self._app = build()
        await self._app(scope, receive, send)
