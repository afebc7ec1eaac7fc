"""The commands of the local cloud, as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local_gcp.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.stack

REPOSITORY = Layout.from_environment({}).repository


class CommandLine:
    """Runs ``python -m local_gcp`` over one state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command."""
        return subprocess.run(
            [sys.executable, "-m", "local_gcp", *arguments],
            cwd=REPOSITORY,
            env={**os.environ, "LOCAL_GCP_STATE_DIR": str(self.folder)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def local_gcp(tmp_path: Path) -> Iterator[CommandLine]:
    """The command line over a new state folder, stopped at the end of the test."""
    commands = CommandLine(tmp_path / "state")
    yield commands
    commands.run("reset")


def test_up_reports_progress_on_stderr(local_gcp: CommandLine) -> None:
    """Up says on stderr what it did, and nothing on stdout."""
    done = local_gcp.run("up", "--only", "gcs")

    assert (done.returncode, done.stdout) == (0, "")
    assert "gcs: healthy after" in done.stderr
    assert "gcs: created bucket gs://taxi-local" in done.stderr


def test_status_of_a_part(local_gcp: CommandLine) -> None:
    """Status lists every service and fails while one of them is stopped."""
    local_gcp.run("up", "--only", "gcs")
    done = local_gcp.run("status")
    conditions = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}

    assert conditions.items() >= {("gcs", "running"), ("bigquery", "stopped"), ("vertex", "stopped")}
    assert done.returncode == 3


def test_env_can_be_evaluated_by_a_shell(local_gcp: CommandLine) -> None:
    """The output of env sets the variables in a shell."""
    local_gcp.run("up", "--only", "gcs")
    printed = local_gcp.run("env").stdout
    shell = subprocess.run(
        [
            "/bin/sh",
            "-c",
            'eval "$1"; printf %s "$TAXI_BUCKET $AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"',
            "sh",
            printed,
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert shell.stdout.startswith('gs://taxi-local {"conn_type":"google_cloud_platform"')


def test_a_fault_needs_a_running_vertex_ai(local_gcp: CommandLine) -> None:
    """Without the server that would take the order, the command says what to start."""
    local_gcp.run("up", "--only", "gcs")
    done = local_gcp.run("fault", "taxi-fare@*", "delay=1")

    assert done.returncode == 1
    assert "Vertex AI is not running" in done.stderr


def test_logs_show_a_service(local_gcp: CommandLine) -> None:
    """Logs shows the end of a service's log."""
    local_gcp.run("up", "--only", "gcs")
    done = local_gcp.run("logs", "gcs")

    assert "server started at https://127.0.0.1:" in done.stdout


def test_errors_are_one_line(local_gcp: CommandLine) -> None:
    """A failure is one line on stderr without a traceback, and exit status 1."""
    done = local_gcp.run("env")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("local_gcp: ")


def test_unusable_state_folder(local_gcp: CommandLine) -> None:
    """A state folder that cannot be made is one line that names the variable to set."""
    local_gcp.folder.write_text("a file")
    done = local_gcp.run("up", "--only", "gcs")
    local_gcp.folder.unlink()

    assert done.returncode == 1
    assert "set LOCAL_GCP_STATE_DIR" in done.stderr
    assert done.stderr.count("\n") == 1


def test_down_without_a_stack(local_gcp: CommandLine) -> None:
    """Down has nothing to do where there is no stack."""
    done = local_gcp.run("down")

    assert (done.returncode, done.stderr) == (0, "")
