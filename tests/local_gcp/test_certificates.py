"""Tests of the certificates of servers that stand for Google's."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING

from local_gcp import certificates

if TYPE_CHECKING:
    from pathlib import Path


def test_a_strict_client_accepts_the_server(tmp_path: Path) -> None:
    """Certificates pass strict verification by RFC 5280, the default from Python 3.13 on."""
    certificates.write(tmp_path, ["gcs.internal"])
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    asking = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    here, there = socket.socketpair()
    server = threading.Thread(target=lambda: serving.wrap_socket(there, server_side=True).close())
    server.start()
    with asking.wrap_socket(here, server_hostname="gcs.internal") as connection:
        shown = connection.getpeercert()
    server.join()

    assert shown is not None
    assert shown["subject"] == ((("commonName", "gcs.internal"),),)
