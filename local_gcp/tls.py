"""The service `tls`, through which clients that know only Google's addresses reach the local cloud."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi

from local_gcp import certificates
from local_gcp.ports import HOST
from local_gcp.services import Declaration
from local_gcp.supervise import Service, answers
from local_gcp.tls_proxy import HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_gcp.layout import Layout
    from local_gcp.services import Setting

_NAME: Final = "tls"
_HERE: Final = f"{HOST},localhost"
_BUNDLE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
# The port of the local cloud that answers REST for each of Google's hosts.
_REST: Final = {
    "aiplatform.googleapis.com": "vertex.rest",
    "*-aiplatform.googleapis.com": "vertex.rest",
    "cloudresourcemanager.googleapis.com": "vertex.rest",
    "monitoring.googleapis.com": "vertex.rest",
    "storage.googleapis.com": "gcs",
    "bigquery.googleapis.com": "bigquery.rest",
}


def is_on(layout: Layout) -> bool:
    """Return True if this state folder's cloud was started with `--tls`; it stays on until `reset`."""
    return (layout.tls / "ca.pem").exists()


def environment(setting: Setting) -> dict[str, str]:
    """Return the variables that make clients use the proxy and trust it; empty without `--tls`.

    They apply to all gRPC and HTTPS clients of a process, none of which can reach Google then.
    """
    if not is_on(setting.layout) or _NAME not in setting.ports:
        return {}
    return {
        "grpc_proxy": setting.url(_NAME),
        "no_grpc_proxy": _HERE,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(setting.layout.tls / "ca.pem"),
        # Some programs read only one of the spellings.
        **dict.fromkeys(("https_proxy", "HTTPS_PROXY"), setting.url(_NAME)),
        **dict.fromkeys(("no_proxy", "NO_PROXY"), _HERE),
        **dict.fromkeys(_BUNDLE_VARIABLES, str(_bundle(setting.layout))),
    }


def _bundle(layout: Layout) -> Path:
    """Return the file with our authority and those that clients trust anyway."""
    return layout.tls / "bundle.pem"


def _prepare(setting: Setting, _progress: Callable[[str], None]) -> None:
    """Create the certificate, and the bundle with its authority and the roots that clients used before."""
    layout = setting.layout
    certificates.write(layout.tls, HOSTS)
    told = (Path(os.environ[name]) for name in _BUNDLE_VARIABLES if os.environ.get(name))
    others = [file for file in told if file != _bundle(layout) and file.is_file()]
    roots = others[0] if others else Path(certifi.where())
    fresh = layout.tls / f"bundle.{os.getpid()}"
    fresh.write_bytes((layout.tls / "ca.pem").read_bytes() + roots.read_bytes())
    fresh.replace(_bundle(layout))


def _build(setting: Setting) -> Service:
    port, target = setting.ports[_NAME], setting.ports["vertex.grpc"]
    command = [sys.executable, "-m", "local_gcp.tls_proxy", "--folder", str(setting.layout.tls)]
    command += ["--port", str(port), "--target-port", str(target)]
    for hosts, port_name in _REST.items():
        command += ["--rest", hosts, str(setting.ports[port_name])]
    return Service(
        name=_NAME,
        command=tuple(command),
        directory=setting.layout.repository,
        log=setting.layout.logs / "tls.log",
        healthy=answers(setting.url(_NAME)),
        ports={_NAME: port},
        urls={"rest": setting.url(_NAME)},
    )


TLS: Final = Declaration(name=_NAME, ports=(_NAME,), prepare=_prepare, build=_build)
