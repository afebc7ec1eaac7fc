"""The service `tls`: lets clients that know only Google's own addresses reach the local Vertex AI."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

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


def is_on(layout: Layout) -> bool:
    """Whether this state folder's cloud has been started with `--tls`; it stays so until `reset`."""
    return (layout.tls / "ca.pem").exists()


def environment(setting: Setting) -> dict[str, str]:
    """Return the variables by which gRPC clients take the proxy and trust it; none without `--tls`.

    They hold for all gRPC clients of a process: none of them reaches Google any more.
    """
    if not is_on(setting.layout) or _NAME not in setting.ports:
        return {}
    return {
        "grpc_proxy": setting.url(_NAME),
        "no_grpc_proxy": f"{HOST},localhost",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(setting.layout.tls / "ca.pem"),
    }


def _prepare(setting: Setting, _progress: Callable[[str], None]) -> None:
    certificates.write(setting.layout.tls, HOSTS)


def _build(setting: Setting) -> Service:
    port, target = setting.ports[_NAME], setting.ports["vertex.grpc"]
    command = [sys.executable, "-m", "local_gcp.tls_proxy", "--folder", str(setting.layout.tls)]
    command += ["--port", str(port), "--target-port", str(target)]
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
