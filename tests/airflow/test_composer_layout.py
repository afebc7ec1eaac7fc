"""The files as Composer lays them out, with Composer's Airflow and an older Google provider."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.composer.deployment import FOLDERS, LOCK, NOT_COPIED
from deploy.composer.packages import listed, locked, missing, wanted
from taxi_ml.image import labels
from tests.airflow.servers import REPOSITORY
from tests.environments import interpreter_of

pytestmark = pytest.mark.composer
PACKAGES = REPOSITORY / "requirements/composer.txt"
HEAVY = ("tensorflow", "tfx", "apache_beam", "pandas", "google.cloud.aiplatform", "google.cloud.bigquery")
PARSE = f"""
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag()
heavy = [name for name in {HEAVY!r} if name in sys.modules]
import taxi_ml, taxi_airflow
from airflow import plugins_manager
found = {{
    "errors": bag.import_errors, "plugins": plugins_manager.get_import_errors(),
    "dags": {{dag.dag_id: len(dag.tasks) for dag in bag.dags.values()}}, "heavy": heavy,
    "taxi_ml": taxi_ml.__file__, "taxi_airflow": taxi_airflow.__file__,
}}
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="session")
def interpreter() -> Path:
    """An environment of its own."""
    return interpreter_of(PACKAGES, compiled=True)


@pytest.fixture(scope="module")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Composer calls /home/airflow/gcs, filled as a deployment fills the bucket."""
    folder = tmp_path_factory.mktemp("home") / "airflow" / "gcs"

    def left_out(parent: str, names: list[str]) -> list[str]:
        return [name for name in names if re.match(NOT_COPIED, name) and parent]

    for source, target in FOLDERS.items():
        shutil.copytree(REPOSITORY / source, folder / target, ignore=left_out)
    (folder / LOCK[1]).parent.mkdir()
    shutil.copy(REPOSITORY / LOCK[0], folder / LOCK[1])
    (folder / "data").mkdir()
    return folder


def environment(gcs: Path) -> dict[str, str]:
    """Return what Composer sets: its folders, and the settings of a deployment; no path of ours."""
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        "AIRFLOW_HOME": str(gcs.parent),
        "AIRFLOW__CORE__DAGS_FOLDER": str(gcs / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(gcs / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


@pytest.fixture(scope="module")
def parsed(interpreter: Path, gcs: Path) -> dict[str, Any]:
    """The DAGs, plugins and import errors that Airflow finds in the folder."""
    ended = subprocess.run(
        [interpreter, "-c", PARSE],
        env=environment(gcs),
        cwd=gcs.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.partition("FOUND")[2])
    return found


def test_the_dag_parses(parsed: dict[str, Any]) -> None:
    """Everything imports there, with no error in a DAG or plugin."""
    assert (parsed["errors"], parsed["plugins"]) == ({}, {})
    assert parsed["dags"]["taxi_training"] > 15


def test_the_packages_come_from_the_plugins(parsed: dict[str, Any], gcs: Path) -> None:
    """Composer's plugins folder is the only path from which both are imported."""
    assert Path(parsed["taxi_ml"]) == gcs / "plugins" / "taxi_ml" / "__init__.py"
    assert Path(parsed["taxi_airflow"]) == gcs / "plugins" / "taxi_airflow" / "__init__.py"


def test_parsing_imports_nothing_heavy(parsed: dict[str, Any]) -> None:
    """With Composer's releases, too, a DAG processor loads no client and no TensorFlow."""
    assert parsed["heavy"] == []


def test_nothing_is_installed_over_composer(interpreter: Path) -> None:
    """A deployment finds everything there, so that it replaces no package of Composer's."""
    uv = Path(sys.executable).with_name("uv")

    printed = subprocess.run(
        [uv, "pip", "list", "--python", interpreter], check=True, capture_output=True, text=True
    ).stdout

    assert missing(wanted(), listed(printed.splitlines()), locked()) == []


def test_the_copy_has_the_labels_of_the_image(gcs: Path) -> None:
    """The copied code is the code that the image was built from, according to the image's labels."""
    assert labels(gcs / "plugins" / "taxi_ml", gcs / LOCK[1]) == labels()


@pytest.mark.stack
@pytest.mark.usefixtures("whole_cloud")
def test_a_run_can_start_from_there(interpreter: Path, gcs: Path) -> None:
    """The hooks and clients of Composer's releases reach every service that a run needs."""
    ended = subprocess.run(
        [interpreter, "-m", "taxi_airflow.preflight", "--window-end", "2015-02-01"],
        env={**environment(gcs), "PYTHONPATH": str(gcs / "plugins")},
        cwd=gcs.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.returncode, "A run can start" in ended.stdout) == (0, True), ended.stdout + ended.stderr
