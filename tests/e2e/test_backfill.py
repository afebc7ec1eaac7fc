"""A real `airflow backfill create`, which Airflow refuses on SQLite, and the model that serves after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_gcp import state
from local_gcp.airflow import AIRFLOW, environment
from local_gcp.airflow_client import RunState
from local_gcp.layout import Layout
from local_gcp.ports import HOST
from local_gcp.services import CLOUD, Setting
from local_gcp.stack import Stack
from tests.e2e.staged import DAG_ID, REPOSITORY, Stage
from tests.local_stack import LocalStack
from tests.serving.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_gcp.services import Declaration
    from local_gcp.supervise import Service

MONTHS = 3
SCHEDULE = {"TAXI_SCHEDULE": "0 0 1 * *"}
ACCOUNT = "postgres"
FOUND = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), "")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.pipeline,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not FOUND, reason="PostgreSQL's server is not installed"),
]


@contextmanager
def postgres() -> Iterator[str]:
    """Run a PostgreSQL with an empty database, and yield its address for SQLAlchemy."""
    account = ACCOUNT if os.geteuid() == 0 else None  # it refuses to run as root
    with tempfile.TemporaryDirectory(prefix="postgres_") as folder:
        if account:
            shutil.chown(folder, account)
        data, port = f"{folder}/data", free_port()
        subprocess.run(
            [FOUND, "-D", data, "--auth=trust", f"--username={ACCOUNT}"],
            user=account,
            check=True,
            cwd="/",
            capture_output=True,
        )
        settings = {"listen_addresses": HOST, "unix_socket_directories": folder, "port": port}
        options = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            [Path(FOUND).with_name("postgres"), "-D", data, *options], user=account, cwd="/"
        )
        try:
            yield f"{ACCOUNT}@{HOST}:{port}/{ACCOUNT}"
        finally:
            server.terminate()
            server.wait(30)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """An Airflow with PostgreSQL and a monthly schedule, and a local cloud of its own."""
    with (
        pytest.MonkeyPatch.context() as patch,
        postgres() as database,
        tempfile.TemporaryDirectory(prefix="local_gcp_") as folder,
    ):
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"postgresql+psycopg2://{database}")
        patch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC", f"postgresql+asyncpg://{database}")
        layout = Layout(state=Path(folder).resolve())
        install_drivers(layout.airflow / "config")
        running = Stack(layout, declarations=(*CLOUD, *map(monthly, AIRFLOW)))
        try:
            running.up()
            yield Stage(LocalStack(stack=running, layout=layout))
        finally:
            running.down()


def monthly(airflow: Declaration) -> Declaration:
    """Return a service of Airflow that reads the DAG with a schedule."""

    def build(setting: Setting) -> Service:
        service = airflow.build(setting)
        return replace(service, environment={**service.environment, **SCHEDULE})

    return replace(airflow, build=build)


def install_drivers(folder: Path) -> None:
    """Put the drivers that the lock names into a folder that Airflow imports from."""
    lock = REPOSITORY / "requirements/database.txt"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*command, "--target", folder, "--requirement", lock], check=True)


def backfill(stage: Stage) -> list[str]:
    """Create runs of all months by Airflow's own command, and return their ids."""
    layout = stage.stack.layout
    setting = Setting(layout=layout, ports=state.read(layout.stack_file).ports)
    arguments = ["--dag-id", DAG_ID, "--from-date", "2015-10-01", "--to-date", "2015-12-01"]
    subprocess.run(
        [Path(sys.executable).with_name("airflow"), "backfill", "create", *arguments],
        env={**os.environ, **environment(setting), **SCHEDULE},
        check=True,
    )
    return [str(run["dag_run_id"]) for run in stage.airflow.runs(DAG_ID)]


def test_a_backfill_promotes_one_model(stage: Stage) -> None:
    """One of three runs that meet no champion at once is promoted; the others name the model that serves."""
    stage.pause(paused=True)
    artifacts = {run_id: stage.save_model() for run_id in backfill(stage)}

    runs = [run.await_end() for run in stage.promote(artifacts)]

    promoted = [run for run in runs if run.state == RunState.SUCCESS]
    assert (len(runs), [{run.artifact: 100} for run in promoted]) == (MONTHS, [stage.serving])
