"""The pages as routes of a Starlette application: GET only, all below `/console`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse
from starlette.routing import Route

from local_vertex.domain.errors import Code, InvalidArgument, NotFound, VertexError
from local_vertex.ui import formats
from local_vertex.ui.custom_jobs import custom_job_view
from local_vertex.ui.layout import NODE_HEIGHT, NODE_WIDTH
from local_vertex.ui.runs import picture
from local_vertex.ui.sources import log_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from local_vertex.api.messages import Message
    from local_vertex.ui.custom_jobs import CustomJobView
    from local_vertex.ui.runs import RunView, TaskView
    from local_vertex.ui.sources import Sources

PREFIX = "/console"
PAGE_SIZE = 50
_MOST_DIGITS = 9
_STATIC = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_NOT_SNIFFED = {"X-Content-Type-Options": "nosniff"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src 'self'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    **_NOT_SNIFFED,
}
_FOLDER = Path(__file__).parent / "static"
_IN_LOCATION = PREFIX + "/projects/{project}/locations/{location}"
_HTTP_STATUS = {Code.NOT_FOUND: 404, Code.PERMISSION_DENIED: 403}


class Pages:
    """Renders the resources that `Sources` reads."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._templates = Environment(
            loader=PackageLoader("local_vertex.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "prefix": PREFIX,
            "project": sources.region.project,
            "node_width": NODE_WIDTH,
            "node_height": NODE_HEIGHT,
        }
        self._templates.filters |= {
            "moment": formats.moment,
            "duration": formats.duration,
            "value": formats.value,
            "time_of": formats.time_of,
        }

    def routes(self) -> list[Route]:
        """Return the routes; anything else there is a page that says so."""
        return [
            self._page(PREFIX, self.runs),
            self._page(f"{PREFIX}/models", self.models),
            self._page(f"{PREFIX}/endpoints", self.endpoints),
            self._page(f"{PREFIX}/customJobs", self.custom_jobs),
            Route(PREFIX + "/static/{file}", _static),
            self._page(_IN_LOCATION + "/pipelineJobs/{id}", self.run),
            self._page(_IN_LOCATION + "/pipelineJobs/{id}/tasks/{task}", self.task),
            self._page(_IN_LOCATION + "/pipelineJobs/{id}/tasks/{task}/log", self.task_log),
            self._page(_IN_LOCATION + "/models/{id}", self.model),
            self._page(_IN_LOCATION + "/endpoints/{id}", self.endpoint),
            self._page(_IN_LOCATION + "/customJobs/{id}", self.custom_job),
            self._page(_IN_LOCATION + "/customJobs/{id}/log", self.custom_job_log),
            self._page(PREFIX + "/{path:path}", self.nothing),
        ]

    def _render(self, template: str, status: int = 200, **shown: object) -> Response:
        text = self._templates.get_template(template).render(**shown)
        return HTMLResponse(text, status, headers=_HEADERS)

    def _page(self, path: str, answer: Callable[[Request], Response]) -> Route:
        def page(request: Request) -> Response:
            try:
                return answer(request)
            except VertexError as error:
                return self._render("error.html", _HTTP_STATUS.get(error.code, 400), error=error)

        return Route(path, page)

    def runs(self, request: Request) -> Response:
        """Show the list of pipeline jobs."""
        text = request.query_params.get("start", "0")
        if not text.isdecimal() or len(text) > _MOST_DIGITS:
            raise InvalidArgument(
                f"start is '{text[:20]}'; expected a number of at most {_MOST_DIGITS} digits"
            )
        start = int(text)
        runs, total = self._sources.runs(start, PAGE_SIZE)
        return self._render("runs.html", runs=runs, start=start, total=total, page_size=PAGE_SIZE)

    def run(self, request: Request) -> Response:
        """Show one pipeline job: its graph, tasks and error."""
        job, run = self._sources.run(_name(request, "pipelineJobs"))
        return self._render("run.html", run=run, picture=picture(job, run), job=job)

    def task(self, request: Request) -> Response:
        """Show one task: its inputs, outputs, error and log."""
        run, task = self._find_task(request)
        return self._render("task.html", run=run, task=task, log=log_tail(task.record.log_path))

    def _find_task(self, request: Request) -> tuple[RunView, TaskView]:
        _, run = self._sources.run(_name(request, "pipelineJobs"))
        task = run.task(request.path_params["task"])
        if task is None:
            raise NotFound(f"run '{run.job_id}' has no task '{request.path_params['task']}'")
        return run, task

    def task_log(self, request: Request) -> Response:
        """Show the whole log of a task."""
        return _log(self._find_task(request)[1].record.log_path)

    def models(self, _request: Request) -> Response:
        """Show the list of models."""
        models = self._sources.models.all(self._sources.location)
        return self._render(
            "models.html", models=[(each, self._sources.versions(each.name)) for each in models]
        )

    def model(self, request: Request) -> Response:
        """Show the versions of a model, and where they are deployed."""
        versions = self._sources.versions(_name(request, "models"))
        placed = [(version, self._sources.endpoints_of(version)) for version in versions]
        return self._render("model.html", model=versions[0], versions=placed)

    def endpoints(self, _request: Request) -> Response:
        """Show the list of endpoints."""
        endpoints = self._sources.endpoints.all(self._sources.location)
        return self._render(
            "endpoints.html", endpoints=[(each, self._sources.shares(each)) for each in endpoints]
        )

    def endpoint(self, request: Request) -> Response:
        """Show an endpoint with the shares of its traffic."""
        endpoint = self._sources.endpoint(_name(request, "endpoints"))
        return self._render("endpoint.html", endpoint=endpoint, shares=self._sources.shares(endpoint))

    def custom_jobs(self, _request: Request) -> Response:
        """Show the newest custom jobs."""
        jobs = self._sources.custom_jobs.all(self._sources.location)[:PAGE_SIZE]
        return self._render("custom_jobs.html", jobs=[self._custom_row(job) for job in jobs])

    def _custom_row(self, job: Message) -> CustomJobView:
        return custom_job_view(job, self._sources.region.clock())

    def custom_job(self, request: Request) -> Response:
        """Show one custom job with its log."""
        view = self._custom_row(self._sources.custom_job(_name(request, "customJobs")))
        return self._render("custom_job.html", view=view, log=log_tail(view.log_path))

    def custom_job_log(self, request: Request) -> Response:
        """Show the whole log of a custom job."""
        return _log(self._custom_row(self._sources.custom_job(_name(request, "customJobs"))).log_path)

    def nothing(self, request: Request) -> Response:
        """Refuse an address below the prefix that no page has; raises NotFound."""
        raise NotFound(f"'{request.url.path}' is not a page of the local Vertex AI")


def _name(request: Request, collection: str) -> str:
    fields = request.path_params
    return f"projects/{fields['project']}/locations/{fields['location']}/{collection}/{fields['id']}"


def _log(path: Path | None) -> Response:
    if path is None or not path.is_file():
        return PlainTextResponse("There is no log.\n", 404)
    return FileResponse(path, media_type="text/plain; charset=utf-8", headers=_HEADERS)


def _static(request: Request) -> Response:
    file = request.path_params["file"]
    if file not in _STATIC:
        return PlainTextResponse("There is no such file.\n", 404)
    return FileResponse(
        _FOLDER / file, media_type=_STATIC[file], headers={"Cache-Control": "max-age=60", **_NOT_SNIFFED}
    )
