"""The locations of buckets, BigQuery and Vertex AI that work together. Pure."""

from __future__ import annotations

from typing import Final

# The regions of each dual-region: https://cloud.google.com/storage/docs/locations.
_DUAL_REGIONS: Final = {
    "nam4": frozenset({"us-central1", "us-east1"}),
    "eur4": frozenset({"europe-north1", "europe-west4"}),
    "eur5": frozenset({"europe-west1", "europe-west2"}),
    "eur7": frozenset({"europe-west2", "europe-west3"}),
    "eur8": frozenset({"europe-west3", "europe-west6"}),
    "asia1": frozenset({"asia-northeast1", "asia-northeast2"}),
}
_PREFIXES: Final = {"us": "us-", "eu": "europe-", "asia": "asia-"}


def can_export(*, bigquery: str, bucket: str) -> bool:
    """Return whether BigQuery in one location may export to a bucket in another.

    From the US multi-region it may export anywhere; otherwise the bucket is in the same region or
    multi-region, or the one contains the other
    (https://cloud.google.com/bigquery/docs/exporting-data#data-locations).
    """
    source, target = bigquery.lower(), bucket.lower()
    return source in {"us", target} or contains(target, source) or contains(source, target)


def is_near(*, region: str, bucket: str) -> bool:
    """Return whether jobs in a region read a bucket without leaving its location."""
    return region.lower() == bucket.lower() or contains(bucket, region)


def contains(larger: str, smaller: str) -> bool:
    """Return whether a multi-region or dual-region contains a region."""
    outer, inner = larger.lower(), smaller.lower()
    if outer in _DUAL_REGIONS:
        return inner in _DUAL_REGIONS[outer]
    return outer in _PREFIXES and inner.startswith(_PREFIXES[outer])
