"""The app that serves the pages, behind Airflow's login and the permissions of the DAG."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002  # FastAPI reads the annotations
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag
from airflow.models.dagrun import DagRun
from fastapi import Depends, FastAPI, Request, Response  # noqa: TC002  # as above
from fastapi.responses import FileResponse, HTMLResponse
from sqlalchemy import select

from taxi_airflow.page.folders import Folders
from taxi_airflow.runs import CONNECTION
from taxi_ml.record import page
from vertex_airflow.hooks.vertex import VertexHook
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from taxi_airflow.page.folders import FoundRun
    from taxi_ml.record.run import RunRecord
    from taxi_ml.record.track import TrackRecord

Read = TypeVar("Read")

_log = logging.getLogger(__name__)

_COMMON: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ONLY_OURS: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
# The card is a document from the bucket: it may have a style, and runs nothing.
_ONLY_SHOWN: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'; sandbox"
)
_ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript"}


class UnreadableError(Exception):
    """The documents cannot be read; the message is for the person who looks at the page."""


def build() -> FastAPI:
    """Return the app. A request without a login gets 401 from every route, before anything is read."""
    # No documentation of the API: its routes would not ask for a login.
    app = FastAPI(
        title="Taxi fares", openapi_url=None, docs_url=None, redoc_url=None, dependencies=[Depends(get_user)]
    )
    app.state.folders = None
    # What Airflow asks of a person who looks at a run of the DAG named in the path.
    permitted = [Depends(requires_access_dag("GET", DagAccessEntity.RUN))]
    app.add_exception_handler(UnreadableError, _unreadable)
    app.get("/dags/{dag_id}", dependencies=permitted)(_track)
    app.get("/dags/{dag_id}/cards/{run_id:path}", dependencies=permitted)(_card)
    app.get("/dags/{dag_id}/runs/{run_id:path}", dependencies=permitted)(_run)
    app.get("/{name}")(_asset)
    return app


# These functions block, so that Starlette calls them in a thread.


def _asset(name: str) -> Response:
    if name not in _ASSETS:
        return Response(status_code=404, headers=_COMMON)
    return FileResponse(page.FOLDER / name, media_type=_ASSETS[name], headers=_COMMON)


def _track(request: Request, dag_id: str) -> Response:
    def track() -> TrackRecord:
        return _folders(request).track(_store(), dag_id)

    found = _read(track)
    here = _path(request, "dags", dag_id)
    return _page(
        page.render_track(
            found, assets=_path(request), page_of=lambda run_id: f"{here}/runs/{quote(run_id, safe='')}"
        )
    )


def _run(request: Request, dag_id: str, run_id: str, session: SessionDep) -> Response:
    state = session.scalar(select(DagRun.state).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
    assets, track = _path(request), _path(request, "dags", dag_id)
    found = _found(request, dag_id, run_id)
    if found is None:
        message = (
            f"There is no run {run_id} of {dag_id}."
            if state is None
            else f"The run {run_id} of {dag_id} is {state}, and has not written anything about a model."
        )
        content = page.render_absence(message, assets=assets, track=track)
        return _page(content, status_code=404 if state is None else 200)
    card = _path(request, "dags", dag_id, "cards", run_id) if found.card else ""
    return _page(
        page.render_run(
            found.record,
            assets=assets,
            track=track,
            links=_links(found.record, card),
            state=str(state or ""),
        )
    )


def _card(request: Request, dag_id: str, run_id: str) -> Response:
    found = _found(request, dag_id, run_id)
    if found is None or not found.card:
        return Response(status_code=404, headers=_COMMON)
    content = _read(lambda: _store().read(found.card))
    return HTMLResponse(content, headers={**_COMMON, "Content-Security-Policy": _ONLY_SHOWN})


def _links(record: RunRecord, card: str) -> tuple[page.Link, ...]:
    hook = VertexHook(region=record.run.region, gcp_conn_id=CONNECTION)
    rollout = record.rollout
    resources = (
        ("Pipeline job", record.job),
        ("Model version", rollout.model if rollout else ""),
        ("Endpoint", rollout.endpoint if rollout else ""),
    )
    found = [page.Link(name="Model card", url=card, leaves=False)] if card else []
    found += [page.Link(name=name, url=hook.page(resource)) for name, resource in resources if resource]
    return tuple(found)


def _found(request: Request, dag_id: str, run_id: str) -> FoundRun | None:
    return _read(lambda: _folders(request).find(_store(), dag_id, run_id))


def _folders(request: Request) -> Folders:
    if request.app.state.folders is None:
        bucket = os.environ.get("TAXI_BUCKET", "")
        if not bucket.startswith("gs://"):
            raise UnreadableError(
                f"TAXI_BUCKET is {bucket!r} for Airflow's API server; set it to gs://<bucket>, as for its "
                "other parts"
            )
        request.app.state.folders = Folders(bucket)
    folders: Folders = request.app.state.folders
    return folders


def _store() -> ObjectStore:
    return ObjectStore(gcp_conn_id=CONNECTION)


def _read(read: Callable[[], Read]) -> Read:
    """Return what `read` returns; whatever goes wrong with the bucket is said on the page."""
    try:
        return read()
    except UnreadableError:
        raise
    except Exception as error:
        _log.exception("The page of a run cannot be made")
        raise UnreadableError(
            f"The documents of the run cannot be read: {type(error).__name__}: {error}. The account of "
            "Airflow's API server needs to list and read the objects of the bucket"
        ) from error


def _unreadable(request: Request, error: Exception) -> Response:
    dag_id = str(request.path_params.get("dag_id", ""))
    track = _path(request, "dags", dag_id)
    content = page.render_absence(str(error), assets=_path(request), track=track)
    return _page(content, status_code=502)


def _path(request: Request, *parts: str) -> str:
    """Return a URL path below the app, with the prefix under which Airflow and a proxy serve it."""
    return "/".join((request.scope.get("root_path", ""), *(quote(part, safe="") for part in parts)))


def _page(content: str, *, status_code: int = 200) -> Response:
    headers = {**_COMMON, "Content-Security-Policy": _ONLY_OURS}
    return HTMLResponse(content, status_code=status_code, headers=headers)
