"""Statements as they are sent, without a server."""

from __future__ import annotations

import dataclasses
import re
from datetime import date

import pytest

from taxi_ml import sql
from taxi_ml.gate.policy import MinRows
from taxi_ml.modules import features
from taxi_ml.settings import Settings
from taxi_ml.splits import Split
from taxi_ml.sql import columns
from taxi_ml.window import Window

WINDOW = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
LEAST = MinRows(train=1000, eval=20, test=150)
SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
STATEMENTS = [
    sql.create_schema(SETTINGS),
    sql.build_dataset(SETTINGS, WINDOW),
    sql.build_dataset(SETTINGS.with_overrides(source_table="taxi-local.mine.trips"), WINDOW),
    sql.count_dropped(SETTINGS, WINDOW),
    sql.count_months(SETTINGS, WINDOW),
    sql.count_splits(SETTINGS, WINDOW),
    sql.list_days(SETTINGS, WINDOW),
    *(sql.export_split(SETTINGS, WINDOW, split) for split in Split),
    sql.export_averages(SETTINGS, WINDOW),
    sql.export_averages(SETTINGS.with_overrides(source_table="taxi-local.mine.trips"), WINDOW),
    *sql.scans(SETTINGS, WINDOW).values(),
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_parameter_is_bound_once(statement: sql.Statement) -> None:
    """A statement binds what it uses and nothing else."""
    assert sorted(set(re.findall(r"@(\w+)", statement.sql))) == [p.name for p in statement.parameters]
    assert "${" not in statement.sql


@pytest.mark.parametrize("statement", STATEMENTS)
def test_every_job_is_bounded_and_labelled(statement: sql.Statement) -> None:
    """Every job has a billing limit and the caller's labels."""
    configuration = statement.job_configuration(SETTINGS, {"app": "tests"})

    assert configuration["query"]["maximumBytesBilled"] == str(100 * 1024**3)
    assert configuration["query"]["useLegacySql"] is False
    assert configuration["labels"] == {"app": "tests"}


def test_parameters_carry_their_types() -> None:
    """Times, whole numbers and numbers go over the wire as such."""
    query = sql.build_dataset(SETTINGS, WINDOW).job_configuration(SETTINGS, {})["query"]
    sent = {
        p["name"]: (p["parameterType"]["type"], p["parameterValue"]["value"])
        for p in query["queryParameters"]
    }

    assert sent["train_start"] == ("TIMESTAMP", "2013-06-01T00:00:00+00:00")
    assert sent["scan_end"] == ("TIMESTAMP", "2015-07-01T00:00:00+00:00")
    assert sent["max_fare"] == ("FLOAT64", "200.0")
    assert sent["max_disagreement"] == ("INT64", "1800")


@pytest.mark.parametrize(
    ("share", "buckets"), [(0.0, 0), (1e-12, 1), (0.25, 250_000_000), (1.0, 1_000_000_000)]
)
def test_a_share_is_a_threshold(share: float, buckets: int) -> None:
    """All trips are below the threshold of the whole, none below that of nothing."""
    statement = sql.export_split(SETTINGS, WINDOW, Split.TRAIN, share=share)

    assert next(p.value for p in statement.parameters if p.name == "sampled_buckets") == buckets


def test_scan_reaches_as_far_back_as_the_first_trip_looks() -> None:
    """A trip that ended at the far bound may have started as long before as a trip may last."""
    (start,) = (p.value for p in sql.build_dataset(SETTINGS, WINDOW).parameters if p.name == "scan_start")

    assert str(start) == "2012-06-05 17:30:00+00:00"


def test_window_with_enough_trips_passes() -> None:
    """The least numbers are enough, and one trip less is not."""
    sql.require_rows(sql.SplitCounts(train=1000, eval=20, test=150), LEAST)

    with pytest.raises(sql.TooFewTripsError):
        sql.require_rows(sql.SplitCounts(train=1000, eval=20, test=149), LEAST)


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        (sql.SplitCounts(train=999, eval=50, test=150), "train has 999 of 1000"),
        (sql.SplitCounts(train=1000, eval=19, test=150), "eval has 19 of 20"),
        (sql.SplitCounts(train=1000, eval=50, test=70), "test has 70 of 150"),
    ],
)
def test_window_with_too_few_trips_stops(counts: sql.SplitCounts, problem: str) -> None:
    """The error has the counts and what to change."""
    with pytest.raises(sql.TooFewTripsError, match=problem) as stopped:
        sql.require_rows(counts, LEAST)

    assert f"test {counts.test}" in str(stopped.value)
    assert "lower min_rows in policy.toml" in str(stopped.value)


def dropped(**counts: int) -> sql.DroppedTrips:
    """Make counts that are 0 unless given."""
    names = [field.name for field in dataclasses.fields(sql.DroppedTrips)]
    return sql.DroppedTrips.from_row(dict.fromkeys(names, 0) | counts)


def test_dropped_trips_are_told_in_one_line() -> None:
    """Reasons that dropped nothing are not listed."""
    counts = dropped(scanned=12, kept=9, missing_fare=3)

    assert counts.describe() == "12 trips, 9 kept; left out: missing_fare 3"


def test_trips_without_a_possible_place_are_told() -> None:
    """Trips that are kept without their distance are named in the same line."""
    counts = dropped(scanned=12, kept=12, impossible_coordinates=2)

    assert counts.describe() == (
        "12 trips, 12 kept (2 without a distance: impossible_coordinates); left out: none"
    )


@pytest.mark.parametrize("table", ["", "taxi-local.mine.trips"])
def test_scans_write_nothing(table: str) -> None:
    """A dry run covers a query that writes nothing, and the one that the run will pay for."""
    settings = SETTINGS.with_overrides(source_table=table)

    scanned = sql.scans(settings, WINDOW)
    built = scanned["build_dataset"].sql

    assert not [name for name, each in scanned.items() if re.search("CREATE|EXPORT", each.sql)]
    assert sql.build_dataset(settings, WINDOW).sql.endswith(built)
    assert "SELECT" in built


@pytest.mark.parametrize("table", ["", "taxi-local.mine.trips"])
def test_the_columns_are_those_that_are_read(table: str) -> None:
    """Every column that a user's own table must have is in the statement."""
    settings = SETTINGS.with_overrides(source_table=table)

    _, wanted = columns.source(settings)

    assert wanted <= set(re.findall(r"\w+", sql.build_dataset(settings, WINDOW).sql))


def test_a_table_of_ones_own_may_lack_coordinates() -> None:
    """Optional columns are not required, and are NULL of their type where a table lacks them."""
    settings = SETTINGS.with_overrides(source_table="taxi-local.mine.trips")
    _, wanted = columns.source(settings)
    built = sql.build_dataset(settings, WINDOW, absent={"pickup_x"}).sql

    assert set(columns.DATASET) - wanted == {"pickup_x", "pickup_y", "dropoff_x", "dropoff_y"}
    assert "CAST(NULL AS FLOAT64) AS pickup_x" in built
    assert "CAST(pickup_y AS FLOAT64) AS pickup_y" in built


def test_every_input_of_the_model_is_a_listed_column() -> None:
    """The model reads only columns of the dataset, whose types fit the way it reads them."""
    types = {column.name: column.type for column in columns.COLUMNS}

    assert {features.IDENTIFIER, features.LABEL, *features.INPUTS} <= set(columns.DATASET)
    assert {types[name] for name in features.NULLABLE_FLOATS} == {columns.ColumnType.FLOAT}
    assert {types[name] for name in (*features.CALENDAR, *features.CATEGORIES)} == {
        columns.ColumnType.INTEGER
    }
