"""The provider as users install it: a wheel, in an environment that knows nothing of this repository."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.servers import REPOSITORY
from tests.environments import interpreter_of

# The program that runs there imports everything, parses the examples and lists what Airflow knows of it.
PROGRAM = """
import importlib, json, pkgutil, sys
from pathlib import Path

import vertex_airflow
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager

folder = Path(vertex_airflow.__file__).parent
modules = [found.name for found in pkgutil.walk_packages([str(folder)], "vertex_airflow.")]
for module in modules:
    importlib.import_module(module)
examples = [DagBag(dag_folder=path) for path in folder.glob("example_dags/*_vertex.py")]
manager = ProvidersManager()
print("FOUND" + json.dumps({
    "folder": str(folder),
    "modules": modules,
    "dags": {dag.dag_id: len(dag.tasks) for bag in examples for dag in bag.dags.values()},
    "errors": [text for bag in examples for text in bag.import_errors.values()],
    "provider": manager.providers["vertex-airflow"].version,
    "links": [name for name in manager.extra_links_class_names if name.startswith("vertex_airflow")],
    "ours": [name for name in sys.modules if name.split(".")[0] in {"taxi_ml", "taxi_airflow"}],
    "typed": (folder / "py.typed").exists(),
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the package, installed from the wheel that its own folder makes."""
    folder = tmp_path_factory.mktemp("installed")
    uv = Path(sys.executable).with_name("uv")
    source = REPOSITORY / "plugins" / "vertex_airflow"
    subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", folder / "wheel", source], check=True)
    (wheel,) = (folder / "wheel").glob("*.whl")
    subprocess.run(
        [uv, "pip", "install", "-q", "--no-deps", "--target", folder / "packages", wheel], check=True
    )
    return folder / "packages"


def look(interpreter: Path, installed: Path) -> dict[str, Any]:
    """Return what the program finds where the package is all that comes from this repository."""
    home = installed.parent / "home"
    home.mkdir(exist_ok=True)
    ended = subprocess.run(
        [interpreter, "-c", PROGRAM],
        env={
            **os.environ,
            "PYTHONPATH": str(installed),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        },
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.partition("FOUND")[2])
    return found


def assert_whole(found: dict[str, Any], installed: Path) -> None:
    """Assert that everything is there and works by itself."""
    source = REPOSITORY / "plugins" / "vertex_airflow"
    modules = {
        ".".join(("vertex_airflow", *path.relative_to(source).with_suffix("").parts)).removesuffix(
            ".__init__"
        )
        for path in source.rglob("*.py")
    }

    assert Path(found["folder"]) == installed / "vertex_airflow"
    assert {*found["modules"], "vertex_airflow"} == modules
    assert (found["ours"], found["errors"], found["dags"]) == ([], [], {"hello_vertex": 4})
    assert (found["provider"], found["links"]) == ("0.1.0", ["vertex_airflow.links.VertexLink"])
    assert found["typed"]


def test_the_wheel_works_without_this_repository(installed: Path) -> None:
    """Every module imports, the example DAG parses, and Airflow lists the provider with its link."""
    assert_whole(look(Path(sys.executable), installed), installed)


@pytest.mark.composer
def test_the_oldest_releases_that_it_asks_for_are_enough(installed: Path) -> None:
    """The lower bounds of its dependencies are the releases of the oldest environment that is tested."""
    interpreter = interpreter_of(REPOSITORY / "requirements/composer.txt", compiled=True)
    oldest = (REPOSITORY / "requirements/composer.in").read_text()
    (metadata,) = installed.glob("vertex_airflow-*.dist-info/METADATA")
    needed = re.findall(r"^Requires-Dist: (.+)$", metadata.read_text(), re.MULTILINE)

    assert needed
    assert all(each.replace(">=", "==") in oldest for each in needed)
    assert_whole(look(interpreter, installed), installed)
