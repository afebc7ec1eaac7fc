"""Starting, stopping and restarting the local cloud."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from local_gcp import pids, state
from local_gcp.errors import LocalCloudError, MissingToolError, PortInUseError, ServiceFailedError, StateError
from local_gcp.layout import PROJECT, Layout
from local_gcp.services import BIGQUERY, GCS, VERTEX, Declaration
from local_gcp.stack import Condition, Stack
from local_gcp.supervise import Service
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_gcp.services import Setting

pytestmark = pytest.mark.stack

# Says that it is ready when it has left a child in its session and one that detached itself from everything.
SPAWNER = """
import os, pathlib, sys, time
for detach in (False, True):
    if os.fork() == 0:
        if detach:
            os.setsid()
            if os.fork():
                os._exit(0)
        pathlib.Path(sys.argv[1], f"child{detach}").write_text(str(os.getpid()))
        time.sleep(600)
time.sleep(600)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Folders of a new local cloud."""
    return Layout(state=tmp_path / "state")


@pytest.fixture
def make_stack(layout: Layout) -> Iterator[Callable[..., Stack]]:
    """Make stacks over the same folder, stopped at the end of the test."""
    made = []

    def make(*declarations: Declaration) -> Stack:
        made.append(Stack(layout, declarations=declarations or (GCS,), progress=lambda _line: None))
        return made[-1]

    yield make
    for stack in made:
        stack.down()


def script(name: str, code: str, *arguments: str, ready: Callable[[], bool] = lambda: True) -> Declaration:
    """Declare a service that is a Python script."""

    def build(setting: Setting) -> Service:
        return Service(
            name=name,
            command=(sys.executable, "-c", textwrap.dedent(code), *arguments),
            directory=setting.layout.state,
            log=setting.layout.logs / f"{name}.log",
            healthy=ready,
            start_seconds=10,
            stop_seconds=2,
        )

    return Declaration(name=name, ports=(), build=build)


def pid_of(stack: Stack, name: str = "gcs") -> int:
    """Return the pid of a running service."""
    (found,) = [service.pid for service in stack.status() if service.name == name]
    assert found is not None
    return found


def kill(pid: int) -> None:
    """Kill a process with SIGKILL and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pids.identify(pid) is None)


def test_up_twice_starts_once(make_stack: Callable[..., Stack]) -> None:
    """A second up finds everything running and keeps it."""
    stack = make_stack()
    stack.up()
    first = pid_of(stack)
    stack.up()

    assert pid_of(stack) == first


def test_parallel_ups_start_once(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """Two ups at the same time start each service once: Cloud Storage is a guard and the server behind it."""
    stacks = [make_stack(), make_stack()]
    threads = [threading.Thread(target=stack.up) for stack in stacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    family = state.read(layout.stack_file).services["gcs"].family
    leader = pid_of(stacks[0])
    (server,) = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()

    assert {process.pid for process in pids.members(family)} == {leader, int(server)}


def test_killed_service_is_restarted_on_its_port(make_stack: Callable[..., Stack]) -> None:
    """After a service was killed, up starts it again at the same address."""
    stack = make_stack()
    stack.up()
    before = stack.client_environment()
    killed = pid_of(stack)
    kill(killed)
    stack.up()

    assert pid_of(stack) != killed
    assert stack.client_environment() == before


def test_ports_survive_down(make_stack: Callable[..., Stack]) -> None:
    """A stack that was stopped comes back at the same addresses."""
    stack = make_stack()
    stack.up()
    before = stack.client_environment()
    stack.down()
    stack.up()

    assert stack.client_environment() == before


def test_hung_service_is_restarted(make_stack: Callable[..., Stack]) -> None:
    """A service that runs but does not answer is replaced."""

    def impatient(setting: Setting) -> Service:
        return replace(GCS.build(setting), start_seconds=1)

    stack = make_stack(replace(GCS, build=impatient))
    stack.up()
    hung = pid_of(stack)
    os.kill(hung, signal.SIGSTOP)
    stack.up()

    assert pid_of(stack) != hung


def test_changed_declaration_restarts_the_service(make_stack: Callable[..., Stack]) -> None:
    """A service whose command changed since it was started is replaced."""
    stack = make_stack(script("sleeper", "import time; time.sleep(600)"))
    stack.up()
    old = pid_of(stack, "sleeper")
    changed = make_stack(script("sleeper", "import time; time.sleep(601)"))
    changed.up()

    assert pids.identify(old) is None
    assert pid_of(changed, "sleeper") != old


def test_down_leaves_no_process(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Children of a service end with it, even one that went into a session of its own."""
    files = [tmp_path / "childFalse", tmp_path / "childTrue"]

    def ready() -> bool:
        return all(file.exists() and file.read_text() for file in files)

    stack = make_stack(script("spawner", SPAWNER, str(tmp_path), ready=ready))
    stack.up()
    started = [pid_of(stack, "spawner"), *(int(file.read_text()) for file in files)]
    stack.down()

    assert [pids.identify(pid) for pid in started] == [None, None, None]


def test_down_finds_children_of_a_killed_service(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Processes that a killed service left behind are ended too."""
    files = [tmp_path / "childFalse", tmp_path / "childTrue"]

    def ready() -> bool:
        return all(file.exists() and file.read_text() for file in files)

    stack = make_stack(script("spawner", SPAWNER, str(tmp_path), ready=ready))
    stack.up()
    kill(pid_of(stack, "spawner"))
    stack.down()

    assert [pids.identify(int(file.read_text())) for file in files] == [None, None]


def test_stray_of_an_interrupted_up_is_replaced(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """A service that was started but never written down is ended when up starts it again."""
    stack = make_stack()
    stack.up()
    stray = pid_of(stack)
    state.write(layout.stack_file, state.read(layout.stack_file).without_service("gcs"))
    stack.up()

    assert pids.identify(stray) is None


def test_service_that_ignores_its_stop_signal_is_killed(make_stack: Callable[..., Stack]) -> None:
    """A service that does not stop when told to is killed when its time is over."""
    code = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    """
    stack = make_stack(script("stubborn", code))
    stack.up()
    pid = pid_of(stack, "stubborn")
    stack.down()

    assert pids.identify(pid) is None


def test_recycled_pid_is_left_alone(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """A process that merely has the pid of a dead service is neither taken for it nor stopped."""
    stack = make_stack()
    stack.up()
    current = state.read(layout.stack_file)
    record = current.services["gcs"]
    kill(record.pid)
    me = os.getpid()
    state.write(layout.stack_file, current.with_service("gcs", replace(record, pid=me)))
    (before,) = stack.status()
    stack.down()

    assert before.condition is Condition.STOPPED
    assert pids.identify(me) is not None


def test_port_in_use(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """A port that another program took is an error that names it and the remedy, which works."""
    stack = make_stack()
    stack.up()
    stack.down()
    port = state.read(layout.stack_file).ports["gcs"]
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(PortInUseError, match=rf"gcs: port {port} .*--new-ports"):
            stack.up()
        stack.up(new_ports=True)

    assert state.read(layout.stack_file).ports["gcs"] != port


def test_service_that_fails_shows_the_end_of_its_log(make_stack: Callable[..., Stack]) -> None:
    """A service that stops while starting is an error with exit code, path of the log and its last lines."""
    stack = make_stack(script("broken", "import sys; print('the reason'); sys.exit(7)", ready=lambda: False))

    with pytest.raises(
        ServiceFailedError, match=r"(?s)broken stopped with exit code 7 .*broken\.log.*the reason"
    ):
        stack.up()


def test_failed_service_is_not_kept(make_stack: Callable[..., Stack]) -> None:
    """After a failed start the service counts as stopped."""
    stack = make_stack(script("broken", "raise SystemExit(1)", ready=lambda: False))
    with pytest.raises(ServiceFailedError):
        stack.up()

    assert [service.condition for service in stack.status()] == [Condition.STOPPED]


def test_missing_program(make_stack: Callable[..., Stack]) -> None:
    """A program that is not installed is an error that names the command that installs it."""

    def build(setting: Setting) -> Service:
        return Service(
            name="absent",
            command=("no-such-program",),
            directory=setting.layout.state,
            log=setting.layout.logs / "absent.log",
            healthy=lambda: True,
        )

    with pytest.raises(MissingToolError, match=r"no-such-program.*make setup"):
        make_stack(Declaration(name="absent", ports=(), build=build)).up()


def test_vertex_needs_the_pipeline_environment(tmp_path: Path) -> None:
    """Without the pipeline environment Vertex AI does not start, and the message says how to create it."""
    stack = Stack(Layout(state=tmp_path / "state", repository=tmp_path), declarations=(VERTEX,))

    with pytest.raises(MissingToolError, match="make setup"):
        stack.up()


def damaged(**changes: object) -> str:
    """Return a state file with a service whose record has these values."""
    record = {"pid": 7, "start_time": 1, "mark": "m", "log": "l", "fingerprint": "f", "urls": {}}
    record |= {"stop_signal": 15, "stop_seconds": 1.0}
    return json.dumps({"version": 1, "mark": "m", "ports": {}, "services": {"gcs": record | changes}})


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "\0\0",
        "null",
        "[" * 99999,
        '{"version": 2}',
        '{"version": 1, "mark": "m", "ports": [1], "services": {}}',
        '{"version": 1, "mark": "m", "ports": {"gcs": "x"}, "services": {}}',
        damaged(pid="x"),
        damaged(pid=-1),
        damaged(stop_signal=999),
        damaged(urls=1),
    ],
    ids=lambda content: content[:60],
)
def test_unreadable_state_file(make_stack: Callable[..., Stack], layout: Layout, content: str) -> None:
    """A damaged state file is an error that names it and what to do, not an empty stack."""
    layout.state.mkdir()
    layout.stack_file.write_text(content)

    with pytest.raises(StateError, match=r"/stack\.json (is not|has version 2).*; end the processes"):
        make_stack().down()
    layout.stack_file.unlink()


def test_unknown_service(make_stack: Callable[..., Stack]) -> None:
    """Asking for a service that does not exist lists those that do."""
    with pytest.raises(LocalCloudError, match="unknown service pubsub; choose from gcs"):
        make_stack().up(["pubsub"])


def test_environment_before_up(make_stack: Callable[..., Stack]) -> None:
    """The services have no addresses for clients before they have been started."""
    with pytest.raises(LocalCloudError, match="local_gcp up"):
        make_stack().client_environment()


def test_reset_removes_everything(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """After a reset neither processes nor files are left."""
    stack = make_stack()
    stack.up()
    pid = pid_of(stack)
    stack.reset()

    assert pids.identify(pid) is None
    assert not layout.state.exists()


def test_reset_keeps_foreign_files(make_stack: Callable[..., Stack], layout: Layout) -> None:
    """A file that the stack did not make survives its reset."""
    layout.state.mkdir()
    (layout.state / "notes.txt").write_text("mine")
    stack = make_stack()
    stack.up()
    stack.reset()

    assert [path.name for path in layout.state.iterdir()] == ["notes.txt"]


def test_tables_survive_a_kill(make_stack: Callable[..., Stack]) -> None:
    """Tables are on disk: they are there again after BigQuery was killed and restarted."""
    stack = make_stack(GCS, replace(BIGQUERY, fill=None))
    stack.up()
    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
        client_options={"api_endpoint": stack.client_environment()["BIGQUERY_EMULATOR_HOST"]},
    )
    client.create_dataset("kept")
    client.query("CREATE TABLE kept.points AS SELECT 7 AS x, ST_GEOGPOINT(1, 2) AS place").result()
    kill(pid_of(stack, "bigquery"))
    stack.up()
    found = [row.x for row in client.query("SELECT x FROM kept.points").result()]

    assert found == [7]
