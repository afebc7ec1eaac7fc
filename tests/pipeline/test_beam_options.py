"""The arguments for Dataflow as Beam itself reads them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from taxi_ml.dataflow import LONGEST
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY
from tests.taxi_ml.test_dataflow import SETTINGS

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def options() -> dict[str, Any]:
    """Beam's options from the arguments that a choice of Dataflow becomes."""
    chosen = SETTINGS.with_overrides(beam_runner="dataflow", dataflow_workers=8)
    ran = subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.beam_options", *chosen.beam_arguments()],
        cwd=REPOSITORY,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def test_beam_accepts_the_arguments(options: dict[str, Any]) -> None:
    """Beam makes a DataflowRunner, knows every argument, and its validator finds nothing wrong."""
    assert options["runner"] == "DataflowRunner"
    assert options["unknown"] == []
    assert options["errors"] == []


def test_beam_runs_where_and_as_whom_the_settings_say(options: dict[str, Any]) -> None:
    """Project, region and account are the settings'; files are staged inside the project's bucket."""
    assert options["project"] == SETTINGS.project
    assert options["region"] == SETTINGS.region
    assert options["service_account_email"] == SETTINGS.service_account
    assert options["temp_location"].startswith(f"{SETTINGS.bucket}/")
    assert options["staging_location"].startswith(f"{SETTINGS.bucket}/")


def test_jobs_end(options: dict[str, Any]) -> None:
    """Dataflow ends a job whose workers never start."""
    assert options["service_options"] == [LONGEST]


def test_workers_run_the_pipeline_image(options: dict[str, Any]) -> None:
    """The workers' container is that of the executors, under the runner that takes one."""
    assert options["sdk_container_image"] == SETTINGS.pipeline_image
    assert options["experiments"] == ["use_runner_v2"]
    assert options["max_num_workers"] == 8
