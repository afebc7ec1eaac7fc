from __future__ import annotations

import os
import signal
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from local_vertex.processes.guarded import GuardedContainer, GuardedLauncher
from local_vertex.processes.warm import WarmContainer, WarmLauncher, WarmSettings
from local_vertex.run.containers import ContainerLostError, Launch
from tests.local_vertex_engine.specs import image_table
from tests.local_vertex_engine.test_cancel import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from local_vertex.run.containers import Container

MODULE = """
import os, sys, time
LOADED_BY = os.getpid()
if __name__ == '__main__':
    import heavy
    print('loaded by', heavy.PID, 'run by', os.getpid(), sys.argv[1:], os.environ.get('COLOR'), os.getcwd())
    print('to stderr', file=sys.stderr)
    if sys.argv[1] == 'sleep':
        time.sleep(100)
    if sys.argv[1] == 'raise':
        raise ValueError('no column fare')
    sys.exit(int(sys.argv[1]))
"""


class WarmBench:
    """A warm launcher over a package of modules in a temporary folder."""

    def __init__(
        self,
        folder: Path,
        preload: tuple[str, ...] = ("heavy", "job.main"),
        bounds: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        package = folder / "modules" / "job"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "main.py").write_text(MODULE)
        (folder / "modules" / "heavy.py").write_text("import os\nPID = os.getpid()\n")
        self.images = image_table(PYTHONPATH=str(folder / "modules"))
        self.reference = GuardedLauncher()
        self.folder = folder
        self.launcher = WarmLauncher(
            settings=WarmSettings(preload=preload, log_dir=folder / "warm", **bounds),
            images=self.images,
            reference=self.reference,
        )

    def launch(self, name: str, *argv: str) -> tuple[Container, Launch]:
        """Run `python -m job.main argv`."""
        environment = {"COLOR": "blue"}
        log_path = self.folder / name / "log.txt"
        launch = Launch.of(self.images, "test/x", ("python", "-m", "job.main", *argv), environment, log_path)
        return self.launcher.launch(launch), launch


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WarmBench]:
    """A warm launcher that is closed afterwards."""
    bench = WarmBench(tmp_path)
    yield bench
    bench.launcher.close()
    bench.reference.close()


def words(launch: Launch) -> list[str]:
    """Return what a command wrote to its log, in words."""
    return launch.log_path.read_text().split()


def test_forks_share_what_the_parent_imported(bench: WarmBench) -> None:
    """Two commands run in forks of one parent, each with its own process, log, environment and folder."""
    (first, launch_1), (second, launch_2) = bench.launch("a", "0"), bench.launch("b", "0")
    codes = (first.wait(), second.wait())
    said_1, said_2 = words(launch_1), words(launch_2)

    assert codes == (0, 0)
    assert said_1[2] == said_2[2]
    assert len({said_1[2], said_1[5], said_2[5]}) == 3
    assert said_1[6:9] == ["['0']", "blue", str(launch_1.folder)]
    assert "to stderr" in launch_1.log_path.read_text()


@pytest.mark.parametrize(("argument", "code"), [("0", 0), ("3", 3), ("raise", 1)])
def test_a_fork_ends_like_a_fresh_interpreter(bench: WarmBench, argument: str, code: int) -> None:
    """Exit code and log of a fork are those of the plain subprocess."""
    warm, warm_launch = bench.launch("warm", argument)
    plain = bench.reference.launch(warm_launch)
    codes = (warm.wait(), plain.wait())
    last = [line for line in warm_launch.log_path.read_text().splitlines() if line.startswith("ValueError")]

    assert codes == (code, code)
    assert len(last) == (2 if argument == "raise" else 0)
    assert len(set(last)) <= 1


def test_a_fork_is_stopped(bench: WarmBench) -> None:
    """Stopping a fork ends it by the signal and leaves the parent ready for the next."""
    container, launch = bench.launch("a", "sleep")
    until(lambda: launch.log_path.exists() and "stderr" in launch.log_path.read_text())
    container.stop(5.0)
    again, _ = bench.launch("b", "0")

    assert container.wait() == -signal.SIGTERM
    assert again.wait() == 0


def test_a_dead_parent_is_replaced(bench: WarmBench) -> None:
    """A parent that is killed loses its forks, and the next command gets a new parent."""
    container, launch = bench.launch("a", "sleep")
    until(lambda: launch.log_path.exists() and "stderr" in launch.log_path.read_text())
    parent, child = int(words(launch)[2]), int(words(launch)[5])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(ContainerLostError):
        container.wait()
    until(lambda: not alive(child))
    again, launch_2 = bench.launch("b", "0")

    assert isinstance(again, WarmContainer)
    assert again.wait() == 0
    assert int(words(launch_2)[2]) != parent


@pytest.mark.parametrize("bounds", [{"max_forks": 2}, {"max_memory": 1}], ids=["forks", "memory"])
def test_a_worn_parent_is_replaced(tmp_path: Path, bounds: dict[str, int]) -> None:
    """A parent beyond its bounds keeps the forks that it has and ends with them; a successor has the next."""
    bench = WarmBench(tmp_path, bounds=bounds)
    long, launch = bench.launch("long", "sleep")
    until(lambda: launch.log_path.exists() and "stderr" in launch.log_path.read_text())
    old = int(words(launch)[2])
    numbers = count()

    def replaced() -> bool:
        container, latest = bench.launch(f"job{next(numbers)}", "0")
        return isinstance(container, WarmContainer) and container.wait() == 0 and int(words(latest)[2]) != old

    until(replaced)
    outlived = alive(old)
    long.stop(5.0)
    until(lambda: not alive(old))
    bench.launcher.close()

    assert outlived


def test_what_cannot_be_preloaded_runs_cold(tmp_path: Path) -> None:
    """An image in which the preload fails runs its commands as plain subprocesses."""
    bench = WarmBench(tmp_path, preload=("job.gone",))
    container, _ = bench.launch("a", "0")
    code = container.wait()
    bench.launcher.close()

    assert isinstance(container, GuardedContainer)
    assert code == 0


def test_other_commands_run_cold(bench: WarmBench) -> None:
    """Only `python -m` commands are forked."""
    launch = Launch.of(bench.images, "test/x", ("python", "-c", "pass"), {}, bench.folder / "c" / "log.txt")
    container = bench.launcher.launch(launch)

    assert isinstance(container, GuardedContainer)
    assert container.wait() == 0


def test_close_leaves_no_process(bench: WarmBench) -> None:
    """Parent and forks are gone when close returns."""
    _, launch = bench.launch("a", "sleep")
    until(lambda: launch.log_path.exists() and "stderr" in launch.log_path.read_text())
    parent, child = int(words(launch)[2]), int(words(launch)[5])
    bench.launcher.close()

    assert not alive(parent)
    assert not alive(child)
