"""`make test-compose`: docker-compose.yaml from nothing to a promoted model, with crashes on the way.

It takes root, 20 GB of disk and about a quarter of an hour, and leaves nothing but Debian's packages if
they were missing: no container, image, network, volume, process or rule of its own.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demo.__main__ import DAG_ID, FIRST_WINDOW_END
from demo.results import Reader, read_results
from local_gcp import ports
from local_gcp.airflow_client import AirflowClient, AirflowError, RunState
from local_gcp.layout import BUCKET
from taxi_ml.gate.decision import Verdict
from tests.compose import engine, machine
from tests.compose.crashes import Crashes
from tests.compose.engine import Engine
from tests.compose.progress import ProofError, say
from tests.compose.project import Project

if TYPE_CHECKING:
    from demo.results import Results

# Enough to pass the gate, and a third of the time of the defaults.
_CONF: Final = {"window_end": FIRST_WINDOW_END.isoformat(), "train_steps": 600, "tuner_trials": 1}
_PORTS: Final = ("AIRFLOW_PORT", "VERTEX_PORT", "GCS_PORT", "BIGQUERY_PORT")
_UP_SECONDS: Final = 420
_RUN_SECONDS: Final = 1200


def main() -> int:
    """Prove it; return the exit status. SIGTERM ends this process only after everything is taken down."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        engine.require(Path(tempfile.gettempdir()))
        engine.install()
        before = machine.look()
        _with_engine()
        machine.require_unchanged(before)
    except (ProofError, AirflowError) as error:
        sys.stderr.write(f"test-compose: {error}\n")
        return 1
    say("proved; nothing is left")
    return 0


def _with_engine() -> None:
    running = Engine(Path(tempfile.mkdtemp(prefix="taxi-compose-")))
    daemon = running.start()
    try:
        say("an engine answers; making base images")
        running.make_base_images()
        _with_project(running)
    finally:
        running.stop(daemon)


def _with_project(running: Engine) -> None:
    chosen = {name: str(port) for name, port in ports.assign(_PORTS, {}).items()}
    project = Project(engine=running, variables=chosen)
    say("building images")
    project.build()
    for line in running.docker(
        "images", "--format", "{{.Repository}}:{{.Tag}} {{.Size}}", "taxi-vertex/*"
    ).split("\n"):
        say(f"    {line}")
    try:
        say("docker-compose up")
        project.up()
        project.await_settled(seconds=_UP_SECONDS)
        say("all services are healthy")
        _prove(project)
    except BaseException:
        sys.stderr.write(project.logs())
        raise
    finally:
        project.down()
    _require_empty(running)


def _prove(project: Project) -> None:
    airflow = AirflowClient(project.url("AIRFLOW_PORT"))
    passwords = json.loads(project.inside("airflow-api", "cat", "/opt/airflow/secrets/passwords.json"))
    airflow.authenticate("admin", passwords["admin"])
    airflow.await_dag(DAG_ID, deadline_seconds=120)
    run_id = airflow.trigger(DAG_ID, _CONF)
    say(f"triggered {run_id}")
    crashes = Crashes(project, project.url("VERTEX_PORT"))
    for task in airflow.watch(DAG_ID, run_id, deadline_seconds=_RUN_SECONDS, each=crashes.look):
        if task.state not in {None, "scheduled", "queued"}:
            say(f"    {task.task_id} {task.state} (try {task.try_number})")
    _require_success(airflow, run_id)
    crashes.require_all()
    _check(_results(project, airflow, run_id))


def _require_success(airflow: AirflowClient, run_id: str) -> None:
    if airflow.run_state(DAG_ID, run_id) == RunState.SUCCESS:
        return
    failed = [task for task in airflow.task_instances(DAG_ID, run_id) if task.state == "failed"]
    logs = "\n".join(airflow.log(DAG_ID, run_id, task)[-3000:] for task in failed)
    raise ProofError(f"run {run_id} failed in {[task.task_id for task in failed]}\n{logs}")


def _results(project: Project, airflow: AirflowClient, run_id: str) -> Results:
    environment = {"STORAGE_EMULATOR_HOST": project.url("GCS_PORT"), "TAXI_BUCKET": f"gs://{BUCKET}"}
    reader = Reader(environment=environment, vertex_url=project.url("VERTEX_PORT"))
    gate = airflow.xcom(DAG_ID, run_id, "gate")
    return read_results(reader, gate, airflow_url=airflow.url)


def _check(results: Results) -> None:
    sys.stdout.write(results.describe())
    if results.decision.verdict is not Verdict.PROMOTE or results.quote is None:
        raise ProofError(f"no model was promoted: {results.decision.reasons}")


def _require_empty(running: Engine) -> None:
    left = {
        "containers": running.docker("ps", "--all", "--quiet").split(),
        "volumes": running.docker("volume", "ls", "--quiet").split(),
        "networks": running.docker("network", "ls", "--quiet", "--filter", "type=custom").split(),
    }
    if any(left.values()):
        raise ProofError(f"docker-compose down left {left}")


if __name__ == "__main__":
    sys.exit(main())
