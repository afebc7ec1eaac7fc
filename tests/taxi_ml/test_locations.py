from __future__ import annotations

import pytest

from taxi_ml.locations import can_export, contains, is_near


@pytest.mark.parametrize(
    ("bigquery", "bucket", "allowed"),
    [
        ("US", "EUROPE-WEST4", True),
        ("EU", "EU", True),
        ("EU", "EUROPE-WEST4", True),
        ("EU", "US-CENTRAL1", False),
        ("us-central1", "US-CENTRAL1", True),
        ("us-central1", "US", True),
        ("us-central1", "NAM4", True),
        ("us-west1", "NAM4", False),
        ("us-central1", "US-EAST1", False),
    ],
)
def test_where_bigquery_may_export_to(bigquery: str, bucket: str, *, allowed: bool) -> None:
    """From US anywhere; else the same location, or one inside the other."""
    assert can_export(bigquery=bigquery, bucket=bucket) == allowed


@pytest.mark.parametrize(
    ("region", "bucket", "near"),
    [
        ("us-central1", "US-CENTRAL1", True),
        ("us-central1", "US", True),
        ("us-central1", "EU", False),
        ("europe-west4", "EUR4", True),
    ],
)
def test_what_is_near_a_region(region: str, bucket: str, *, near: bool) -> None:
    """Jobs read without leaving their region or the multi-region that holds it."""
    assert is_near(region=region, bucket=bucket) == near


def test_a_region_holds_no_other() -> None:
    """Only multi-regions and dual-regions hold others."""
    assert not contains("us-central1", "us-central1")
