"""The sample that an export takes of more trips than a run can hold, on BigQuery."""

from __future__ import annotations

import dataclasses
import math
import uuid
from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taxi_ml import naming, sql
from taxi_ml.splits import Split
from taxi_ml.window import Window
from tests.taxi_ml.test_sql_dataset import exported
from tests.taxi_ml.trips import WINDOW

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from tests.local_stack import LocalStack
    from tests.taxi_ml.bigquery import BigQuery

pytestmark = pytest.mark.stack

YEAR = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted)


def sampled_ids(bq: BigQuery, chosen: Settings, split: Split, share: float) -> set[str]:
    """Return the ids of the trips that an export would write: its query, without the files."""
    statement = sql.export_split(chosen, YEAR, split, share=share)
    query = statement.sql[statement.sql.index(" AS\n") + 3 :]
    return {row["trip_id"] for row in bq.run(dataclasses.replace(statement, sql=query), chosen)}


@pytest.fixture(scope="module")
def long_settings(bq: BigQuery) -> Settings:
    """Settings of a window of 24 months of the real trips, its dataset built."""
    bq.run(sql.build_dataset(bq.settings, YEAR))
    return bq.settings


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shares=SHARES)
def test_a_larger_sample_holds_the_smaller(
    bq: BigQuery, long_settings: Settings, shares: list[float]
) -> None:
    """The same share is the same trips, and a larger one adds to them."""
    smaller, larger = (sampled_ids(bq, long_settings, Split.TRAIN, share) for share in shares)

    assert smaller <= larger
    assert smaller == sampled_ids(bq, long_settings, Split.TRAIN, shares[0])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_sample_has_the_size_of_its_share(bq: BigQuery, long_settings: Settings, share: float) -> None:
    """The number of trips is the share's, within five of its deviations."""
    everything = len(sampled_ids(bq, long_settings, Split.TRAIN, 1.0))
    found = len(sampled_ids(bq, long_settings, Split.TRAIN, share))

    assert abs(found - share * everything) <= 5 * math.sqrt(everything * share * (1 - share))


def test_a_sample_takes_from_every_eval_bucket_alike(bq: BigQuery, long_settings: Settings) -> None:
    """The sample is independent of the bucket by which trips are in train or eval."""
    everything, half = (sampled_ids(bq, long_settings, Split.TRAIN, share) for share in (1.0, 0.5))
    table = naming.dataset_table(long_settings, YEAR)
    rows = bq.client.query(
        f"SELECT trip_id, ABS(MOD(FARM_FINGERPRINT(trip_id), 100)) AS bucket FROM `{table}`"
    ).result()
    trips = [(row["bucket"], row["trip_id"] in half) for row in rows if row["trip_id"] in everything]
    counts = {bucket: [inside for other, inside in trips if other == bucket] for bucket in range(5, 100)}
    surprise = sum(
        (sum(inside) - len(inside) / 2) ** 2 / (len(inside) / 4) for inside in counts.values() if inside
    )

    # Chi-squared with 95 degrees of freedom: 95 on average, with a deviation of 14.
    assert surprise < 95 + 5 * math.sqrt(2 * 95)


def test_a_sample_has_the_histories_of_all_trips(bq: BigQuery, stack: LocalStack) -> None:
    """A trip of the sample is the same row that it is without sampling."""
    chosen = bq.settings.with_overrides(bucket=f"gs://taxi-local/{uuid.uuid4().hex}")
    bq.run(sql.build_dataset(chosen, WINDOW), chosen)
    everything = {row["trip_id"]: row for row in exported(bq, stack, chosen, Split.TRAIN)}
    sample = exported(bq, stack, chosen, Split.TRAIN, 0.3)

    assert 0 < len(sample) < len(everything)
    assert all(everything[row["trip_id"]] == row for row in sample)
