"""Access to the Airflow of `make up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow import login
from tests.local_gcp.raw_http import send

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

pytestmark = pytest.mark.e2e

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def url(airflow_stack: LocalStack) -> str:
    """The URL of Airflow."""
    return airflow_stack.url("airflow-api", "rest")


@pytest.mark.parametrize("host", [{}, {"Host": "rebound.example"}], ids=["own", "rebound"])
@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        ("GET /auth/token", None),
        ("GET /auth/token/login", None),
        ("POST /auth/token", json.dumps({"username": "admin", "password": "admin"})),
    ],
)
def test_nobody_gets_a_token_without_the_password(
    url: str, host: dict[str, str], request_line: str, body: str | None
) -> None:
    """Airflow gives no token or session to a request without the password."""
    status, headers, answer = send(url, request_line, {**JSON, **host}, body)

    assert status in {401, 403}
    assert "access_token" not in answer
    assert "set-cookie" not in headers


def test_the_password_is_printed_and_kept_from_others(airflow_stack: LocalStack) -> None:
    """`make status` says how to get in; the file with the password is its owner's only."""
    user, password = login(airflow_stack.layout)
    environ = {**os.environ, "LOCAL_GCP_STATE_DIR": str(airflow_stack.layout.state)}
    command = [sys.executable, "-m", "local_gcp", "status"]
    repository = airflow_stack.layout.repository
    printed = subprocess.run(command, cwd=repository, env=environ, capture_output=True, text=True, check=True)
    (file,) = airflow_stack.layout.airflow.glob("passwords.json*")

    assert f"user {user}, password {password}\n" in printed.stdout
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_password_lets_in(airflow_stack: LocalStack, url: str) -> None:
    """A request with the password gets a token."""
    user, password = login(airflow_stack.layout)
    status, _, answer = send(
        url, "POST /auth/token", JSON, json.dumps({"username": user, "password": password})
    )

    assert status == 201
    assert json.loads(answer)["access_token"]
