"""The pages in Airflow: who sees them, what they show, and that they load nothing from elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from local_gcp.layout import BUCKET
from taxi_airflow.page.app import build
from taxi_ml.gate.decision import decide
from tests.airflow.page_server import SEEN_BY_STRANGERS
from tests.airflow.servers import REPOSITORY
from tests.local_gcp.raw_http import send
from tests.taxi_ml.records import DAG, decided, report_of, rollout_json, run_json, window
from tests.taxi_ml.reports import POLICY
from tests.waiting import wait_for
from vertex_airflow.labels import job_id
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.local_stack import LocalStack

pytestmark = pytest.mark.stack

JUNE, JULY = window("2015-06-01"), window("2015-07-01")
EVIL = '"><script>alert(1)</script>'
VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Airflow's API server, and the folder of the bucket whose runs its pages show."""

    url: str
    tokens: Mapping[str, str]
    store: ObjectStore
    bucket: str

    def get(self, path: str, person: str = "viewer") -> tuple[int, dict[str, str], str]:
        """Return status, headers and body of what a person's browser gets."""
        return send(self.url, f"GET /taxi/{path}", {"Cookie": f"_token={self.tokens[person]}"})

    def put(self, documents: Mapping[str, bytes], run_id: str, *, attempt: int = 0) -> None:
        """Write documents into the folder of an attempt of a run."""
        for name, content in documents.items():
            self.store.write(f"{self.bucket}/runs/{job_id(DAG, run_id, attempt)}/{name}", content)


@pytest.fixture(scope="module")
def server(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The API server with two months of runs in the bucket."""
    home: Path = tmp_path_factory.mktemp("airflow")
    bucket = f"gs://{BUCKET}/tests/{uuid.uuid4().hex}"
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {"is_anonymous": True, "project": "p", "vertex_console": "http://127.0.0.1:9/console"},
    }
    changes = {
        "STORAGE_EMULATOR_HOST": stack.environment["STORAGE_EMULATOR_HOST"],
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection),
    }
    environment = {
        **os.environ,
        **changes,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": "http://127.0.0.1:8080/",
        "AIRFLOW__API__SECRET_KEY": "a",
        "AIRFLOW__API_AUTH__JWT_SECRET": "a" * 64,
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.airflow.page_server.DagByDag",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "PYTHONPATH": str(REPOSITORY),
        "TAXI_BUCKET": bucket,
    }
    command = [sys.executable, "-m", "tests.airflow.page_server"]
    output = home / "log"
    with pytest.MonkeyPatch.context() as patch, output.open("w") as log:
        for name, value in changes.items():
            patch.setenv(name, value)
        process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=log, stderr=log)
        try:
            wait_for(lambda: bool(_said(output)) or process.poll() is not None, seconds=120)
            assert process.poll() is None, output.read_text()
            said = json.loads(_said(output))
            yield _with_two_months(
                Server(
                    url=f"http://127.0.0.1:{said['port']}",
                    tokens=said["tokens"],
                    store=ObjectStore(gcp_conn_id="google_cloud_default"),
                    bucket=bucket,
                )
            )
        finally:
            process.terminate()
            process.wait(20)


def _said(output: Path) -> str:
    """Return the line with the port, once it is whole; Airflow writes its log to the same place."""
    lines = output.read_text().splitlines(keepends=True)
    return next((line for line in lines if line.startswith('{"port"') and line.endswith("\n")), "")


def _with_two_months(server: Server) -> Server:
    server.put(decided(JUNE, report_of(JUNE, None)) | {"rollout.json": rollout_json(1)}, "may")
    server.put(
        decided(JULY, report_of(JULY, JUNE))
        | {
            "run.json": run_json(JULY, "june"),
            "rollout.json": rollout_json(2),
            "card.html": b"<h1>The card</h1>",
        },
        "june",
    )
    server.put({"run.json": run_json(JUNE, "may")}, "may")
    return server


def paths() -> list[str]:
    """Return a path for each route of the app, and some that it does not have."""
    routes = [getattr(route, "path", "") for route in build().routes]
    known = [
        path.replace("{dag_id}", DAG).replace("{run_id:path}", "june").replace("{name}", "page.css")
        for path in routes
    ]
    return [*known, "/", "/docs", "/redoc", "/openapi.json", "/dags/~", "/dags", "/nothing/there"]


@pytest.mark.parametrize("cookie", [{}, {"Cookie": "_token="}, {"Cookie": "_token=forged"}])
def test_request_without_a_login_gets_nothing(server: Server, cookie: dict[str, str]) -> None:
    """Neither a page nor its style nor whether a run exists is shown to anybody who has not logged in."""
    answers = {
        (verb, path): send(server.url, f"{verb} /taxi{path}", cookie) for path in paths() for verb in VERBS
    }
    found = {asked: answer[::2] for asked, answer in answers.items()}

    assert {status for status, _ in found.values()} <= {401, 403, 404, 405}
    assert all(len(body) < 60 and "2015" not in body for _, body in found.values())
    assert {found["GET", f"/dags/{DAG}/runs/{run}"][0] for run in ("june",)} <= {401, 403}


@pytest.mark.parametrize("page", ["", "/runs/june", "/cards/june"])
@pytest.mark.parametrize("person", ["stranger", "nobody"])
def test_person_without_access_to_the_dag_is_refused(server: Server, person: str, page: str) -> None:
    """The pages of a DAG are for those who may see its runs in Airflow."""
    status, _, body = server.get(f"dags/{DAG}{page}", person)

    assert (status, body) == (403, '{"detail":"Forbidden"}')


def test_access_to_one_dag_shows_nothing_of_another(server: Server) -> None:
    """A run is looked for in the folder of the DAG in the path, and the track record is that DAG's."""
    status, _, track = server.get(f"dags/{SEEN_BY_STRANGERS}", "stranger")
    missing, _, run = server.get(f"dags/{SEEN_BY_STRANGERS}/runs/june", "stranger")

    assert (status, missing) == (200, 404)
    assert "2015" not in track + run


def test_run_says_what_was_decided_first(server: Server) -> None:
    """The page of a run opens with a sentence, and links job, card, version and endpoint."""
    status, _, page = server.get(f"dags/{DAG}/runs/june")

    assert status == 200
    assert page.index("The gate accepts the model. Its mean absolute error is 2.40 USD") < page.index(
        "<table"
    )
    assert 'href="/taxi/dags/taxi_training/cards/june"' in page
    for resource in ("models/7@2", "endpoints/5", f"pipelineJobs/{job_id(DAG, 'june')}"):
        assert (
            f'href="http://127.0.0.1:9/console/projects/taxi-local/locations/us-central1/{resource}"' in page
        )


def test_card_is_shown_behind_the_same_login(server: Server) -> None:
    """The card comes from the bucket and runs nothing."""
    status, headers, card = server.get(f"dags/{DAG}/cards/june")

    assert (status, card) == (200, "<h1>The card</h1>")
    assert headers["content-security-policy"].endswith("sandbox")


def test_track_record_has_both_months(server: Server) -> None:
    """The page of the DAG lists its runs, each linked to its page."""
    status, _, page = server.get(f"dags/{DAG}")

    assert status == 200
    assert 'href="/taxi/dags/taxi_training/runs/june">June 2015</a>' in page
    assert "The model of June 2015 serves since 2026-11-01 03:30 UTC" in page


def test_pages_load_nothing_from_elsewhere(server: Server) -> None:
    """Browsers refuse every request but for the style and the script, and frames of other sites."""
    _, headers, _ = server.get(f"dags/{DAG}")
    policy = headers["content-security-policy"]

    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'")
    assert "frame-ancestors 'self'" in policy
    assert {server.get(name)[0] for name in ("page.css", "page.js")} == {200}


def test_roll_out_is_shown_as_it_goes_on(server: Server) -> None:
    """A changed document is read again, although the others of the run are kept."""
    run_id = "going-on"
    server.put(decided(JULY, report_of(JULY, JUNE)) | {"run.json": run_json(JULY, run_id)}, run_id)
    shown = []
    for document in (rollout_json(3, percents=(10,), state="running"), rollout_json(3)):
        server.put({"rollout.json": document}, run_id)
        shown.append(server.get(f"dags/{DAG}/runs/{run_id}")[2])

    assert "It has 10\N{NO-BREAK SPACE}% of the traffic now; next is 50\N{NO-BREAK SPACE}%" in shown[0]
    assert 'data-poll="5"' in shown[0]
    assert "It has had all of the traffic since" in shown[1]
    assert 'data-poll="0"' in shown[1]


def test_decision_of_a_later_attempt_is_found(server: Server) -> None:
    """Run and roll-out are in the first attempt's folder, the decision in that of the job that was judged."""
    run_id = "second-attempt"
    documents = decided(JULY, report_of(JULY, JUNE))
    server.put({"run.json": run_json(JULY, run_id), "rollout.json": rollout_json(4)}, run_id)
    server.put({name: documents[name] for name in ("report.json", "decision.json")}, run_id, attempt=2)
    _, _, page = server.get(f"dags/{DAG}/runs/{run_id}")

    assert "The gate accepts the model" in page
    assert f"pipelineJobs/{job_id(DAG, run_id, 2)}" in page


def test_strings_of_documents_cannot_become_markup(server: Server) -> None:
    """A run id, a slice and a reason with markup are shown as they are."""
    run_id = f"manual__{EVIL}/1"
    report = report_of(JULY, JUNE, mae=9.0)
    slices = (replace(report.slices[0], value=EVIL), *report.slices[1:])
    report = replace(report, slices=slices)
    decision = decide(POLICY, report).to_json().replace("2015-07_train24_test1", EVIL.replace('"', '\\"'))
    server.put(
        {
            "run.json": run_json(JULY, run_id),
            "report.json": report.to_json().encode(),
            "decision.json": decision.encode(),
            "rollout.json": rollout_json(5, state="rolled_back", reason=EVIL),
        },
        run_id,
    )
    _, _, page = server.get(f"dags/{DAG}/runs/{quote(run_id, safe='')}")
    _, _, track = server.get(f"dags/{DAG}")

    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page + track
    assert f'href="/taxi/dags/taxi_training/runs/{quote(run_id, safe="")}"' in track


def test_run_without_a_model_says_so(server: Server) -> None:
    """A run that Airflow does not know is not found, and the name is only shown to who may see the DAG."""
    status, _, page = server.get(f"dags/{DAG}/runs/{quote(EVIL, safe='')}")

    assert status == 404
    assert "There is no run &#34;&gt;&lt;script&gt;" in page


def test_airflow_lists_the_pages(server: Server) -> None:
    """Airflow's UI gets relative addresses, which hold below any base URL, with names that it fills in."""
    authorization = {"Authorization": f"Bearer {server.tokens['viewer']}"}
    _, _, body = send(server.url, "GET /api/v2/plugins?limit=100", authorization)
    views = {
        view["destination"]: view["href"]
        for plugin in json.loads(body).get("plugins", [])
        if plugin["name"] == "taxi_airflow"
        for view in plugin["external_views"]
    }

    assert views == {
        "dag_run": "taxi/dags/{DAG_ID}/runs/{RUN_ID}",
        "nav": "taxi/dags/taxi_training",
    }
