"""The statements that BigQuery runs, with their parameters."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Final

from taxi_ml import naming
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql import columns
from taxi_ml.sql.columns import ColumnType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date

    from taxi_ml.settings import Settings
    from taxi_ml.sql.columns import Column
    from taxi_ml.window import Window

DAYS_OF_A_MONTH: Final = 30
"""A month of history; every trip looks back over the same time."""

_WEEK: Final = timedelta(weeks=1)
_MAX_DISAGREEMENT: Final = timedelta(minutes=30)
METRES_OF_A_MILE: Final = 1609.344
_LAST_BUCKET: Final = 99
_SAMPLE_BUCKETS: Final = 10**9
_EXPORTS: Final = {
    ExamplesFormat.CSV: {"options": "format = 'CSV', header = true", "float": "STRING"},
    ExamplesFormat.PARQUET: {"options": "format = 'PARQUET', compression = 'SNAPPY'", "float": "FLOAT64"},
}
"""The options of each format, and the type that floats are written as: a CSV would lose the point of 7.0."""
_EXPORTED_AS: Final = {ColumnType.INTEGER: "export_integer", ColumnType.FLOAT: "export_float"}
"""The file with the expression that exports a column of each type."""

_FOLDER: Final = Path(__file__).parent


class ParameterType(StrEnum):
    """BigQuery's name of a parameter's type."""

    INT64 = "INT64"
    FLOAT64 = "FLOAT64"
    TIMESTAMP = "TIMESTAMP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value bound by name."""

    name: str
    value: float | datetime

    @property
    def type(self) -> ParameterType:
        """The type that BigQuery reads the value as."""
        if isinstance(self.value, datetime):
            return ParameterType.TIMESTAMP
        return ParameterType.INT64 if isinstance(self.value, int) else ParameterType.FLOAT64

    def resource(self) -> dict[str, Any]:
        """Return the parameter as a QueryParameter of BigQuery's REST API."""
        text = self.value.isoformat() if isinstance(self.value, datetime) else repr(self.value)
        return {
            "name": self.name,
            "parameterType": {"type": self.type.value},
            "parameterValue": {"value": text},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One GoogleSQL statement; identifiers are part of its text, values are bound as parameters."""

    sql: str
    parameters: tuple[Parameter, ...]

    def job_configuration(self, settings: Settings, labels: Mapping[str, str]) -> dict[str, Any]:
        """Return a JobConfiguration of BigQuery's REST API, as BigQueryInsertJobOperator takes it."""
        return {
            "query": {
                "query": self.sql,
                "useLegacySql": False,
                "parameterMode": "NAMED",
                "queryParameters": [parameter.resource() for parameter in self.parameters],
                "maximumBytesBilled": str(settings.maximum_bytes_billed),
            },
            "labels": dict(labels),
        }


def create_schema(settings: Settings) -> Statement:
    """Create the dataset for the windows' tables, if it does not exist."""
    return _statement("create_schema", {"dataset": f"{settings.project}.{settings.dataset}"}, {})


def newest_trip(settings: Settings, window: Window) -> Statement:
    """Find when the newest trip of the test months starts; one row, see `Arrival`.

    It reads one column: of these months if the table is partitioned by it, or else of the whole table.
    """
    table, _ = columns.source(settings)
    months = {"test_start": _midnight(window.test_start), "scan_end": _midnight(window.end)}
    return _statement("newest_trip", {"table": table}, months)


def count_months(settings: Settings, window: Window) -> Statement:
    """Count the usable trips of each month of the window; one row each, see `taxi_ml.months.Usable`.

    It reads two columns: of these months if the table is partitioned by the time, or else of the whole table.
    """
    table, _ = columns.source(settings)
    months = {"scan_start": _midnight(window.train_start), "scan_end": _midnight(window.end)}
    return _statement("count_months", {"table": table}, {"max_fare": settings.max_fare_usd, **months})


def build_dataset(settings: Settings, window: Window, *, absent: Collection[str] = frozenset()) -> Statement:
    """Write the window's table with the columns of the dataset, replacing what is there.

    Averages are over trips between the same two areas that ended before the trip starts and not more
    than `history_months` of 30 days, or 7 days, before it; both bounds of the frame are exact to the
    microsecond and the older one is included. Durations are in seconds, distances in miles,
    `rawDistance` in meters. With `source_table` the columns come from there, and those that are `absent`
    there are NULL. One of several trips with the same id is kept.
    """
    names = {"table": naming.dataset_table(settings, window), "trips": _trips(settings, absent)}
    values = _limits(settings) | {"scan_end": _midnight(window.end)}
    if settings.source_table:
        values["scan_start"] = _midnight(window.train_start)
        names["columns"] = _listed(column.name for column in columns.COLUMNS)
        return _statement("select_dataset", names, values)
    history = timedelta(days=DAYS_OF_A_MONTH * settings.history_months)
    longest = timedelta(hours=settings.max_trip_hours) + _MAX_DISAGREEMENT
    # A trip that ended at the far end of the history may have started before it, by as long as trips last.
    values["scan_start"] = _midnight(window.train_start) - history - longest
    values["train_start"] = _midnight(window.train_start)
    names["history_micros"] = str(history // timedelta(microseconds=1))
    names["week_micros"] = str(_WEEK // timedelta(microseconds=1))
    return _statement("build_dataset", names, values)


def count_dropped(settings: Settings, window: Window, *, absent: Collection[str] = frozenset()) -> Statement:
    """Count the window's trips that `build_dataset` leaves out, by reason; one row, see `DroppedTrips`."""
    months = {"scan_start": _midnight(window.train_start), "scan_end": _midnight(window.end)}
    return _statement("count_dropped", {"trips": _trips(settings, absent)}, _limits(settings) | months)


def scans(
    settings: Settings, window: Window, *, absent: Collection[str] = frozenset()
) -> dict[str, Statement]:
    """Return the statements that read the trips table, by name, in a form that writes nothing.

    A dry run of them needs no dataset, and reads the same bytes. The other statements read what
    `build_dataset` wrote, which is small in comparison.
    """
    built = {"build_dataset": build_dataset(settings, window, absent=absent)}
    if not settings.source_table:
        built["export_averages"] = export_averages(settings, window)
    queries = {
        # The first line says where the result goes.
        name: Statement(sql=statement.sql.partition(" AS\n")[2], parameters=statement.parameters)
        for name, statement in built.items()
    }
    return {
        "newest_trip": newest_trip(settings, window),
        **queries,
        "count_dropped": count_dropped(settings, window, absent=absent),
    }


def count_splits(settings: Settings, window: Window) -> Statement:
    """Count the trips of each split; one row, see `SplitCounts`."""
    return _statement(
        "count_splits",
        {"table": naming.dataset_table(settings, window)},
        {"test_start": _midnight(window.test_start), "eval_percent": settings.eval_percent},
    )


def list_days(settings: Settings, window: Window) -> Statement:
    """List the days of the window's table on which a trip starts; one row each, see `EmptyDays`."""
    return _statement("list_days", {"table": naming.dataset_table(settings, window)}, {})


def export_split(settings: Settings, window: Window, split: Split, *, share: float = 1.0) -> Statement:
    """Write one split to `naming.split_uri`: as CSV files with a header, or as Parquet.

    `share` of its trips are written, from 0 to 1: the same ones each time, and these among others with a
    larger share. Of n trips their number deviates from share * n by sqrt(n * share * (1 - share)) on average.

    Files of the same names are replaced; others in the folder stay, so empty it first. Unknown
    integers are 0, unknown floats -1.0, and `trip_start_timestamp` is Unix seconds.
    """
    first_day, last_day = (
        (window.test_start, window.end) if split is Split.TEST else (window.train_start, window.test_start)
    )
    examples_format = ExamplesFormat(settings.examples_format)
    return _statement(
        "export_split",
        {
            "uri": naming.split_uri(settings, window, split),
            "table": naming.dataset_table(settings, window),
            "sample_buckets": str(_SAMPLE_BUCKETS),
            "columns": _exported(columns.COLUMNS, examples_format),
            **_EXPORTS[examples_format],
        },
        {
            "split_start": _midnight(first_day),
            "split_end": _midnight(last_day),
            "first_bucket": settings.eval_percent if split is Split.TRAIN else 0,
            "last_bucket": settings.eval_percent - 1 if split is Split.EVAL else _LAST_BUCKET,
            # Rounded up, so that a share above 0 never becomes an empty sample.
            "sampled_buckets": math.ceil(share * _SAMPLE_BUCKETS),
        },
    )


def export_averages(settings: Settings, window: Window) -> Statement:
    """Write the averages of each pair of areas as of the window's end to `naming.averages_uri`, as CSV.

    They are those that `build_dataset` would give to a trip that starts at the window's end, with the same
    frames and formats. A `source_table` comes with its averages: the newest of each pair are written, from
    the last `history_months` of 30 days of the window's table.

    Files of the same names are replaced; others in the folder stay, so empty it first.
    """
    end = _midnight(window.end)
    history_start = end - timedelta(days=DAYS_OF_A_MONTH * settings.history_months)
    values = _limits(settings) | {
        "scan_start": history_start - timedelta(hours=settings.max_trip_hours) - _MAX_DISAGREEMENT,
        "scan_end": end,
        "history_start": history_start,
        "week_start": end - _WEEK,
    }
    names = {
        "uri": naming.averages_uri(settings, window),
        "columns": _exported(columns.AVERAGES, ExamplesFormat.CSV),
    }
    if settings.source_table:
        table = naming.dataset_table(settings, window)
        return _statement("export_newest_averages", {**names, "table": table}, values)
    return _statement("export_averages", {**names, "trips": _trips(settings, ())}, values)


def _trips(settings: Settings, absent: Collection[str]) -> str:
    """Return the query of all trips, each with the first reason to leave it out."""
    if settings.source_table:
        typed = _listed(
            f"CAST({'NULL' if each.name in absent else each.name} AS {each.type}) AS {each.name}"
            for each in columns.COLUMNS
        )
        return _text("source_trips", {"source_table": settings.source_table, "columns": typed})
    coordinates = (_text("coordinates", {"place": place}) for place in ("pickup", "dropoff"))
    return _text("trips", {"trips_table": settings.trips_table, "coordinates": ",\n".join(coordinates)})


def _exported(listed: Iterable[Column], examples_format: ExamplesFormat) -> str:
    form = _EXPORTS[examples_format]
    return _listed(_text(_EXPORTED_AS[column.type], {"name": column.name, **form}) for column in listed)


def _limits(settings: Settings) -> dict[str, float | datetime]:
    return {
        "max_seconds": settings.max_trip_hours * 3600.0,
        "max_disagreement": int(_MAX_DISAGREEMENT.total_seconds()),
        "max_fare": settings.max_fare_usd,
        "max_miles": settings.max_trip_miles,
        "max_metres": settings.max_trip_miles * METRES_OF_A_MILE,
        "west": columns.WEST,
        "east": columns.EAST,
        "south": columns.SOUTH,
        "north": columns.NORTH,
        "metres_of_longitude": columns.METRES_OF_LONGITUDE,
        "metres_of_latitude": columns.METRES_OF_LATITUDE,
    }


def _statement(
    name: str, identifiers: Mapping[str, str], values: Mapping[str, float | datetime]
) -> Statement:
    sql = _text(name, identifiers)
    used = sorted(set(re.findall(r"@(\w+)", sql)))
    return Statement(
        sql=sql, parameters=tuple(Parameter(name=parameter, value=values[parameter]) for parameter in used)
    )


def _listed(expressions: Iterable[str]) -> str:
    return ",\n  ".join(expressions)


def _text(name: str, identifiers: Mapping[str, str]) -> str:
    template = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    return Template(template).substitute(identifiers).rstrip()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
