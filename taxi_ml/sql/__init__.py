"""BigQuery's part: a window's dataset, its splits on Cloud Storage, and the counts of both."""

from taxi_ml.sql.completeness import DamagedTripsError, EmptyDays, require_complete
from taxi_ml.sql.counts import DroppedTrips, SplitCounts, TooFewTripsError, require_rows
from taxi_ml.sql.statements import (
    Parameter,
    Statement,
    build_dataset,
    count_dropped,
    count_splits,
    create_schema,
    export_split,
    list_days,
    scans,
)

__all__ = [
    "DamagedTripsError",
    "DroppedTrips",
    "EmptyDays",
    "Parameter",
    "SplitCounts",
    "Statement",
    "TooFewTripsError",
    "build_dataset",
    "count_dropped",
    "count_splits",
    "create_schema",
    "export_split",
    "list_days",
    "require_complete",
    "require_rows",
    "scans",
]
