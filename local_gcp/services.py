"""The services of the local cloud, and how each is started."""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from local_gcp import gcs, workload
from local_gcp.errors import LocalCloudError, MissingToolError, ServiceFailedError
from local_gcp.layout import BUCKET, PROJECT, REGION
from local_gcp.ports import HOST
from local_gcp.supervise import Service, answers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local_gcp.layout import Layout

HOSTS_VARIABLE: Final = "LOCAL_GCP_HOSTS"
# A demo's roll-out lasts seconds, Cloud Monitoring's own period a minute.
_METRICS: Final = ("--metrics-period=2", "--metrics-delay=0.5:1.5")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The place of a service: its folders, the ports of all services, and the addresses for clients.

    ``bind`` is the address that servers listen on. ``hosts`` has the host name behind a port if it is not
    this machine, and ``console`` the URL of Vertex AI's pages if a browser needs another one than programs.
    ``told`` are further addresses that reach the servers, such as published ports and tunnels.
    """

    layout: Layout
    ports: Mapping[str, int]
    bind: str = HOST
    hosts: Mapping[str, str] = field(default_factory=dict)
    console: str = ""
    told: tuple[str, ...] = ()

    def place(self, port_name: str) -> str:
        """Return host and port for clients."""
        return f"{self.hosts.get(port_name, HOST)}:{self.ports[port_name]}"

    def url(self, port_name: str) -> str:
        """Return the URL of a port for clients."""
        return f"http://{self.place(port_name)}"

    def allow_hosts(self, port_name: str) -> list[str]:
        """Return the options that tell a port's server which addresses reach it."""
        return [f"--allow-host={address}" for address in (self.place(port_name), *self.told)]


def told_addresses(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Read LOCAL_GCP_HOSTS: addresses as a browser shows them, `host` or `host:port`, separated by commas.

    Raises:
        LocalCloudError: one of them is not an address.

    """
    told = tuple(filter(None, (each.strip() for each in environ.get(HOSTS_VARIABLE, "").split(","))))
    for address in told:
        if not _ADDRESS.fullmatch(address):
            raise LocalCloudError(
                f"{HOSTS_VARIABLE} has {address!r}, which is not an address; write host:port, as in "
                "localhost:8090, and separate several by commas"
            )
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A service of the stack before it has ports.

    ``ports`` names the ports it listens on, and ``build`` returns how it is started. Every ``up`` calls
    ``prepare`` before the service starts and ``fill`` once it is healthy; both must be idempotent.
    """

    name: str
    ports: tuple[str, ...]
    build: Callable[[Setting], Service]
    prepare: Callable[[Setting, Callable[[str], None]], None] | None = None
    fill: Callable[[Setting, Callable[[str], None]], None] | None = None


def client_environment(setting: Setting) -> dict[str, str]:
    """Return the variables with which clients reach this stack, and those that the repository adds."""
    connection = {
        "conn_type": "google_cloud_platform",
        "extra": {
            "is_anonymous": True,
            "project": PROJECT,
            "vertex_endpoint": setting.url("vertex.grpc"),
            "monitoring_endpoint": setting.url("vertex.grpc"),
            "vertex_console": setting.console or f"{setting.url('vertex.rest')}/console",
            "registry_endpoint": setting.url("vertex.rest"),
        },
    }
    return {
        "LOCAL_GCP_STATE_DIR": str(setting.layout.state),
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "BIGQUERY_EMULATOR_HOST": setting.url("bigquery.rest"),
        "STORAGE_EMULATOR_HOST": setting.url("gcs"),
        "AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT": json.dumps(connection, separators=(",", ":")),
        **workload.read(setting.layout.repository).environment,
    }


def _prepare_gcs(setting: Setting, _progress: Callable[[str], None]) -> None:
    gcs.find_server()  # a missing binary is reported here, not only in the service's log
    setting.layout.gcs_root.mkdir(parents=True, exist_ok=True)
    gcs.require_attributes(setting.layout.state)


def _build_gcs(setting: Setting) -> Service:
    root = setting.layout.gcs_root
    url = setting.url("gcs")
    port = setting.ports["gcs"]
    command = [sys.executable, "-m", "local_gcp.gcs_server", "--host", setting.bind, "--port", str(port)]
    command += ["--root", str(root), "--certificates", str(setting.layout.gcs_certificates)]
    command += ["--location", REGION.upper(), "--url", url, *setting.allow_hosts("gcs")]
    return Service(
        name="gcs",
        command=tuple(command),
        directory=setting.layout.repository,
        log=setting.layout.logs / "gcs.log",
        healthy=answers(f"{url}/_internal/healthcheck"),
        ports={"gcs": port},
        urls={"rest": url},
    )


def _create_bucket(setting: Setting, progress: Callable[[str], None]) -> None:
    request = urllib.request.Request(  # noqa: S310  # the stack's own loopback URL
        f"{setting.url('gcs')}/storage/v1/b?project={PROJECT}",
        method="POST",
        data=json.dumps({"name": BUCKET}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            progress(f"gcs: created bucket gs://{BUCKET}")
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.CONFLICT:
            raise ServiceFailedError(f"gcs: creating bucket {BUCKET} answered {error.code}") from error


def _build_bigquery(setting: Setting) -> Service:
    layout = setting.layout
    names = ("bigquery.rest", "bigquery.grpc")
    command = [sys.executable, "-m", "local_gcp.bigquery", "--project", PROJECT]
    command += ["--rest-port", str(setting.ports[names[0]]), "--grpc-port", str(setting.ports[names[1]])]
    command += ["--folder", str(layout.bigquery), "--gcs-root", str(layout.gcs_root), "--host", setting.bind]
    command += setting.allow_hosts(names[0])
    url = setting.url(names[0])
    return Service(
        name="bigquery",
        command=tuple(command),
        directory=layout.repository,
        log=layout.logs / "bigquery.log",
        healthy=answers(f"{url}/readyz"),
        ports={name: setting.ports[name] for name in names},
        urls={"rest": url},
    )


def _fill_bigquery(setting: Setting, progress: Callable[[str], None]) -> None:
    """Call the function by which the repository fills BigQuery."""
    fill = workload.read(setting.layout.repository).bigquery_filler()
    if fill:
        fill(setting, progress)


def _prepare_vertex(setting: Setting, _progress: Callable[[str], None]) -> None:
    """Write which image the pipeline environment stands for; the repository is the image's content."""
    layout = setting.layout
    if not layout.pipeline_python.exists():
        raise MissingToolError(f"{layout.pipeline_python} does not exist; run `make setup`")
    image = workload.read(layout.repository).image
    environment = {
        "PYTHONPATH": str(layout.repository),
        "CLOUD_STORAGE_MOUNT": str(layout.gcs_root),
        "SERVING_HOST": HOST,
    }
    row = image and {
        "image": image.pattern,
        "interpreter": str(layout.pipeline_python),
        "environment": environment,
        "labels": image.labels,
    }
    # Vertex AI may read the file at any moment and must never see half of it.
    fresh = layout.images.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps([row] if row else [], indent=2))
    fresh.replace(layout.images)


def _build_vertex(setting: Setting) -> Service:
    layout = setting.layout
    names = ("vertex.rest", "vertex.grpc")
    command = [sys.executable, "-m", "local_vertex", "--state", str(layout.vertex)]
    command += ["--rest-port", str(setting.ports[names[0]]), "--grpc-port", str(setting.ports[names[1]])]
    command += ["--gcs-root", str(layout.gcs_root), "--images", str(layout.images)]
    command += ["--own-images", str(layout.own_images)]
    command += ["--project", PROJECT, "--region", REGION, "--host", setting.bind, "--prestart", "--faults"]
    command += [*_METRICS, *setting.allow_hosts(names[0])]
    return Service(
        name="vertex",
        command=tuple(command),
        directory=layout.repository,
        log=layout.logs / "vertex.log",
        healthy=answers(setting.url(names[0])),
        ports={name: setting.ports[name] for name in names},
        urls={"rest": setting.url(names[0]), "grpc": setting.url(names[1])},
        environment=client_environment(setting),
        reads=(layout.own_images,),
        stop_seconds=20,
    )


GCS: Final = Declaration(
    name="gcs", ports=("gcs",), prepare=_prepare_gcs, build=_build_gcs, fill=_create_bucket
)
BIGQUERY: Final = Declaration(
    name="bigquery", ports=("bigquery.rest", "bigquery.grpc"), build=_build_bigquery, fill=_fill_bigquery
)
VERTEX: Final = Declaration(
    name="vertex", ports=("vertex.rest", "vertex.grpc"), prepare=_prepare_vertex, build=_build_vertex
)

# In start order; they stop in reverse.
CLOUD: Final = (GCS, BIGQUERY, VERTEX)
