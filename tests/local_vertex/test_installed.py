"""The package as users install it: from its folder, into a fresh environment."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform
from google.cloud.aiplatform import initializer, pipeline_jobs

from tests.local_vertex_engine.pipeline_environment import (
    PIPELINE_PYTHON,
    REPOSITORY,
    run_in_pipeline_environment,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.local_vertex.servers import Client

pytestmark = pytest.mark.pipeline
VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_NO_INDEX")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A server of the installed package, for which the pipeline environment stands for `python:3.*`."""

    url: str
    state: Path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with the package and its dependencies, in the versions of our lock."""
    uv, home = str(Path(sys.executable).with_name("uv")), tmp_path_factory.mktemp("environment")
    subprocess.run([uv, "venv", "-q", "--clear", "--python", sys.executable, home], check=True)
    install = [uv, "pip", "install", "-q", "--python", str(home / "bin" / "python")]
    locked = ["--constraint", str(REPOSITORY / "requirements" / "dev.txt")]
    subprocess.run([*install, *locked, str(REPOSITORY / "local_vertex")], check=True)
    return home / "bin"


@pytest.fixture(scope="module")
def installed(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """The server, started by its command in an empty folder, without this repository on its path."""
    folder = tmp_path_factory.mktemp("stranger")
    command = [str(environment / "local-vertex"), "serve", "--image", f"python:3.*={PIPELINE_PYTHON}"]
    environ = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Installed(url=process.stdout.readline().split()[2], state=folder / ".local-vertex")
        process.terminate()


@pytest.fixture
def sdk(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The SDK, pointed at the server as the README says; its first wait of 5 s would be long for a test."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", installed.url)
    monkeypatch.setattr(pipeline_jobs, "_JOB_WAIT_TIME", 0.1)
    aiplatform.init(
        project="local",
        location="us-central1",
        api_endpoint=installed.url,
        api_transport="rest",
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
    )
    yield aiplatform
    initializer.global_pool.shutdown(wait=True)
    initializer.global_config.__init__()  # type: ignore[misc]  # the SDK's own way to forget init()


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """A pipeline that kfp compiled."""
    path = tmp_path / "sums.yaml"
    run_in_pipeline_environment("tests.local_vertex.foreign_pipeline", path, cwd=tmp_path)
    return path


def test_a_foreign_pipeline_succeeds(sdk: Client, installed: Installed, template: Path) -> None:
    """A Python component and a container component run to their end, and hand a value on."""
    job = sdk.PipelineJob(
        display_name="sums",
        template_path=str(template),
        job_id="sums-1",
        pipeline_root="gs://sums",
        parameter_values={"numbers": [1.5, 2]},
    )
    job.submit()
    job.wait()

    assert job.state.name == "PIPELINE_STATE_SUCCEEDED"
    log = installed.state / "runs" / "sums-1" / "announce" / "log.txt"
    assert log.read_text().splitlines()[-1] == "the sum is 3.5"


def test_an_unknown_image_is_refused_with_the_way_to_add_it(
    sdk: Client, installed: Installed, template: Path
) -> None:
    """The refusal names the image, and the file in which a row would make it known."""
    template.write_text(template.read_text().replace("python:3.11", "example.com/other:1"))
    job = sdk.PipelineJob(
        display_name="sums",
        template_path=str(template),
        pipeline_root="gs://sums",
        parameter_values={"numbers": []},
    )
    with pytest.raises(exceptions.BadRequest) as refused:
        job.submit()

    message = str(refused.value)
    assert '[{"image": "example.com/other:1", "interpreter": "/path/to/its/bin/python"}]' in message
    assert str(installed.state / "own-images.json") in message


@pytest.mark.parametrize("page", ["console", "console/static/style.css"])
def test_the_console_is_part_of_the_package(installed: Installed, page: str) -> None:
    """Templates and static files are installed with the code."""
    with urllib.request.urlopen(f"{installed.url}/{page}", timeout=30) as answer:
        assert answer.status == 200


def test_the_package_is_typed(environment: Path) -> None:
    """Type checkers read the annotations of an installed package that says so."""
    (marker,) = environment.parent.glob("lib/python*/site-packages/local_vertex/py.typed")

    assert marker.read_text() == ""
