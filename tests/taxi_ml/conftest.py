"""Fixtures of the tests that run statements on BigQuery."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from taxi_ml import sql
from tests.taxi_ml.bigquery import BigQuery
from tests.taxi_ml.trips import WINDOW

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from tests.local_stack import LocalStack


@pytest.fixture(scope="module")
def bq(stack: LocalStack) -> BigQuery:
    """BigQuery with a dataset of this module's own."""
    return BigQuery(stack)


@pytest.fixture(scope="module")
def real_settings(bq: BigQuery) -> Settings:
    """Settings of a window of the real trips, its dataset built."""
    chosen = bq.settings.with_overrides(bucket=f"gs://taxi-local/{uuid.uuid4().hex}")
    bq.run(sql.build_dataset(chosen, WINDOW), chosen)
    return chosen
