"""The size of a run: the sample, machines, Beam's runner and steps that follow from its rows. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.dataflow import BeamRunner
from taxi_ml.gate.policy import MinRows
from taxi_ml.pipeline.machines import MachineSize
from taxi_ml.resources import Component, Resources
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql.counts import SplitCounts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.settings import Settings

GB: Final = 10**9


class TooLargeError(ValueError):
    """A run needs more memory than its machines have; the message has numbers and the settings to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A component's needs: a fixed part, and a part for each row of the splits that it `reads`.

    Bytes are the peak of its own process, seconds are CPU time; both include imports.
    """

    reads: frozenset[Split] = frozenset()
    fixed_bytes: float = 1.1 * GB
    row_bytes: float = 0.0
    fixed_seconds: float = 8.0
    row_seconds: float = 0.0
    step_seconds: float = 0.0
    uses_beam: bool = False


_ALL: Final = frozenset(Split)
_LEARNED_FROM: Final = frozenset({Split.TRAIN, Split.EVAL})
_TEST: Final = frozenset({Split.TEST})

# From the growth in docs/benchmarks.md (`benchmarks/growth.py`): slopes from 14,000 to 1.9 million rows, with
# 300,000 in the test split and a champion. Memory grows most over the first rows; the fixed parts are chosen
# so that no measurement exceeds what is expected.
GROWTH: Final[Mapping[Component, Growth]] = {
    Component.STATISTICS_GEN: Growth(
        reads=_ALL,
        fixed_bytes=1.2 * GB,
        row_bytes=550,
        fixed_seconds=10,
        row_seconds=27e-6,
        uses_beam=True,
    ),
    Component.IMPORT_SCHEMA_GEN: Growth(),
    Component.SCHEMA_GEN: Growth(),
    Component.EXAMPLE_VALIDATOR: Growth(),
    Component.TRANSFORM: Growth(
        reads=_LEARNED_FROM,
        fixed_bytes=1.25 * GB,
        row_bytes=110,
        fixed_seconds=14,
        row_seconds=45e-6,
        uses_beam=True,
    ),
    # Its steps and its shuffle buffer are bounded, but it draws from all rows.
    Component.TUNER: Growth(reads=_LEARNED_FROM, fixed_bytes=1.3 * GB, fixed_seconds=25, row_seconds=10e-6),
    # Shuffles large splits through files, and evaluates on a bounded part of the eval split. The seconds are
    # those without early stopping.
    Component.TRAINER: Growth(fixed_bytes=1.3 * GB, fixed_seconds=9, step_seconds=0.015),
    Component.EVALUATOR: Growth(
        reads=_TEST,
        fixed_bytes=1.35 * GB,
        row_bytes=1_550,
        fixed_seconds=11,
        row_seconds=0.58e-3,
        uses_beam=True,
    ),
    Component.PUSHER: Growth(),
    # The baseline learns from a bounded number of training rows; the other ones are only read.
    Component.REPORT: Growth(
        reads=_TEST, fixed_bytes=1.35 * GB, row_bytes=200, fixed_seconds=16, row_seconds=65e-6
    ),
}

# Written in batches on one machine; from 1 to 5 million rows memory still grows by 43 and 58 bytes a row
# (`benchmarks/examples_format.py`). Beam writes them only on Dataflow.
EXAMPLE_GEN: Final[Mapping[ExamplesFormat, Growth]] = {
    ExamplesFormat.CSV: Growth(
        reads=_ALL, fixed_bytes=1.4 * GB, row_bytes=60, fixed_seconds=10, row_seconds=12e-6, uses_beam=True
    ),
    ExamplesFormat.PARQUET: Growth(
        reads=_ALL, fixed_bytes=1.4 * GB, row_bytes=60, fixed_seconds=10, row_seconds=11e-6, uses_beam=True
    ),
}

PLANNED_SHARE: Final = 0.8
"""The share of a machine's memory that plans may use: 12 of the 15 GB of n1-standard-4."""
LARGEST_MACHINE: Final = 624 * GB
"""n1-highmem-96, the most that one component can request."""

MEMORY_STEPS_GB: Final = (2, 4, 8, 15, 30, 60, 120, 240, 480, LARGEST_MACHINE // GB)
"""The sizes that a component requests if it needs more: those of n1-standard, and the largest."""

ONE_ROW: Final = MinRows(train=1, eval=1, test=1)

PASSES: Final = 2
"""The Trainer's passes over the rows unless the steps are bounded. Many rows need few passes."""
LEAST_STEPS: Final = 3_000
"""The steps for few rows; the Trainer itself makes 14 passes at most if it can count the rows."""
MOST_STEPS: Final = 100_000
"""About 25 minutes on n1-standard-4, or one pass over 25 million rows in batches of 256."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The expected peak memory of one component in bytes, and its seconds."""

    component: Component
    bytes: float
    seconds: float
    uses_beam: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """The size that was chosen for a run.

    `rows` are the window's trips, of which about `exported` are used. `runner` is None if the Beam arguments
    name one that is neither local nor Dataflow. `machines` are requests of components in addition to the
    settings, in the form of `taxi_ml.resources`.
    """

    rows: SplitCounts
    exported: SplitCounts
    runner: BeamRunner | None
    machines: tuple[str, ...]
    train_steps: int
    needs: tuple[Need, ...]

    def applied_to(self, settings: Settings) -> Settings:
        """Return the settings of a run of this size."""
        chosen: dict[str, object] = {"train_steps": self.train_steps}
        if self.machines:
            chosen["resources"] = Resources((*settings.resources.texts, *self.machines))
        if settings.runner is BeamRunner.AUTO:
            chosen["beam_runner"] = self.runner
        return settings.with_overrides(**chosen)

    def share(self, split: Split) -> float:
        """Return the share of a split's trips that is exported; eval's is that of train."""
        drawn = Split.TRAIN if split is Split.EVAL else split
        return _share(getattr(self.exported, drawn), getattr(self.rows, drawn))

    def describe_rows(self) -> str:
        """Return the size of each split and how much of it is used, for log and card."""
        return ", ".join(self._describe(split) for split in Split)

    def describe(self) -> str:
        """Return one line for a log: rows, where Beam runs, machines, steps."""
        where = {None: "as TAXI_BEAM_ARGS says", BeamRunner.LOCAL: "on each component's own machine"}
        return "; ".join(
            (
                self.describe_rows(),
                f"Beam runs {where.get(self.runner, 'on Dataflow')}",
                *(f"machine {text}" for text in self.machines),
                f"{self.train_steps:,} training steps at most",
            )
        )

    def describe_needs(self) -> str:
        """Return the expected needs of each component on a machine of its own, for a log."""
        return ", ".join(
            f"{need.component} {need.bytes / GB:.1f} GB {need.seconds / 60:.0f} min" for need in self.needs
        )

    def _describe(self, split: Split) -> str:
        there, used = getattr(self.rows, split), getattr(self.exported, split)
        sample = f", sampled to {used:,} ({100 * self.share(split):.1f} %)" if used < there else ""
        return f"{split} {there:,} trips{sample}"


def plan(settings: Settings, rows: SplitCounts, least: MinRows = ONE_ROW) -> Sizing:
    """Choose a sample, Beam's runner, machines and steps for a window with this many trips.

    Above the caps the trips are sampled. With `beam_runner` auto, Beam runs on each component's machine while
    that is expected to be enough, else on Dataflow where it is set up. With local, components that need it
    request a larger machine, unless `resources` names them. Explicit settings are not changed.
    A refusal suggests no cap that leaves fewer than the `least` rows.

    Raises:
        TooLargeError: where a component needs more memory than it can have.
        UnknownMachineTypeError: where `machine_type` does not say its size.

    """
    exported = sampled(settings, rows)
    steps = settings.train_steps or train_steps(exported.train, settings.batch_size)
    needs = tuple(_needs(settings, exported, steps))
    runner = _runner(settings, needs)
    # What uses Beam has its rows on the workers of another service, unless Beam runs locally.
    own = [need for need in needs if runner is BeamRunner.LOCAL or not need.uses_beam]
    return Sizing(
        rows=rows,
        exported=exported,
        runner=runner,
        machines=_larger_machines(settings, rows, least, own),
        train_steps=steps,
        needs=needs,
    )


def caps_too_low(settings: Settings, least: MinRows) -> Iterator[str]:
    """Yield a problem for each cap on the rows that could leave fewer than the gate requires.

    A sample's size varies by chance, and the gate counts the rows that were drawn: hence twice as many.
    """
    for name, most, enough in (
        ("max_train_rows", settings.max_train_rows, least.train),
        ("max_test_rows", settings.max_test_rows, least.test),
    ):
        if 0 < most < 2 * enough:
            yield (
                f"setting {name} (TAXI_{name.upper()}) = {most} is below {2 * enough}, twice the rows that "
                "the gate's policy asks for; raise it, or lower min_rows in policy.toml"
            )


def sampled(settings: Settings, rows: SplitCounts) -> SplitCounts:
    """Return about how many trips of each split the caps allow; eval shrinks in proportion to train."""
    train = min(rows.train, settings.max_train_rows or rows.train)
    test = min(rows.test, settings.max_test_rows or rows.test)
    return SplitCounts(train=train, eval=round(rows.eval * _share(train, rows.train)), test=test)


def train_steps(rows: int, batch_size: int) -> int:
    """Return the number of batches in `PASSES` over the training rows, within the bounds."""
    return min(MOST_STEPS, max(LEAST_STEPS, math.ceil(PASSES * rows / batch_size)))


def growth(settings: Settings) -> Mapping[Component, Growth]:
    """Return the needs of each component of a run with these settings, in the order in which they run.

    A refit, which comes last here, trains as the Trainer does.
    """
    refit = {Component.REFIT: GROWTH[Component.TRAINER]} if settings.refit else {}
    return {Component.EXAMPLE_GEN: EXAMPLE_GEN[ExamplesFormat(settings.examples_format)], **GROWTH, **refit}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _needs(settings: Settings, rows: SplitCounts, steps: int) -> Iterator[Need]:
    for component, needed in growth(settings).items():
        read = _read(rows, needed.reads)
        yield Need(
            component=component,
            bytes=needed.fixed_bytes + needed.row_bytes * read,
            seconds=needed.fixed_seconds + needed.row_seconds * read + needed.step_seconds * steps,
            uses_beam=needed.uses_beam,
        )


def _runner(settings: Settings, needs: tuple[Need, ...]) -> BeamRunner | None:
    chosen = settings.runner
    if chosen is not BeamRunner.AUTO:
        return chosen
    fits = all(_planned(settings, need.component) >= need.bytes for need in needs if need.uses_beam)
    return BeamRunner.LOCAL if fits or not settings.dataflow_workers else BeamRunner.DATAFLOW


def _planned(settings: Settings, component: Component) -> float:
    """Return the bytes that plans may use: of the component's own request, or of the common machine type."""
    wish = settings.resources.by_component.get(component)
    if wish is None or wish.memory is None:
        return PLANNED_SHARE * MachineSize.of(settings.machine_type).memory * GB
    return PLANNED_SHARE * wish.memory


def _larger_machines(
    settings: Settings, rows: SplitCounts, least: MinRows, needs: list[Need]
) -> tuple[str, ...]:
    """Return the components' requests in the form of `resources`.

    Raises:
        TooLargeError: for those that may not request more.

    """
    named = settings.resources.by_component
    short = [need for need in needs if need.bytes > _planned(settings, need.component)]
    grows = settings.beam_runner == BeamRunner.LOCAL
    refused = [
        need
        for need in short
        if not grows or need.component in named or need.bytes > PLANNED_SHARE * LARGEST_MACHINE
    ]
    if refused:
        raise TooLargeError("; ".join(_refusal(settings, rows, least, need) for need in refused))
    return tuple(_wish(need) for need in short)


def _wish(need: Need) -> str:
    return f"{need.component}={_memory(need)}"


def _memory(need: Need) -> str:
    """Return the memory of a machine that is large enough, in steps: each size is compiled anew."""
    least = need.bytes / PLANNED_SHARE / GB
    return f"memory:{next((step for step in MEMORY_STEPS_GB if step >= least), math.ceil(least))}G"


def _refusal(settings: Settings, rows: SplitCounts, least: MinRows, need: Need) -> str:
    planned = _planned(settings, need.component)
    there, needed = sampled(settings, rows), growth(settings)[need.component]
    found = [*_fitting_caps(needed, there, least, planned), *_larger(settings, need)]
    remedies = ", or ".join(found) or "fewer months: no machine is large enough"
    return (
        f"{need.component} needs about {need.bytes / GB:.1f} GB of memory for {there.train:,} training and "
        f"{there.test:,} test trips; its machine has {planned / PLANNED_SHARE / GB:.1f} GB, of which "
        f"plans use {planned / GB:.1f} GB. Set {remedies}"
    )


def _larger(settings: Settings, need: Need) -> Iterator[str]:
    movable = need.uses_beam and settings.runner is BeamRunner.AUTO
    if movable:
        yield "TAXI_DATAFLOW_WORKERS if Dataflow is set up"
    if need.bytes > PLANNED_SHARE * LARGEST_MACHINE:
        return
    if need.component in settings.resources.by_component:
        yield f"{_memory(need)} for {need.component} in TAXI_RESOURCES"
    elif movable:
        yield "TAXI_BEAM_RUNNER=local for a larger machine"
    else:
        yield f"TAXI_RESOURCES='{_wish(need)}' for a larger machine"


def _fitting_caps(needed: Growth, there: SplitCounts, least: MinRows, planned: float) -> Iterator[str]:
    """Yield the caps with which a component fits, in one string; nothing if it would have too few rows.

    Most trips are training trips, so the test trips are not capped unless they fill half of the memory.
    """
    learned, tested = (_read(there, needed.reads & splits) for splits in (_LEARNED_FROM, _TEST))
    if not needed.row_bytes * (learned + tested):
        return
    room = (planned - needed.fixed_bytes) / needed.row_bytes
    caps = {}
    if learned and tested <= room / 2:
        room, tested = room - tested, 0
    share = room / (learned + tested)
    if learned:
        caps["TAXI_MAX_TRAIN_ROWS"] = (_rounded_down(share * there.train), least.train)
    if tested:
        caps["TAXI_MAX_TEST_ROWS"] = (_rounded_down(share * there.test), least.test)
    # A cap of 0 would take all rows.
    if all(most >= max(1, enough) for most, enough in caps.values()):
        yield " and ".join(f"{name}={most}" for name, (most, _) in caps.items())


def _read(rows: SplitCounts, splits: frozenset[Split]) -> int:
    return sum(getattr(rows, split) for split in splits)


def _rounded_down(number: float) -> int:
    """Return a number rounded down to two digits, as a person would choose it."""
    whole = max(0, int(number))
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit
