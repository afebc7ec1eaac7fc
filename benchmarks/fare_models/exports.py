"""Windows of real trips, exported as the DAG exports them, for programs of the pipeline environment."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_gcp.layout import PROJECT, Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack
from taxi_ml import sql
from taxi_ml.settings import Settings
from taxi_ml.splits import Split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from taxi_ml.window import Window

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """The settings of the export, and the folder of each window's splits by its id."""

    settings: Settings
    folders: dict[str, Path]


def months(first: date, count: int) -> Iterator[date]:
    """Yield the first days of `count` months, `first` being the first."""
    for month in range(first.month - 1, first.month - 1 + count):
        yield date(first.year + month // 12, month % 12 + 1, 1)


@contextmanager
def exported(ends: Iterable[date], folder: Path, **chosen: object) -> Iterator[Exports]:
    """Export the windows that end there; the local cloud's state is in `folder` during the context.

    `chosen` are settings in place of the defaults.
    """
    stack = Stack(Layout(state=(folder / "cloud").resolve()), declarations=CLOUD)
    try:
        stack.up(("bigquery", "gcs"))
        environment = stack.client_environment()
        settings = Settings.from_environment(environment).with_overrides(**chosen)
        client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": environment["BIGQUERY_EMULATOR_HOST"]},
        )
        windows = [settings.window(end) for end in ends]
        for window in windows:
            _export(client, settings, window)
        data = folder / "cloud" / "gcs" / settings.bucket.removeprefix("gs://") / "data"
        yield Exports(
            settings=settings, folders={window.id: (data / window.id).resolve() for window in windows}
        )
    finally:
        stack.down()


def _export(client: bigquery.Client, settings: Settings, window: Window) -> None:
    splits = [sql.export_split(settings, window, split) for split in Split]
    exports = [*splits, sql.export_averages(settings, window)]
    for statement in (sql.create_schema(settings), sql.build_dataset(settings, window), *exports):
        configuration: Any = bigquery.QueryJobConfig.from_api_repr(statement.job_configuration(settings, {}))
        client.query_and_wait(statement.sql, job_config=configuration)


def in_pipeline_environment(module: str, *folders: Path) -> None:
    """Run `python -m module folder …` there, its output in a log beside the first; exit where it fails."""
    path = folders[0].with_suffix(".log")
    with path.open("wb") as log:
        outcome = subprocess.run(
            [REPOSITORY / ".pipeline/bin/python", "-m", module, *folders],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=False,
            stdout=log,
            stderr=log,
        )
    if outcome.returncode:
        sys.exit(f"{module} failed\n{path.read_text()[-4000:]}")
