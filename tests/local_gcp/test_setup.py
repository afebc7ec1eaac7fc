"""`make setup` with stand-ins for Python, uv and what they install: who makes which environment."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
COPIED = (
    "Makefile",
    "deploy/docker/install-uv.sh",
    "local_gcp/one_at_a_time.sh",
    "local_gcp/pipeline_env.sh",
)
AIRFLOW = "requirements/dev.txt"
PIPELINE = "requirements/pipeline.txt"
# uv says what it installs, then waits as long as the test holds the gate of that lock.
TOOLS = {
    "python": 'case "$*" in "-m venv .venv") mkdir -p .venv/bin; cp "$TOOLS"/* .venv/bin ;; esac',
    "pip": "",
    "uv": """
        for last; do :; done
        case "$1" in
        venv) mkdir -p "$last/bin"; cp "$TOOLS/pip" "$last/bin/python" ;;
        pip) lock=${last##*/}; echo "$lock" >>"$INSTALLED"; flock --shared "$GATES/$lock" true ;;
        esac""",
    "getconf": "echo glibc 2.39",
    "df": "echo; echo none 9999 0 9999",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A folder for clones, their cache and what was installed."""

    folder: Path

    @property
    def tools(self) -> Path:
        """Return the folder of the programs."""
        return self.folder / "tools"

    @property
    def installed(self) -> Path:
        """Return the file that names the lock of each installation that was begun."""
        return self.folder / "installed"

    def clone(self, name: str) -> Path:
        """Return a new clone of what `make setup` needs."""
        clone = self.folder / name
        for path in COPIED:
            (clone / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / path, clone / path)
        for lock in (AIRFLOW, PIPELINE):
            (clone / lock).parent.mkdir(exist_ok=True)
            (clone / lock).touch()
        return clone

    def begun(self, lock: str) -> int:
        """Return how often a lock's installation was begun."""
        return self.installed.read_text().split().count(Path(lock).name)

    @contextmanager
    def gate(self, lock: str) -> Iterator[None]:
        """Let no installation of this lock end in the block."""
        with (self.folder / "gates" / Path(lock).name).open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def environment(self, cache: str) -> dict[str, str]:
        """Return the variables of `make`, without those of a `make` that runs the tests."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return own | {
            "PATH": f"{self.tools}:{own['PATH']}",
            "TOOLS": str(self.tools),
            "INSTALLED": str(self.installed),
            "GATES": str(self.folder / "gates"),
            "LOCAL_GCP_CACHE_DIR": str(self.folder / cache),
        }


@dataclass(frozen=True, slots=True)
class Setup:
    """A `make setup` that runs."""

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """Return its output so far."""
        return self.log.read_text()

    def code(self) -> int:
        """Wait for its end and return the exit code."""
        return self.popen.wait(timeout=60)

    def kill(self) -> None:
        """End it and all that it started, unless it has ended."""
        if self.popen.poll() is None:
            os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine where nothing is installed."""
    made = Machine(tmp_path)
    made.tools.mkdir()
    (tmp_path / "gates").mkdir()
    made.installed.touch()
    for lock in (AIRFLOW, PIPELINE):
        (tmp_path / "gates" / Path(lock).name).touch()
    for name, body in TOOLS.items():
        tool = made.tools / name
        tool.write_text(f"#!/bin/sh\n{body}\n")
        tool.chmod(0o755)
    return made


@pytest.fixture
def setup(machine: Machine) -> Iterator[Callable[..., Setup]]:
    """Return a function that starts `make setup` in a clone; whatever still runs is ended after the test."""
    with ExitStack() as ending:

        def start(clone: Path, *, cache: str = "cache") -> Setup:
            log = machine.folder / f"{len(list(machine.folder.glob('*.log')))}.log"
            command = ["make", "setup", f"PYTHON={machine.tools}/python"]
            popen = subprocess.Popen(
                command,
                cwd=clone,
                env=machine.environment(cache),
                stdout=log.open("wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            started = Setup(popen, log)
            ending.callback(started.kill)
            return started

        yield start


@pytest.mark.parametrize(
    ("lock", "clones"),
    [(AIRFLOW, ("a", "a")), (PIPELINE, ("a", "a")), (PIPELINE, ("a", "b"))],
    ids=["airflow", "pipeline", "pipeline of two clones"],
)
def test_two_setups_make_an_environment_once(
    machine: Machine, setup: Callable[..., Setup], lock: str, clones: tuple[str, str]
) -> None:
    """The second one says that it waits for the first, and uses what that one made."""
    first_clone, second_clone = (machine.clone(name) for name in clones)
    with machine.gate(lock):
        first = setup(first_clone)
        wait_for(lambda: machine.begun(lock) == 1)
        second = setup(second_clone)
        wait_for(lambda: "another make is working on" in second.said or machine.begun(lock) > 1)

    assert (first.code(), second.code()) == (0, 0), first.said + second.said
    assert machine.begun(lock) == 1
    assert os.access(second_clone / ".pipeline" / "bin" / "python", os.X_OK)


@pytest.mark.parametrize("lock", [AIRFLOW, PIPELINE])
def test_a_killed_setup_is_done_again(machine: Machine, setup: Callable[..., Setup], lock: str) -> None:
    """A killed setup does not hold its lock, and its incomplete environment is not used."""
    clone = machine.clone("a")
    with machine.gate(lock):
        killed = setup(clone)
        wait_for(lambda: machine.begun(lock) == 1)
        killed.kill()
    again = setup(clone)

    assert again.code() == 0, again.said
    assert machine.begun(lock) == 2


def test_a_cache_that_cannot_be_written(machine: Machine, setup: Callable[..., Setup]) -> None:
    """If no lock can be written, the message is that of the environment."""
    (machine.folder / "file").touch()
    failed = setup(machine.clone("a"), cache="file/cache")

    assert failed.code() == 2
    assert f"cannot write {machine.folder}/file/cache; set LOCAL_GCP_CACHE_DIR" in failed.said
