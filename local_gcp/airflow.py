"""Airflow on this machine: four more services of the stack, which run the DAGs of this repository."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local_gcp.errors import ServiceFailedError
from local_gcp.ports import HOST
from local_gcp.services import Declaration, client_environment
from local_gcp.supervise import Service, answers, tail
from local_gcp.tls import environment as tls_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_gcp.layout import Layout
    from local_gcp.services import Setting

_API: Final = "airflow-api"
_USER: Final = "admin"
_SECRETS: Final = ("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY")
_PROGRAM: Final = Path(sys.executable).with_name("airflow")
_START_SECONDS: Final = 120
_STOP_SECONDS: Final = 30

_LOCAL_SETTINGS: Final = Path(__file__).with_name("airflow_local_settings.py")
_VARIABLES: Final = Path(__file__).with_name("airflow.env")


def environment(setting: Setting) -> dict[str, str]:
    """Return the variables of every Airflow process: its folders, its API and the local cloud."""
    layout = setting.layout
    url = setting.url(_API)
    # docker-compose.yaml reads the same file.
    lines = (line for line in _VARIABLES.read_text().splitlines() if line and not line.startswith("#"))
    return {
        **client_environment(setting),
        **tls_environment(setting),
        **dict(line.split("=", 1) for line in lines),
        "AIRFLOW_HOME": str(layout.airflow),
        "PYTHONPATH": str(layout.repository),
        "AIRFLOW__CORE__DAGS_FOLDER": str(layout.repository / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(layout.repository / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{_USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords(layout)),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(setting.ports[_API]),
        "AIRFLOW__API__BASE_URL": url,
        **_kept(layout.airflow / "secrets.json", {name: secrets.token_hex(64) for name in _SECRETS}),
    }


def login(layout: Layout) -> tuple[str, str]:
    """Return user and password of the one administrator; the password is made once for a state folder.

    Without a password, any web page in the developer's browser could use the API on loopback.
    """
    return _USER, _kept(_passwords(layout), {_USER: secrets.token_urlsafe(12)})[_USER]


def _passwords(layout: Layout) -> Path:
    return layout.airflow / "passwords.json"


def _kept(file: Path, fresh: Mapping[str, str]) -> dict[str, str]:
    """Return a file's content; a missing file is first written with `fresh`, readable by its owner only."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(fresh))
        draft.replace(file)
    kept: dict[str, str] = json.loads(file.read_text())
    return kept


def _prepare(setting: Setting, progress: Callable[[str], None]) -> None:
    """Write the scheduler's settings and the password file, and create Airflow's database."""
    home = setting.layout.airflow
    (home / "config").mkdir(parents=True, exist_ok=True)
    login(setting.layout)
    shutil.copyfile(_LOCAL_SETTINGS, home / "config" / _LOCAL_SETTINGS.name)
    if (home / "airflow.db").exists():
        return
    progress("airflow: creating its database")
    log = setting.layout.logs / "airflow-db.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        command = [str(_PROGRAM), "db", "migrate"]
        ended = subprocess.run(
            command,
            env={**os.environ, **environment(setting)},
            cwd=home,
            stdout=output,
            stderr=output,
            check=False,
        )
    if ended.returncode:
        (home / "airflow.db").unlink(missing_ok=True)
        raise ServiceFailedError(f"airflow: its database could not be created; see {log}{tail(log)}")


def _service(setting: Setting, name: str, arguments: tuple[str, ...], healthy: Callable[[], bool]) -> Service:
    return Service(
        name=name,
        command=(str(_PROGRAM), *arguments),
        directory=setting.layout.airflow,
        log=setting.layout.logs / f"{name}.log",
        healthy=healthy,
        environment=environment(setting),
        start_seconds=_START_SECONDS,
        stop_seconds=_STOP_SECONDS,
    )


def _build_api(setting: Setting) -> Service:
    url = setting.url(_API)
    service = _service(setting, _API, ("api-server",), answers(f"{url}/api/v2/monitor/health"))
    return replace(service, ports={_API: setting.ports[_API]}, urls={"rest": url})


def _beats(setting: Setting, component: str) -> Callable[[], bool]:
    """Return a health check that passes while the API server sees the component's heartbeat."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(f"{setting.url(_API)}/api/v2/monitor/health", timeout=5) as answer:  # noqa: S310
                health: Mapping[str, Any] = json.load(answer)
        except OSError:
            return False
        return (health.get(component) or {}).get("status") == "healthy"

    return check


def _worker(name: str, component: str, *arguments: str) -> Declaration:
    def build(setting: Setting) -> Service:
        return _service(setting, name, arguments, _beats(setting, component))

    return Declaration(name=name, ports=(), build=build)


# The API server reads task logs as files, so the log servers, which listen on every interface, stay off.
AIRFLOW: Final = (
    Declaration(name=_API, ports=(_API,), prepare=_prepare, build=_build_api),
    _worker("airflow-scheduler", "scheduler", "scheduler", "--skip-serve-logs"),
    _worker("airflow-dag-processor", "dag_processor", "dag-processor"),
    _worker("airflow-triggerer", "triggerer", "triggerer", "--skip-serve-logs"),
)
