"""The cost of a run's jobs on Google Cloud, in USD: three sizes of tables, sampled and without a sample.

Nothing is run: seconds and rows are those that `taxi_ml.sizing` plans with, of which `growth.py` measures
the slopes. Beyond what it measures they are extrapolated, and so is all of Dataflow. The baseline is a run
over the bundled trips.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from taxi_ml.dataflow import BeamRunner  # noqa: E402  # after the path
from taxi_ml.resources import Component  # noqa: E402  # as above
from taxi_ml.settings import Settings  # noqa: E402  # as above
from taxi_ml.sizing import plan  # noqa: E402  # as above
from taxi_ml.sql import SplitCounts  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taxi_ml.sizing import Need, Sizing

# List prices in us-central1: Vertex AI's from memory, Dataflow's as Beam counts with them
# (apache_beam.testing.load_tests.dataflow_cost_consts of Beam 2.77).
MACHINE_HOUR: Final = 0.22
"""Vertex AI's custom jobs on n1-standard-4."""
WORKER_HOUR: Final = 0.056 + 3.75 * 0.003557
"""One vCPU of a Dataflow worker with its 3.75 GB; batch."""
SHUFFLED_GB: Final = 0.011

START_SECONDS: Final = 180.0
"""The time a component waits for its machine, and a Dataflow job for its workers; reported, not measured."""
BUSY: Final = 0.5
"""The share of their time that Dataflow's workers are assumed to work."""
WORKERS: Final = 50
BEAM_EXAMPLES: Final = 63.3e-6
"""CPU seconds by which TFX's CsvExampleGen makes an example by Beam (`examples_format.py`)."""
ROW_BYTES: Final = 400
"""The bytes of a row that each Beam component is assumed to shuffle; a row of CSV has 150."""

SETTINGS: Final = Settings(project="project", bucket="gs://bucket", pipeline_image="image:1")
ON_DATAFLOW: Final = SETTINGS.with_overrides(
    max_train_rows=0, max_test_rows=0, beam_runner="dataflow", dataflow_workers=WORKERS
)
TABLES: Final = (
    SplitCounts(train=8_873, eval=443, test=347),
    SplitCounts(train=5_460_000, eval=290_000, test=250_000),
    SplitCounts(train=62_900_000, eval=3_300_000, test=2_800_000),
)
"""The bundled trips of 24 + 1 months, and the shares of the public table's for 6 and 69 million."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the hours and the USD of each table, sampled and not."""
    argparse.ArgumentParser(description=__doc__).parse_args(arguments)
    print(
        f"{'trips':>12} {'':8}{'used':>12}",
        *(f"{name:>7}" for name in ("hours", "vCPU h", "GB", "USD", "ratio")),
    )
    baseline = cost(plan(SETTINGS, TABLES[0])).usd
    for rows in TABLES:
        for way, settings in (("sampled", SETTINGS), ("all", ON_DATAFLOW)):
            size = plan(settings, rows)
            taken = cost(size)
            cells = (
                taken.machine_hours,
                taken.worker_hours,
                taken.shuffled_gb,
                taken.usd,
                taken.usd / baseline,
            )
            print(f"{_all(rows):12,} {way:8}{_all(size.exported):12,}", *(f"{cell:7.2f}" for cell in cells))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Hours of Vertex AI's machines, of vCPUs of Dataflow's workers, and the gigabytes that they shuffle."""

    machine_hours: float
    worker_hours: float
    shuffled_gb: float

    @property
    def usd(self) -> float:
        """The price of all three."""
        return (
            MACHINE_HOUR * self.machine_hours
            + WORKER_HOUR * self.worker_hours
            + SHUFFLED_GB * self.shuffled_gb
        )


def cost(size: Sizing) -> Cost:
    """Return what a run of this size takes; while Beam works elsewhere, its component's machine waits."""
    away = [need for need in size.needs if need.uses_beam and size.runner is BeamRunner.DATAFLOW]
    working = sum(need.seconds for need in size.needs if need not in away)
    waiting = sum(START_SECONDS + _worker_seconds(need, size) / WORKERS for need in away)
    return Cost(
        machine_hours=(len(size.needs) * START_SECONDS + working + waiting) / 3600,
        worker_hours=sum(START_SECONDS + _worker_seconds(need, size) for need in away) / 3600,
        shuffled_gb=len(away) * ROW_BYTES * _all(size.exported) / 1e9,
    )


def _worker_seconds(need: Need, size: Sizing) -> float:
    """Return the vCPU seconds, including idle ones. On Dataflow, Beam makes the examples."""
    beam_makes_them = need.component is Component.EXAMPLE_GEN
    return (BEAM_EXAMPLES * _all(size.exported) if beam_makes_them else need.seconds) / BUSY


def _all(rows: SplitCounts) -> int:
    return sum(astuple(rows))


if __name__ == "__main__":
    sys.exit(main())
