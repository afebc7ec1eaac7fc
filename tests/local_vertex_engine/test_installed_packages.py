"""Packages that a container installs are its own; the interpreter that stands for its image is unchanged."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from local_vertex.domain.states import RunState
from local_vertex.images import ImageRule
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.processes.warm import WarmLauncher, WarmSettings
from local_vertex.run.containers import Containers
from tests.local_vertex_engine.pipeline_environment import PIPELINE_PYTHON, run_in_pipeline_environment
from tests.local_vertex_engine.specs import (
    engine_settings,
    image_table,
    pipeline_engine,
    pipeline_run,
    pipeline_spec,
    plain_containers,
    python_task,
)
from tests.local_vertex_engine.test_runs import said

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local_vertex.images import ImageTable
    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

INSTALL = "-m pip install --quiet --no-index --disable-pip-version-check"
VERSION = 'import added; print("version", added.VERSION)'
MODULE = f"""
import subprocess, sys
if __name__ == "__main__":
    subprocess.run([sys.executable, *{INSTALL!r}.split(), *sys.argv[1:]], check=True)
    subprocess.run([sys.executable, "-c", {VERSION!r}], check=True)
"""


def write_wheel(folder: Path, version: str) -> Path:
    """Write a wheel of the package `added`, which knows its version."""
    wheel = folder / f"added-{version}-py3-none-any.whl"
    about = f"added-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("added.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: added\nVersion: {version}\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{about}/RECORD", f"added.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n"
        )
    return wheel


def files(folder: Path) -> Mapping[str, float]:
    """Return the files below a folder and their times, except bytecode."""
    return {
        str(path): path.stat().st_mtime
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the image has."""
    return write_wheel(tmp_path_factory.mktemp("old"), "1.0")


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A newer wheel of the same package."""
    return write_wheel(tmp_path_factory.mktemp("new"), "2.0")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, old: Path) -> Path:
    """The folder of a virtual environment with pip and `added` 1.0."""
    folder = tmp_path_factory.mktemp("image")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "python", *INSTALL.split(), old], check=True)
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An engine over a virtual environment with pip, `added` 1.0 and a module `installs`."""

    engine: LocalPipelineEngine
    recorder: Recorder
    image: Path
    state: Path

    def run(self, command: list[str], *args: Path) -> str:
        """Return the last line that a command of the image writes."""
        task = python_task("", *map(str, args), container={"command": command})
        run = pipeline_run(pipeline_spec({"t": task}))
        self.engine.start(self.engine.accept(run))
        self.recorder.wait(run)
        return said(self.recorder, run.name, "t").splitlines()[-1]


@pytest.fixture
def bench(tmp_path: Path, image: Path, recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench, whose executors are warm if the test asks for that."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "installs.py").write_text(MODULE)
    rule = ImageRule(
        image="test/*",
        interpreter=image / "bin" / "python",
        environment={"PYTHONPATH": str(tmp_path / "modules")},
    )
    containers = plain_containers(image_table(rule))
    if getattr(request, "param", False):
        containers = warm_containers(image_table(rule), tmp_path / "warm")
    engine = pipeline_engine(engine_settings(tmp_path), recorder, containers=containers)
    yield Bench(engine=engine, recorder=recorder, image=image, state=tmp_path / "state")
    engine.close()
    containers.launcher.close()


def warm_containers(images: ImageTable, log_dir: Path) -> Containers:
    """Return a runner of containers in forks of a parent that has imported the module `installs`."""
    reference = GuardedLauncher()
    settings = WarmSettings(preload=("installs",), log_dir=log_dir)
    launcher = WarmLauncher(settings=settings, images=images, reference=reference)
    return Containers(images=images, launcher=launcher, reference=reference)


def shell(script: str) -> list[str]:
    """A command that is a shell script."""
    return ["sh", "-ec", script]


@pytest.mark.parametrize(
    "command",
    [
        shell(f"python3 {INSTALL} $0 && python3 -c '{VERSION}'"),
        shell(f"pip install --no-index --quiet $0; python -c '{VERSION}'"),
        shell(f"python -m pip install --no-index --quiet --force-reinstall $0; python -c '{VERSION}'"),
        ["python", "-c", MODULE],
        ["python", "-m", "installs"],
    ],
    ids=["kfp", "pip", "force", "program", "module"],
)
@pytest.mark.parametrize("bench", [False, True], ids=["cold", "warm"], indirect=True)
def test_a_task_installs_for_itself(bench: Bench, new: Path, command: list[str]) -> None:
    """A task sees the package that it installs in place of the image's, which stays, and leaves nothing."""
    before = files(bench.image)
    last = bench.run(command, new)

    assert last == "version 2.0"
    assert files(bench.image) == before
    assert not list(bench.state.rglob("added.py"))


def test_a_task_cannot_uninstall(bench: Bench) -> None:
    """The image's packages are outside of a task's environment, so pip leaves them alone."""
    before = files(bench.image)
    last = bench.run(shell(f"pip uninstall --yes added; python -c '{VERSION}'"))

    assert last == "version 1.0"
    assert files(bench.image) == before


def test_an_interpreter_that_does_not_run_fails_the_task(tmp_path: Path, recorder: Recorder) -> None:
    """The error of the task says which row of the image table to fix."""
    rule = ImageRule(image="test/*", interpreter=tmp_path / "gone")
    engine = pipeline_engine(
        engine_settings(tmp_path), recorder, containers=plain_containers(image_table(rule))
    )
    run = pipeline_run(pipeline_spec({"t": python_task("pass")}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.close()
    error = recorder.errors[run.name]

    assert error is not None
    assert f"interpreter {tmp_path / 'gone'} of image 'test/*' does not run" in error.message


def pipeline_image(folder: Path) -> ImageRule:
    """Return an image of its own that sees what the pipeline environment has, entered through a script."""
    made = folder / "image"
    subprocess.run([PIPELINE_PYTHON, "-m", "venv", "--without-pip", made], check=True)
    where = [str(PIPELINE_PYTHON), "-c", "import site; print(site.getsitepackages()[0])"]
    shared = subprocess.run(where, check=True, capture_output=True, text=True).stdout
    (packages,) = made.glob("lib/*/site-packages")
    (packages / "shared.pth").write_text(f"import site; site.addsitedir({shared.strip()!r})\n")
    script = folder / "python"
    enter = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
    script.write_text(f"#!/bin/sh\nexec '{PIPELINE_PYTHON}' -c '{enter}' '{made}/bin/python' \"$@\"\n")
    script.chmod(0o755)
    return ImageRule(image="test/*", interpreter=script, environment={"PIP_NO_INDEX": "1"})


@pytest.mark.pipeline
def test_packages_to_install(tmp_path: Path, recorder: Recorder, new: Path) -> None:
    """A kfp component runs with its packages and hands on artifacts; a string stays what it is.

    kfp, which each component installs, is there in the right version: no package index is contacted.
    """
    run_in_pipeline_environment("tests.local_vertex_engine.kfp_definition", tmp_path, new, cwd=tmp_path)
    rule = pipeline_image(tmp_path)
    before = files(tmp_path / "image")
    engine = pipeline_engine(
        engine_settings(tmp_path), recorder, containers=plain_containers(image_table(rule))
    )
    uri = "gs://my-other-bucket/some/table.csv"
    spec = json.loads((tmp_path / "kfp.json").read_text())
    run = pipeline_run(spec, parameter_values={"uri": uri})
    engine.start(engine.accept(run))
    state = recorder.wait(run, 240)
    engine.close()
    tasks = recorder.tasks[run.name]
    (table,) = tasks["with-package"].outputs["table"]

    assert state is RunState.SUCCEEDED, recorder.errors
    assert tasks["with-package"].output_parameters == {"Output": "my-other-bucket"}
    assert tasks["read"].output_parameters == {"Output": f"2.0 {uri}"}
    assert table.uri.startswith("gs://bucket/root/")
    assert files(tmp_path / "image") == before
