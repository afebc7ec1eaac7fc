from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_vertex.domain.errors import FailedPrecondition, NotFound, Unavailable
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.processes.model_servers import LocalModelServers
from local_vertex.run.ports import ContainerSpec
from tests.local_vertex_engine.specs import IMAGE, engine_settings, image_table
from tests.local_vertex_engine.test_cancel import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_vertex.run.ports import EngineSettings


SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == os.environ['AIP_HEALTH_ROUTE'] else 404, b'')

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        status = 200 if body.get('instances') else 400
        seen = {name: os.environ[name] for name in ('AIP_STORAGE_URI', 'AIP_MODE')}
        self.answer(status, json.dumps({'pid': os.getpid(), 'path': self.path, **seen}).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(('127.0.0.1', int(os.environ['AIP_HTTP_PORT'])), Handler).serve_forever()
"""
REFUSING = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200, b'')

    def do_POST(self):
        self.answer(413, b'{"error": "too large"}')

    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(('127.0.0.1', int(os.environ['AIP_HTTP_PORT'])), Handler).serve_forever()
"""
NOT_HTTP = """
import os, socket

print('pid', os.getpid(), flush=True)
server = socket.create_server(('127.0.0.1', int(os.environ['AIP_HTTP_PORT'])))
while True:
    connection, _ = server.accept()
    connection.recv(1000)
    connection.sendall(b'SSH-2.0-none\\r\\n')
    connection.close()
"""
SILENT = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(100)"
BODY = b'{"instances": [1]}'


def container(code: str) -> ContainerSpec:
    """Return a container that runs `code`."""
    return ContainerSpec(
        image=IMAGE, command=("python", "-c", code), predict_route="/predict", health_route="/health"
    )


def model_servers(settings: EngineSettings) -> LocalModelServers:
    """Return model servers of this interpreter."""
    return LocalModelServers(settings=settings, images=image_table(), launcher=GuardedLauncher())


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[LocalModelServers]:
    """Model servers that must be healthy within two seconds."""
    servers = model_servers(engine_settings(tmp_path, server_deadline=2.0))
    yield servers
    servers.close()


def test_a_model_is_served_by_the_container_contract(servers: LocalModelServers) -> None:
    """The server gets Vertex AI's variables and answers on its own routes; status codes pass through."""
    servers.start("7", container(SERVER), "gs://bucket/model")
    status, body = servers.predict("7", BODY)
    answer = json.loads(body)

    assert status == 200
    assert answer["AIP_STORAGE_URI"] == "gs://bucket/model"
    assert (answer["path"], answer["AIP_MODE"]) == ("/predict", "PREDICTION")
    assert servers.predict("7", b"{}")[0] == 400
    assert servers.running() == ("7",)


def test_a_body_that_is_refused_unread_is_answered(servers: LocalModelServers) -> None:
    """The answer of a server that closes before it has read the body is received."""
    servers.start("7", container(REFUSING), "gs://bucket/model")

    assert servers.predict("7", b"x" * 30_000_000) == (413, b'{"error": "too large"}')


def test_a_server_that_ends_says_why(servers: LocalModelServers) -> None:
    """A container that dies while it starts fails with its root cause and log."""
    with pytest.raises(
        FailedPrecondition, match=r"ended: exit code 1: ValueError: bad model; log: .*log.txt"
    ):
        servers.start("7", container("raise ValueError('bad model')"), "gs://bucket/model")

    assert servers.running() == ()


@pytest.mark.parametrize("code", [SILENT, NOT_HTTP], ids=["silent", "not HTTP"])
def test_a_server_that_is_never_healthy_is_ended(servers: LocalModelServers, code: str) -> None:
    """A container that does not answer by HTTP within the deadline fails and is stopped."""
    with pytest.raises(FailedPrecondition, match=r"not healthy within 2 s: pid \d+") as caught:
        servers.start("7", container(code), "gs://bucket/model")
    pid = int(str(caught.value).split("pid ")[1].split(";")[0])

    assert not alive(pid)


def test_a_server_that_does_not_listen_is_given_up(tmp_path: Path) -> None:
    """A container that loads its model before it listens fails, as its restarts on Vertex AI would."""
    servers = model_servers(engine_settings(tmp_path, liveness_deadline=1.0))
    with pytest.raises(FailedPrecondition, match="took no TCP connection for 1 s"):
        servers.start("7", container("import time; time.sleep(60)"), "gs://bucket/model")

    assert servers.running() == ()


def answers_from_another(servers: LocalModelServers, pid: int) -> bool:
    """Return whether the deployed model answers from another process."""
    try:
        return bool(json.loads(servers.predict("7", BODY)[1])["pid"] != pid)
    except Unavailable:
        return False


def test_a_dead_server_is_started_again(servers: LocalModelServers) -> None:
    """After a crash the deployed model answers again, from a new process."""
    servers.start("7", container(SERVER), "gs://bucket/model")
    pid = json.loads(servers.predict("7", BODY)[1])["pid"]
    os.kill(pid, signal.SIGKILL)

    until(lambda: answers_from_another(servers, pid))

    assert servers.running() == ("7",)


def test_a_server_that_cannot_be_started_again_is_tried_later(
    servers: LocalModelServers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine that is short of a resource for a while does not end a deployment."""
    log = Path(servers.start("7", container(SERVER), "gs://bucket/model").log_path)
    pid = json.loads(servers.predict("7", BODY)[1])["pid"]
    kept = log.parent.rename(tmp_path / "away")
    log.parent.touch()
    os.kill(pid, signal.SIGKILL)
    until(lambda: "could not be restarted yet" in capsys.readouterr().err)
    log.parent.unlink()
    kept.rename(log.parent)

    until(lambda: answers_from_another(servers, pid))

    assert servers.running() == ("7",)


def test_a_stopped_server_is_gone(servers: LocalModelServers) -> None:
    """Stop ends the process; a prediction then says that there is no server."""
    servers.start("7", container(SERVER), "gs://bucket/model")
    pid = json.loads(servers.predict("7", BODY)[1])["pid"]
    servers.stop("7")
    with pytest.raises(NotFound):
        servers.predict("7", BODY)

    assert not alive(pid)
