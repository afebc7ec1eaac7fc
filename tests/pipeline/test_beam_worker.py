"""The image's entry point as a process; `test_workers.py` has it in containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from taxi_ml.pipeline import beam_worker
from tests.pipeline.requests import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a launcher that records how it was started, and everything else that a worker needs."""
    packages = tmp_path / "packages"
    packages.mkdir()
    boot = tmp_path / "boot"
    boot.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" "$PIP_TARGET" "$PYTHONPATH" >{tmp_path}/started\n')
    boot.chmod(0o755)
    (tmp_path / "apache_beam.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(beam_worker, "BOOT", boot)
    monkeypatch.setattr(beam_worker, "PACKAGES", packages)
    monkeypatch.setenv(beam_worker.IN_DEFAULT_ENVIRONMENT, "1")
    monkeypatch.setenv("PYTHONPATH", "/opt/taxi")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield tmp_path
    for number, handler in handlers.items():
        signal.signal(number, handler)


def started(folder: Path) -> list[str]:
    """Return the arguments of the launcher, where pip installs and where imports look."""
    return (folder / "started").read_text().splitlines()


def test_a_command_replaces_the_entry_point() -> None:
    """The command of a component, the compiler or a model server runs as the container's process."""
    ran = subprocess.run(
        [sys.executable, "-m", "taxi_ml.pipeline.beam_worker", "sh", "-c", "echo $0 $1; exit 7", "a", "--b"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.stdout, ran.returncode) == ("a --b\n", 7)


def test_options_start_beams_launcher(whole: Path) -> None:
    """The launcher gets the options unchanged; pip installs, and imports find, a job's packages."""
    given = ["--id=1-1", "--provision_endpoint=localhost:1"]

    assert beam_worker.main(given) == 0
    assert started(whole) == [*given, f"{whole}/packages", f"/opt/taxi:{whole}/packages"]


@pytest.mark.parametrize(("folder", "replaced"), [("", False), ("nowhere", True)])
def test_a_persistent_folder_must_be_writable(whole: Path, folder: str, replaced: bool) -> None:  # noqa: FBT001
    """A semi-persistent folder that this user cannot write to is replaced; the launcher takes the last."""
    given = ["--id=1-1", f"--semi_persist_dir={whole}/{folder}"]

    beam_worker.main(given)

    added = started(whole)[len(given) : -2]
    assert [each.startswith("--semi_persist_dir=") for each in added] == [True] * replaced


def test_a_launcher_that_is_started_by_hand_fails_as_itself(
    whole: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without the options that name a runner, the reason is only on stderr."""
    (whole / "boot").write_text("#!/bin/sh\necho No id provided. >&2; exit 1\n")

    assert beam_worker.main(["--help"]) == 1
    assert capfd.readouterr().err == "No id provided.\n"


@pytest.mark.parametrize("late", [0, 0.5])
def test_the_launcher_is_told_to_end(whole: Path, late: float) -> None:
    """A signal reaches Beam's launcher, even before the entry point knows it, and is not a failure."""
    ready = "trap 'echo ended; exit' TERM; echo ready; while :; do sleep 0.1; done"
    (whole / "boot").write_text(f"#!/bin/sh\n{ready}\n")
    program = (
        "import pathlib, subprocess, sys, time; from taxi_ml.pipeline import beam_worker; "
        "start = subprocess.Popen; beam_worker.problems = lambda _: (); "
        f"subprocess.Popen = lambda *a, **k: (start(*a, **k), time.sleep({late}))[0]; "
        f"beam_worker.BOOT = pathlib.Path('{whole}/boot'); sys.exit(beam_worker.main(['--id=1']))"
    )

    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        said = [worker.stdout.readline()]
        worker.send_signal(signal.SIGTERM)
        said += worker.stdout.readlines()

    assert (said, worker.returncode) == (["ready\n", "ended\n"], 0)


def test_a_whole_image_has_no_problems(whole: Path) -> None:
    """A complete image has no defects."""
    assert whole.exists()
    assert list(beam_worker.problems(os.environ)) == []


def test_every_problem_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Launcher, variable, Beam and folder are each named when they are missing."""
    monkeypatch.setattr(beam_worker, "BOOT", tmp_path / "boot")
    monkeypatch.setattr(beam_worker, "PACKAGES", tmp_path / "packages")

    found = list(beam_worker.problems({}))

    assert [each.split()[0] for each in found] == [
        f"{tmp_path}/boot",
        beam_worker.IN_DEFAULT_ENVIRONMENT,
        sys.executable,
        "user",
    ]
