"""BigQuery's part: a window's dataset, its splits on Cloud Storage, and the counts of both."""

from taxi_ml.sql.counts import DroppedTrips, SplitCounts, TooFewTripsError, require_rows
from taxi_ml.sql.statements import (
    Parameter,
    Statement,
    build_dataset,
    count_dropped,
    count_splits,
    create_schema,
    export_split,
    scans,
)

__all__ = [
    "DroppedTrips",
    "Parameter",
    "SplitCounts",
    "Statement",
    "TooFewTripsError",
    "build_dataset",
    "count_dropped",
    "count_splits",
    "create_schema",
    "export_split",
    "require_rows",
    "scans",
]
