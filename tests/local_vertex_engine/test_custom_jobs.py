from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.errors import Code, InvalidArgument, Unimplemented
from local_vertex.domain.states import RunState
from local_vertex.run.custom_jobs import LocalCustomJobRunner
from local_vertex.run.ports import ContainerSpec, CustomRun
from tests.local_vertex_engine.specs import IMAGE, JobRecorder, engine_settings, image_table, plain_containers
from tests.local_vertex_engine.test_cancel import STUBBORN, alive, until
from tests.local_vertex_engine.test_failures import LosingLauncher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NAME = "projects/1/locations/here/customJobs/7"


@pytest.fixture
def heard() -> JobRecorder:
    """The record of the runner's reports."""
    return JobRecorder()


@pytest.fixture
def runner(tmp_path: Path, heard: JobRecorder) -> Iterator[LocalCustomJobRunner]:
    """A runner over a temporary folder."""
    containers = plain_containers(image_table(SHARED="1"))
    settings = engine_settings(tmp_path)
    runner = LocalCustomJobRunner(settings=settings, listener=heard, containers=containers)
    yield runner
    runner.close()


def custom_run(code: str, *args: str, **container: Any) -> CustomRun:  # noqa: ANN401
    """Return a job that runs `code`."""
    spec = {"image": IMAGE, "command": ("python", "-c", code), "args": args, **container}
    return CustomRun(
        name=NAME,
        project="local",
        project_number="1",
        location="here",
        container=ContainerSpec(**spec),
        output_directory="gs://bucket/out",
    )


def test_a_job_gets_its_command_and_environment(runner: LocalCustomJobRunner, heard: JobRecorder) -> None:
    """Arguments, the job's variables, the machine's and those of Vertex AI reach the container."""
    code = (
        "import os, sys; print(sys.argv[1:],"
        "*(os.environ[k] for k in ('MINE', 'SHARED', 'AIP_MODEL_DIR', 'CLOUD_ML_JOB_ID')))"
    )
    runner.start(runner.accept(custom_run(code, "gs://bucket/in", env={"MINE": "2"})))
    state = heard.wait()

    assert state is RunState.SUCCEEDED, heard.error
    assert heard.states == [RunState.RUNNING, RunState.SUCCEEDED]
    assert heard.log() == "['gs://bucket/in'] 2 1 gs://bucket/out/model/ 7\n"


def test_a_failed_job_names_cause_and_log(runner: LocalCustomJobRunner, heard: JobRecorder) -> None:
    """The error of a job holds the root cause and the path of its log."""
    runner.start(runner.accept(custom_run("raise KeyError('fare')")))
    state = heard.wait()

    assert state is RunState.FAILED
    assert heard.error is not None
    assert "exit code 1: KeyError: 'fare'; log: " in heard.error.message
    assert str(heard.log_path) in heard.error.message


def test_a_cancelled_job_leaves_nothing(
    runner: LocalCustomJobRunner, heard: JobRecorder, tmp_path: Path
) -> None:
    """Cancel ends the container and everything that it started."""
    pids_file = tmp_path / "pids"
    runner.start(runner.accept(custom_run(STUBBORN, str(pids_file))))
    until(lambda: pids_file.exists() and len(pids_file.read_text().split()) == 3)
    runner.cancel(NAME)
    state = heard.wait()

    assert state is RunState.CANCELLED
    assert heard.states == [RunState.RUNNING, RunState.CANCELLING, RunState.CANCELLED]
    assert [pid for pid in map(int, pids_file.read_text().split()) if alive(pid)] == []


def test_a_lost_container_that_runs_again_has_its_time_limit(tmp_path: Path, heard: JobRecorder) -> None:
    """A job that is run again as a plain subprocess is ended at its limit and says so."""
    settings = engine_settings(tmp_path)
    marker = tmp_path / "lost"
    code = (
        f"import pathlib, time; lost = pathlib.Path({str(marker)!r}); again = lost.exists(); lost.touch();"
        "time.sleep(100 * again)"
    )
    runner = LocalCustomJobRunner(
        settings=settings,
        listener=heard,
        containers=plain_containers(launcher=LosingLauncher()),
    )
    runner.start(runner.accept(replace(custom_run(code), timeout=5.0)))
    state = heard.wait()
    runner.close()

    assert state is RunState.FAILED
    assert heard.error is not None
    assert heard.error.code is Code.DEADLINE_EXCEEDED


def test_an_unknown_image_is_refused(runner: LocalCustomJobRunner) -> None:
    """The error lists the images that this machine knows."""
    with pytest.raises(InvalidArgument, match=r"'other:1' is not in this machine's image table \(test/\*\)"):
        runner.accept(custom_run("pass", image="other:1"))


def test_an_image_s_own_command_is_unknown(runner: LocalCustomJobRunner) -> None:
    """Without a command the entrypoint of the image would run, which this machine lacks."""
    with pytest.raises(Unimplemented, match="has no command"):
        runner.accept(custom_run("pass", command=()))
