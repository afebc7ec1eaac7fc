"""The work of BigQuery: a window's dataset, its splits on Cloud Storage, and the counts of both."""

from taxi_ml.sql.completeness import (
    Arrival,
    DamagedTripsError,
    EmptyDays,
    MissingTripsError,
    require_complete,
    waits_until,
)
from taxi_ml.sql.counts import DroppedTrips, SplitCounts, TooFewTripsError, require_rows
from taxi_ml.sql.statements import (
    Parameter,
    Statement,
    build_dataset,
    count_dropped,
    count_months,
    count_splits,
    create_schema,
    export_averages,
    export_split,
    list_days,
    newest_trip,
    scans,
)

__all__ = [
    "Arrival",
    "DamagedTripsError",
    "DroppedTrips",
    "EmptyDays",
    "MissingTripsError",
    "Parameter",
    "SplitCounts",
    "Statement",
    "TooFewTripsError",
    "build_dataset",
    "count_dropped",
    "count_months",
    "count_splits",
    "create_schema",
    "export_averages",
    "export_split",
    "list_days",
    "newest_trip",
    "require_complete",
    "require_rows",
    "scans",
    "waits_until",
]
