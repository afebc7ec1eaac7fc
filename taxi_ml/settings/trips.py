"""Where the trips come from, what their queries may cost, and which of them are left out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from taxi_ml.rules import Rule, between, matches
from taxi_ml.settings.project import PROJECT

WAIT_DAYS: Final = 14


class Check(StrEnum):
    """The checks that preflight makes before anything is spent."""

    IDENTITY = "identity"
    MACHINES = "machines"
    DATAFLOW = "dataflow"
    IMAGE = "image"
    BUCKET = "bucket"
    DATASET = "dataset"
    TRIPS = "trips"
    QUERIES = "queries"
    CHAMPION = "champion"


_TABLE: Final = rf"{PROJECT}\.[A-Za-z0-9_]{{1,1024}}\.[\w-]{{1,1024}}"
_FULL_TABLE: Final = "name it <project>.<dataset>.<table>"
_DAYS: Final = between(0, 7500, "days")
_CHECKS: Final = Rule(
    lambda checks: set(checks) <= set(Check),
    f"name checks to leave out, separated by spaces: {', '.join(Check)}",
)


@dataclass(frozen=True, kw_only=True)
class TripSettings:
    """Tables, queries and their budget; the bounds of a trip; how complete a window must be."""

    __slots__ = ()

    bigquery_location: Annotated[
        str, matches(r"US|EU|[a-z]+(-[a-z0-9]+)+", "name US, EU or a region such as us-central1")
    ] = "US"
    dataset: Annotated[str, matches(r"[A-Za-z0-9_]{1,1024}", "use letters, digits and underscores")] = "taxi"
    trips_table: Annotated[str, matches(_TABLE, _FULL_TABLE)] = (
        "bigquery-public-data.chicago_taxi_trips.taxi_trips"
    )
    source_table: Annotated[str, matches(f"|{_TABLE}", f"{_FULL_TABLE}, or leave it empty")] = ""
    maximum_bytes_billed: Annotated[int, between(10 * 1024**2, 10**15, "bytes for each query")] = (
        100 * 1024**3
    )
    usd_per_tib: Annotated[float, between(0, 1000, "USD for each TiB that a query reads")] = 6.25
    """BigQuery's on-demand price in US and EU: https://cloud.google.com/bigquery/pricing."""
    query_budget_usd: Annotated[float, between(0, 10**6, "USD for the queries of one run")] = 5.0
    preflight_skip: Annotated[tuple[str, ...], _CHECKS] = ()
    max_fare_usd: Annotated[float, between(1, 10_000, "USD")] = 200.0
    max_trip_miles: Annotated[float, between(1, 10_000, "miles")] = 100.0
    max_trip_hours: Annotated[float, between(0.25, 48, "hours")] = 6.0
    history_months: Annotated[int, between(1, 240, "months of 30 days")] = 12
    max_duplicate_percent: Annotated[float, between(0, 100, "percent of the window's trips")] = 1.0
    max_days_without_trips: Annotated[int, _DAYS] = 7
    """Between the first and the last trip of the window."""
    max_days_without_trips_at_end: Annotated[int, _DAYS] = 1
    """From the last trip to the end of the test months."""
    wait_days: Annotated[int, between(0, 60, "days after the window's end; 0 waits for nothing")] = WAIT_DAYS
    """The days after the end of the test months within which their last trips may arrive."""
