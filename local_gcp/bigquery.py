"""BigQuery on this machine: bqemulator, adapted where pipelines depend on the real service's behavior.

Run as ``python -m local_gcp.bigquery``. Beyond bqemulator 1.4:

- DuckDB's extensions are loaded from installed packages; nothing is downloaded;
- an exported file becomes an object of Cloud Storage atomically, before the job is DONE;
- EXPORT DATA to a missing bucket, or to a URI without a wildcard, is an error;
- a job id can be used once; the second time is 409, Already Exists;
- a job keeps its whole configuration, including labels;
- if the emulator itself fails, the job is refused at once: a client would retry a 500 for minutes;
- columns keep the case of their names in results, tables and exported files;
- a dry run returns how many bytes the query would read, and does not run it;
- SQL can access no files but those of Cloud Storage, and web pages have no access (see `guard`).
"""

from __future__ import annotations

import argparse
import importlib.util
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import bqemulator.server
import duckdb
from bqemulator.api.dependencies import AppContext, get_caller, get_context  # noqa: TC002  # see JobDoor
from bqemulator.api.routes import jobs
from bqemulator.config import LogFormat, LogLevel, PersistenceMode, Settings
from bqemulator.domain.errors import (
    AlreadyExistsError,
    DomainError,
    InvalidQueryError,
    NotFoundError,
    ValidationError,
)
from bqemulator.jobs import executor
from bqemulator.observability.logging_ import get_logger
from bqemulator.row_access.identity import CallerIdentity  # noqa: TC002
from bqemulator.sql import translator
from bqemulator.storage.engine import DuckDBEngine
from fastapi import Depends, FastAPI, Request  # noqa: TC002
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.qualify import qualify

from local_gcp import sql_guard
from local_gcp.ports import HOST
from local_gcp.query_bytes import bytes_read
from local_vertex import gcs_objects
from local_vertex.guard import Guard, addresses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType

    from sqlglot.expressions import Expression

_INSERT_JOB: Final = "/bigquery/v2/projects/{project_id}/jobs"
_OBJECTS_OF_A_JOB: Final = ("jobReference", "configuration")
_FIRST_SHARD: Final = "000000000000"
_CASE_KEPT: Final = "duckdb, normalization_strategy=case_sensitive"
_log = get_logger(__name__)
_Caller = Depends(get_caller)
_Context = Depends(get_context)


class OfflineEngine(DuckDBEngine):
    """The emulator's engine with extensions from Python packages, restricted to its own folders."""

    async def start(self) -> None:
        """Open the database, then deny access to all other files permanently."""
        await super().start()
        quoted = [str(folder.resolve()).replace("'", "''") for folder in _folders(self._settings)]
        folders = ", ".join(f"'{folder}'" for folder in quoted)
        self.execute(f"SET allowed_directories = [{folders}]")
        self.execute("SET enable_external_access = false")
        self.execute("SET lock_configuration = true")

    def execute(self, sql: str, parameters: list[Any] | None = None) -> duckdb.DuckDBPyConnection:
        """Check and run DuckDB's SQL, which the emulator translates from statements, views and scripts."""
        sql_guard.check(sql)
        return super().execute(sql, parameters)

    def _load_spatial(self) -> None:
        self.connection.execute(f"LOAD '{_extension('spatial')}'")

    def _load_format_extensions(self) -> None:
        self.connection.execute(f"LOAD '{_extension('avro')}'")


class ExportPublisher:
    """Writes an exported file to a staging folder and moves it into its bucket as a complete object."""

    def __init__(self, *, root: Path, staging: Path, copy: Callable[..., None]) -> None:
        self._root = root
        self._staging = staging
        self._copy = copy

    def copy_relation_to_file(
        self,
        relation_sql: str,
        dest_path: str,
        fmt: str,
        ctx: AppContext,
        **options: Any,  # noqa: ANN401  # passed through
    ) -> None:
        """Stand in for the function of the same name in bqemulator's executor."""
        target = Path(dest_path.replace("*", _FIRST_SHARD))
        require_bucket(self._root, target.relative_to(self._root).parts[0])
        self._staging.mkdir(parents=True, exist_ok=True)
        staged = self._staging / f"{uuid.uuid4().hex}{target.suffix}"
        try:
            with sql_guard.exporting():
                self._copy(relation_sql, str(staged), fmt, ctx, **options)
            gcs_objects.publish(staged, target)
        finally:
            staged.unlink(missing_ok=True)


class JobDoor:
    """Accepts jobs: each id of a project once, with its whole configuration, and without a 500.

    FastAPI reads the types of ``insert_job`` when the server starts.
    """

    def __init__(self) -> None:
        self._running: set[tuple[str, str]] = set()

    async def insert_job(
        self,
        project_id: str,
        request: Request,
        ctx: AppContext = _Context,
        caller: CallerIdentity = _Caller,
    ) -> dict[str, Any]:
        """Answer jobs.insert: 409 for a job id that was used before, else the job as bqemulator ran it."""
        body = await request.json()
        if not (_is_object(body) and all(_is_object(body.get(key, {})) for key in _OBJECTS_OF_A_JOB)):
            raise ValidationError(f"Invalid value: a job and its {_OBJECTS_OF_A_JOB} must be JSON objects")
        job_id = body.get("jobReference", {}).get("jobId")
        key = (project_id, str(job_id))
        if job_id and (key in self._running or ctx.catalog.get_job(project_id, job_id)):
            raise AlreadyExistsError(f"Already Exists: Job {project_id}:US.{job_id}")
        self._running.add(key)
        try:
            job = await _run(project_id, request, ctx, caller)
        finally:
            self._running.discard(key)
        _keep_configuration(ctx, project_id, job, body["configuration"])
        if body["configuration"].get("dryRun"):
            statement = job["configuration"].get("query", {}).get("query", "")
            read = str(bytes_read(ctx.engine, statement, project_id))
            job["statistics"]["totalBytesProcessed"] = read
            job["statistics"].setdefault("query", {})["totalBytesProcessed"] = read
        return job


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


async def _run(project_id: str, request: Request, ctx: AppContext, caller: CallerIdentity) -> dict[str, Any]:
    try:
        return await jobs.insert_job(project_id, request, ctx, caller)
    except DomainError:
        raise
    except Exception as error:
        _log.exception("job.failed", project=project_id)
        raise InvalidQueryError(
            f"The local BigQuery cannot run this job: {type(error).__name__}: {error}"
        ) from error


def _keep_configuration(
    ctx: AppContext, project_id: str, job: dict[str, Any], configuration: dict[str, Any]
) -> None:
    """Store the request's configuration, of which bqemulator keeps only the SQL; a dry run leaves no job."""
    job_id = job["jobReference"]["jobId"]
    if configuration.get("dryRun"):
        ctx.catalog.delete_job(project_id, job_id)
    elif stored := ctx.catalog.get_job(project_id, job_id):
        ctx.catalog.upsert_job(stored.model_copy(update={"configuration": configuration}))


def _without_rows(
    answer: Callable[..., Awaitable[dict[str, Any]]],
) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Limit a dry run to no rows: bqemulator runs the whole query to learn its columns."""

    async def answered(*, bq_sql: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401  # passed through
        is_query = executor.classify_statement_type(bq_sql) == "SELECT"
        asked = f"SELECT * FROM (\n{bq_sql}\n) LIMIT 0" if is_query else bq_sql  # noqa: S608  # the caller's own
        return await answer(bq_sql=asked, **options)

    return answered


def require_bucket(root: Path, bucket: str) -> None:
    """Raise NotFoundError if Cloud Storage has no such bucket."""
    if not (root / bucket).is_dir():
        raise NotFoundError(f"Not found: Bucket {bucket}")


def check_export_uri(root: Path, uri: str) -> None:
    """Raise the real service's error for a destination that it refuses."""
    bucket, _, path = uri.removeprefix("gs://").partition("/")
    if path.count("*") != 1:
        raise InvalidQueryError(f"Option 'uri' value must be a wild card URI, with one '*': {uri}")
    require_bucket(root, bucket)


def qualify_keeping_case(query: Expression, **options: Any) -> Expression:  # noqa: ANN401  # SQLGlot's options
    """Stand in for SQLGlot's `qualify`, which lowercases all names for DuckDB.

    A query that spells a column in two ways is still qualified in lower case.
    """
    try:
        return qualify(query.copy(), **{**options, "dialect": _CASE_KEPT})
    except OptimizeError:
        return qualify(query, **options)


def serve(settings: Settings, allowed: frozenset[str]) -> None:
    """Serve until SIGTERM or SIGINT; `allowed` are the addresses of REST."""
    root, exports, _ = _folders(settings)
    publisher = ExportPublisher(
        root=root, staging=exports, copy=_replaceable(executor, "_copy_relation_to_file")
    )
    _replace(executor, "_copy_relation_to_file", publisher.copy_relation_to_file)
    _replace(executor, "write_export", _checked_export(root, executor.write_export))
    _replace(bqemulator.server, "DuckDBEngine", OfflineEngine)
    _replace(translator, "qualify", qualify_keeping_case)
    _replace(jobs, "_dry_run_response", _without_rows(_replaceable(jobs, "_dry_run_response")))
    create_app = _replaceable(bqemulator.server, "create_app")
    _replace(bqemulator.server, "create_app", _guarded(create_app, allowed))
    bqemulator.server.run_forever(settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m local_gcp.bigquery", description=__doc__)
    parser.add_argument("--host", default=HOST, help="address to listen on (%(default)s)")
    parser.add_argument("--rest-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="the database, kept between runs")
    parser.add_argument("--gcs-root", type=Path, required=True, help="folder that Cloud Storage serves")
    parser.add_argument("--project", required=True)
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST:PORT", help="another address of REST"
    )
    options = parser.parse_args(arguments)
    serve(_settings(options), addresses(options.rest_port, options.allow_host))


def _folders(settings: Settings) -> tuple[Path, Path, Path]:
    """Return the folders that SQL may use: Cloud Storage's root, staged exports and uploads."""
    root, folder, uploads = settings.gcs_local_root, settings.data_dir, settings.upload_staging_dir
    if root is None or folder is None or uploads is None:
        raise ValueError("gcs_local_root, data_dir and upload_staging_dir must be set")
    return root, folder / "exports", uploads


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        rest_host=options.host,
        rest_port=options.rest_port,
        grpc_host=options.host,
        grpc_port=options.grpc_port,
        persistence_mode=PersistenceMode.PERSISTENT,
        data_dir=options.folder,
        upload_staging_dir=options.folder / "uploads",
        gcs_local_root=options.gcs_root,
        default_project_id=options.project,
        log_format=LogFormat.JSON,
        log_level=LogLevel.INFO,
    )


def _extension(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package duckdb-extension-{name} is not installed; run `make setup`")
    folder = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}"
    return folder / f"{name}.duckdb_extension"


def _replaceable(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function of the emulator; raise AttributeError if this version does not have it."""
    found: Callable[..., Any] = getattr(module, name)
    return found


def _replace(module: ModuleType, name: str, replacement: Callable[..., Any]) -> None:
    """Replace a function or class of the emulator, which does not accept these parts as arguments."""
    _replaceable(module, name)
    setattr(module, name, replacement)


def _checked_export(root: Path, write_export: Callable[..., Any]) -> Callable[..., Any]:
    def write(table: object, options: Any, ctx: AppContext) -> object:  # noqa: ANN401  # the emulator's own type
        check_export_uri(root, options.uri)
        return write_export(table, options, ctx)

    return write


def _guarded(create_app: Callable[..., FastAPI], allowed: frozenset[str]) -> Callable[[AppContext], Guard]:
    def create(context: AppContext) -> Guard:
        app = create_app(context)
        app.add_api_route(_INSERT_JOB, JobDoor().insert_job, methods=["POST"])
        app.router.routes.insert(0, app.router.routes.pop())  # before the emulator's own
        return Guard(app, allowed, lambda path: not path.startswith("/upload/"))

    return create


if __name__ == "__main__":
    main()
