"""Building the dataset from a million trips, against windows over single trips.

The baseline is the statement that the tests hold the product's against, tests/taxi_ml/reference_dataset.sql:
it sorts each trip twice, with all its columns. The trips are the real ones, repeated, each up to three
days later. In two of three cases nine of ten are between one pair of areas; in the last they start and end at
any second.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.taxi_pipeline.memory import sampled  # noqa: E402  # after the path
from benchmarks.taxi_pipeline.queries import Queries  # noqa: E402  # as above
from demo import trips  # noqa: E402  # as above
from local_gcp import state  # noqa: E402  # as above
from local_gcp.layout import PROJECT, Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from taxi_ml import sql  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above
from tests.taxi_ml.reference import reference_dataset  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.sql import Statement

WINDOW_END: Final = date(2015, 7, 1)
_REAL: Final = f"`{trips.PROJECT}.{trips.DATASET}.{trips.TABLE}`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A table of trips: the percent of them in one pair of areas, and the seconds that times are in."""

    name: str
    percent_in_one_pair: int
    step_seconds: int


CASES: Final = (
    Case(name="as they are", percent_in_one_pair=0, step_seconds=900),
    Case(name="90 % in one pair", percent_in_one_pair=90, step_seconds=900),
    Case(name="90 % in one pair, any second", percent_in_one_pair=90, step_seconds=1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a statement: seconds, CPU seconds of the server, and its peak memory in bytes."""

    seconds: float
    cpu: float
    bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each case, and print both statements' costs with the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=67, help="of the real trips; 67 are a million")
    parser.add_argument(
        "--cases", type=int, nargs="+", default=[1, 2, 3], help="by number, in the order above"
    )
    options = parser.parse_args(arguments)
    for number in options.cases:
        with tempfile.TemporaryDirectory(prefix="bench-build-") as folder:
            case = CASES[number - 1]
            baseline, product = _measure(Layout(state=Path(folder).resolve()), case, options.copies)
        print(
            f"{case.name:30} baseline {_shown(baseline)}  product {_shown(product)}  "
            f"ratio {product.seconds / baseline.seconds:.2f}, of CPU {product.cpu / baseline.cpu:.2f}",
            flush=True,
        )
    return 0


def _measure(layout: Layout, case: Case, copies: int) -> tuple[Cost, Cost]:
    """Return the costs of baseline and product over one table, each on a server that has just begun."""
    stack = Stack(layout, declarations=CLOUD, progress=lambda _: None)
    try:
        costs = []
        for build in (reference_dataset, sql.build_dataset):
            stack.up(("bigquery", "gcs"))
            environment = stack.client_environment()
            settings = Settings.from_environment(environment).with_overrides(
                trips_table=f"{PROJECT}.taxi.many_trips"
            )
            queries = Queries(environment["BIGQUERY_EMULATOR_HOST"], settings)
            queries.run(sql.create_schema(settings))
            queries.run(_many_trips(settings, case, copies))
            pid = state.read(layout.stack_file).services["bigquery"].pid
            costs.append(_cost(queries, build(settings, settings.window(WINDOW_END)), pid))
            stack.down(("bigquery",))
    finally:
        stack.down()
    baseline, product = costs
    return baseline, product


def _many_trips(settings: Settings, case: Case, copies: int) -> Statement:
    """Make a table of `copies` times the real trips; the same arguments give the same rows."""
    within = f"MOD(DIV(chance, 1000003), 100) < {case.percent_in_one_pair}"
    areas = ", ".join(
        f"IF({within}, {replacement}, {name}) AS {name}"
        for name, replacement in (
            ("pickup_census_tract", "NULL"),
            ("dropoff_census_tract", "NULL"),
            ("pickup_community_area", "8"),
            ("dropoff_community_area", "32"),
        )
    )
    later = f"INTERVAL {case.step_seconds} * MOD(chance, {3 * 86_400 // case.step_seconds}) SECOND"
    return sql.Statement(
        sql=f"""
CREATE OR REPLACE TABLE `{settings.trips_table}` AS
SELECT * EXCEPT (copy, chance) REPLACE (
  CONCAT(unique_key, '-', CAST(copy AS STRING)) AS unique_key,
  TIMESTAMP_ADD(trip_start_timestamp, {later}) AS trip_start_timestamp,
  TIMESTAMP_ADD(trip_end_timestamp, {later}) AS trip_end_timestamp,
  {areas}
)
FROM (
  SELECT
    *,
    ABS(MOD(FARM_FINGERPRINT(CONCAT(unique_key, CAST(copy AS STRING))), 1000000000000)) AS chance
  FROM {_REAL} CROSS JOIN UNNEST(GENERATE_ARRAY(1, {copies})) AS copy
)""",  # noqa: S608  # names and numbers of this file
        parameters=(),
    )


def _cost(queries: Queries, statement: Statement, pid: int) -> Cost:
    process = psutil.Process(pid)
    before = process.cpu_times()
    with sampled(pid) as memory:
        began = time.time()
        queries.run(statement)
        ended = time.time()
    after = process.cpu_times()
    return Cost(
        seconds=ended - began,
        cpu=after.user + after.system - before.user - before.system,
        bytes=memory.peak(began, ended),
    )


def _shown(cost: Cost) -> str:
    return f"{cost.seconds:6.1f} s, {cost.cpu:6.1f} s of CPU, {cost.bytes / 1e9:.2f} GB"


if __name__ == "__main__":
    sys.exit(main())
