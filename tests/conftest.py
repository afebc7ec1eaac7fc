"""Fixtures that every area of tests shares: one local cloud for the whole session."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_gcp.airflow import AIRFLOW
from local_gcp.layout import Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack
from tests.local_stack import LocalStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """BigQuery with the taxi trips and Cloud Storage with the bucket, in a state folder of their own."""
    with tempfile.TemporaryDirectory(prefix="local_gcp_") as folder:
        layout = Layout(state=Path(folder).resolve())
        running = Stack(layout, declarations=(*CLOUD, *AIRFLOW))
        try:
            running.up(("bigquery", "gcs"))
            yield LocalStack(stack=running, layout=layout)
        finally:
            running.down()


@pytest.fixture(scope="session")
def local_stack(stack: LocalStack) -> LocalStack:
    """The local cloud with Vertex AI."""
    stack.stack.up([declaration.name for declaration in CLOUD])
    return stack


@pytest.fixture(scope="session")
def airflow_stack(local_stack: LocalStack) -> LocalStack:
    """The local cloud with Airflow, which runs the DAGs of this repository."""
    local_stack.stack.up()
    return local_stack
