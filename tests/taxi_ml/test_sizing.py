"""The consequences of a window's rows: the sample, Beam's runner, machines, steps, or a refusal."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from taxi_ml.dataflow import BeamRunner
from taxi_ml.gate.policy import MinRows
from taxi_ml.resources import Component
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings
from taxi_ml.sizing import (
    GB,
    LEAST_STEPS,
    MOST_STEPS,
    PASSES,
    TooLargeError,
    caps_too_low,
    growth,
    plan,
    sampled,
    train_steps,
)
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql import SplitCounts

if TYPE_CHECKING:
    from taxi_ml.sizing import Sizing

SETTINGS = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
UNCAPPED = SETTINGS.with_overrides(max_train_rows=0, max_test_rows=0)
BUNDLED = SplitCounts(train=8_873, eval=443, test=347)
PUBLIC = SplitCounts(train=64_102_331, eval=3_373_807, test=2_812_004)
ROWS = st.builds(
    SplitCounts,
    train=st.integers(1, 10**9),
    eval=st.integers(1, 10**8),
    test=st.integers(1, 10**8),
)
CAPS = st.just(0) | st.integers(2, 10**8)


def need(size: Sizing, component: Component) -> float:
    """Return the bytes that a component is expected to take."""
    (found,) = (each.bytes for each in size.needs if each.component == component)
    return found


def fitting(settings: Settings, planned: float) -> SplitCounts:
    """Return as many training rows as StatisticsGen is expected to hold in the planned bytes."""
    needed = growth(settings)[Component.STATISTICS_GEN]
    rows = int((planned - needed.fixed_bytes) / needed.row_bytes)
    return SplitCounts(train=rows - 151, eval=1, test=150)


def test_few_trips_are_taken_as_they_are() -> None:
    """The bundled trips are neither sampled nor sent to Dataflow, and get the steps for few rows."""
    size = plan(SETTINGS, BUNDLED)

    assert (size.exported, size.runner, size.machines) == (BUNDLED, BeamRunner.LOCAL, ())
    assert size.train_steps == LEAST_STEPS == 3000


@pytest.mark.parametrize("examples_format", ExamplesFormat)
def test_every_component_is_planned_with(examples_format: ExamplesFormat) -> None:
    """No component that may run is left out, in either format."""
    size = plan(SETTINGS.with_overrides(examples_format=examples_format, refit=True), BUNDLED)

    assert {each.component for each in size.needs} == set(Component)
    assert size.describe_needs().startswith("ExampleGen 1.4 GB 0 min, StatisticsGen 1.2 GB 0 min")


def test_the_public_table_is_sampled_by_default() -> None:
    """69 million trips become what one small machine holds, with room to spare."""
    size = plan(SETTINGS.with_overrides(dataflow_workers=50), PUBLIC)

    assert (size.exported.train, size.exported.test) == (1_500_000, 300_000)
    assert size.runner is BeamRunner.LOCAL
    assert max(each.bytes for each in size.needs) < 12 * GB / 2


def test_what_was_chosen_is_said_in_numbers() -> None:
    """Log and card have the trips of each split, those of the sample, and the share."""
    size = plan(SETTINGS, PUBLIC)

    assert size.describe_rows() == (
        "train 64,102,331 trips, sampled to 1,500,000 (2.3 %), "
        "eval 3,373,807 trips, sampled to 78,947 (2.3 %), "
        "test 2,812,004 trips, sampled to 300,000 (10.7 %)"
    )
    assert size.describe().endswith(
        "; Beam runs on each component's own machine; 11,719 training steps at most"
    )


def test_a_window_without_a_sample_says_so_by_silence() -> None:
    """Below the caps no message mentions a sample."""
    assert plan(SETTINGS, BUNDLED).describe_rows() == "train 8,873 trips, eval 443 trips, test 347 trips"


@pytest.mark.parametrize(("extra", "sample"), [(0, False), (1, True)])
def test_one_trip_more_than_the_cap_makes_a_sample(extra: int, sample: bool) -> None:  # noqa: FBT001
    """A table with as many trips as the cap is not sampled."""
    size = plan(SETTINGS, SplitCounts(train=1_500_000 + extra, eval=80_000, test=300_000))

    assert (size.share(Split.TRAIN) < 1) is sample


@pytest.mark.parametrize(("extra", "runner"), [(0, BeamRunner.LOCAL), (1, BeamRunner.DATAFLOW)])
def test_one_trip_more_than_the_machine_holds_goes_to_dataflow(extra: int, runner: BeamRunner) -> None:
    """With Dataflow set up, auto takes it where StatisticsGen would outgrow 80 % of its machine."""
    most = fitting(UNCAPPED, 0.8 * 15 * GB)
    rows = SplitCounts(**asdict(most) | {"train": most.train + extra})

    assert plan(UNCAPPED.with_overrides(dataflow_workers=8), rows).runner is runner


def test_dataflow_becomes_a_setting_of_the_run() -> None:
    """The run's own settings name the runner that was chosen, and Beam's arguments follow."""
    chosen = UNCAPPED.with_overrides(dataflow_workers=8, max_test_rows=300_000)
    size = plan(chosen, PUBLIC)

    assert size.applied_to(chosen).beam_runner == "dataflow"
    assert "on Dataflow" in size.describe()


def test_auto_stays_away_from_a_dataflow_that_is_not_set_up() -> None:
    """Without Dataflow workers, a run that outgrows its machine is refused with numbers and two remedies."""
    with pytest.raises(TooLargeError) as refused:
        plan(UNCAPPED.with_overrides(max_test_rows=300_000), PUBLIC)

    assert str(refused.value).startswith(
        "StatisticsGen needs about 38.5 GB of memory for 64,102,331 training and 300,000 test trips; "
        "its machine has 15.0 GB, of which plans use 12.0 GB. Set TAXI_MAX_TRAIN_ROWS=18000000, "
        "or TAXI_DATAFLOW_WORKERS if Dataflow is set up"
    )


def test_local_asks_for_a_larger_machine() -> None:
    """With the local runner, components that need more memory request it, in whole gigabytes."""
    chosen = UNCAPPED.with_overrides(beam_runner="local")
    size = plan(chosen, SplitCounts(train=100_000_000, eval=5_000_000, test=300_000))
    wishes = size.applied_to(chosen).resources.by_component

    assert wishes.keys() == {Component.STATISTICS_GEN, Component.TRANSFORM}
    assert need(size, Component.STATISTICS_GEN) <= 0.8 * (wishes[Component.STATISTICS_GEN].memory or 0)
    assert "machine StatisticsGen=memory:120G" in size.describe()


def test_resources_that_are_named_win() -> None:
    """A component that TAXI_RESOURCES names gets exactly those resources, be they more or less."""
    rows = SplitCounts(train=20_000_000, eval=1_000_000, test=300_000)
    enough = UNCAPPED.with_overrides(resources="StatisticsGen=cpu:8,memory:32G")
    scant = UNCAPPED.with_overrides(beam_runner="local", resources="StatisticsGen=memory:8G")

    assert plan(enough, rows).machines == ()
    with pytest.raises(
        TooLargeError, match=r"machine has 8\.0 GB.*memory:30G for StatisticsGen in TAXI_RESOURCES"
    ):
        plan(scant, rows)


def test_no_machine_is_larger_than_the_largest() -> None:
    """A run that no machine can hold is refused, local or not."""
    with pytest.raises(TooLargeError, match="TAXI_MAX_TRAIN_ROWS="):
        plan(
            UNCAPPED.with_overrides(beam_runner="local"),
            SplitCounts(train=10**9, eval=10**7, test=300_000),
        )


def test_what_dataflow_does_not_do_must_fit() -> None:
    """The report reads the test rows on its own machine, wherever Beam runs."""
    with pytest.raises(TooLargeError, match=r"Report needs .* Set TAXI_MAX_TEST_ROWS=53000000, or TAXI_RES"):
        plan(UNCAPPED.with_overrides(dataflow_workers=8), SplitCounts(train=10**6, eval=10**4, test=10**8))


@pytest.mark.parametrize(
    ("beam_args", "runner"),
    [
        ("--runner=DataflowRunner", BeamRunner.DATAFLOW),
        ("--runner=FnApiRunner", BeamRunner.LOCAL),
        ("--direct_num_workers=4", BeamRunner.LOCAL),
        ("--runner=FlinkRunner", None),
        ("--machine_type=n2-highmem-8", BeamRunner.DATAFLOW),
    ],
)
def test_beam_arguments_win(beam_args: str, runner: BeamRunner | None) -> None:
    """A runner among the arguments, or an argument that only one runner takes, decides regardless of size."""
    chosen = UNCAPPED.with_overrides(dataflow_workers=8, max_test_rows=300_000, beam_args=beam_args)
    local = runner is BeamRunner.LOCAL
    rows = BUNDLED if local else PUBLIC
    size = plan(chosen, rows)

    assert size.runner is runner
    assert set(chosen.beam_args.texts) <= set(size.applied_to(chosen).beam_args.texts)


@pytest.mark.parametrize(
    ("rows", "steps"),
    [
        (8_873, LEAST_STEPS),
        (384_000, LEAST_STEPS),
        (384_001, LEAST_STEPS + 1),
        (1_500_000, 11_719),
        (5_000_000, 39_063),
        (64_000_000, MOST_STEPS),
    ],
)
def test_steps_follow_the_rows(rows: int, steps: int) -> None:
    """Two passes over the rows, not fewer steps than few rows are given, and not more than half an hour."""
    assert train_steps(rows, 256) == steps


def test_steps_that_are_given_stand() -> None:
    """TAXI_TRAIN_STEPS is the exact number of steps."""
    chosen = SETTINGS.with_overrides(train_steps=200)

    assert plan(chosen, PUBLIC).applied_to(chosen).train_steps == 200


@given(rows=st.integers(0, 10**9), more=st.integers(0, 10**9), batch=st.integers(1, 65_536))
def test_more_rows_never_mean_fewer_steps(rows: int, more: int, batch: int) -> None:
    """Steps grow with the rows, and cover all passes unless the ceiling is reached."""
    steps = train_steps(rows, batch)

    assert LEAST_STEPS <= steps <= train_steps(rows + more, batch) <= MOST_STEPS
    assert steps == MOST_STEPS or steps * batch >= PASSES * rows


@given(rows=ROWS, train=CAPS, test=CAPS, more=CAPS)
def test_a_larger_cap_exports_no_less(rows: SplitCounts, train: int, test: int, more: int) -> None:
    """Shares grow with the caps, 0 removes a cap, and eval shrinks as train does."""
    uncapped = sampled(_capped(0, 0), rows)
    smaller, larger = (sampled(_capped(*caps), rows) for caps in ((train, test), (train + more, test + more)))

    assert uncapped == rows
    for split in ("train", "eval", "test"):
        low, high = getattr(smaller, split), getattr(larger, split)
        assert (train if split != "test" else test) == 0 or low <= high <= getattr(rows, split)
    assert abs(smaller.eval / rows.eval - smaller.train / rows.train) <= 0.5 / rows.eval + 1e-9


def _capped(train: int, test: int) -> Settings:
    return SETTINGS.with_overrides(max_train_rows=train, max_test_rows=test)


@given(rows=ROWS, more=st.integers(0, 10**9))
def test_needs_grow_with_the_rows(rows: SplitCounts, more: int) -> None:
    """No component is expected to take less memory or time for more trips."""
    far = UNCAPPED.with_overrides(
        beam_args="--runner=FlinkRunner", resources="Report=memory:9T Trainer=memory:9T"
    )
    grown = SplitCounts(train=rows.train + more, eval=rows.eval + more, test=rows.test + more)
    before, after = plan(far, rows).needs, plan(far, grown).needs

    assert all(one.bytes <= other.bytes for one, other in zip(before, after, strict=True))
    assert all(one.seconds <= other.seconds for one, other in zip(before, after, strict=True))


@examples(max_examples=200, deadline=None)
@given(
    train=st.integers(10_000, 10**9),
    test=st.integers(10_000, 10**8),
    machine=st.sampled_from(["n1-standard-4", "n1-highmem-8", "e2-standard-2", "n1-highcpu-96"]),
)
def test_a_refusal_names_caps_that_are_enough(train: int, test: int, machine: str) -> None:
    """The caps that a refusal names for each component make the run possible."""
    rows = SplitCounts(train=train, eval=train // 19, test=test)
    chosen = UNCAPPED.with_overrides(machine_type=machine)
    try:
        size = plan(chosen, rows)
    except TooLargeError as refused:
        caps: dict[str, int] = {}
        for name, cap in re.findall(r"TAXI_(MAX_\w+_ROWS)=(\d+)", str(refused)):
            caps[name.lower()] = min(int(cap), caps.get(name.lower(), int(cap)))
        size = plan(chosen.with_overrides(**caps), rows)

    assert all(each.bytes <= 0.8 * _memory(machine) for each in size.needs)


def _memory(machine: str) -> float:
    sizes = {"n1-standard-4": 15, "n1-highmem-8": 52, "e2-standard-2": 8, "n1-highcpu-96": 86.4}
    return sizes[machine] * GB


@pytest.mark.parametrize("rows", [BUNDLED, SplitCounts(train=0, eval=0, test=0)])
def test_a_machine_that_holds_no_process_leaves_a_larger_one(rows: SplitCounts) -> None:
    """If even the imports take too much memory, no cap is named."""
    chosen = UNCAPPED.with_overrides(
        machine_type="n1-highcpu-2", beam_runner="local", resources="Report=memory:1G"
    )

    with pytest.raises(TooLargeError) as refused:
        plan(chosen, rows)

    assert str(refused.value).endswith("Set memory:2G for Report in TAXI_RESOURCES")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"beam_runner": "dataflow"}, "contradicts dataflow_workers (TAXI_DATAFLOW_WORKERS) = 0"),
        ({"beam_runner": "spark"}, "choose one of auto, local, dataflow"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, object], named: str) -> None:
    """A Dataflow that is not set up, and a runner that does not exist, are refused at the door."""
    with pytest.raises(SettingsError) as refused:
        SETTINGS.with_overrides(**wrong)

    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("caps", "problems"),
    [
        ({"max_train_rows": 1999}, ["max_train_rows (TAXI_MAX_TRAIN_ROWS) = 1999 is below 2000"]),
        ({"max_test_rows": 299}, ["max_test_rows (TAXI_MAX_TEST_ROWS) = 299 is below 300"]),
        ({"max_train_rows": 2000, "max_test_rows": 300}, []),
        ({"max_train_rows": 0, "max_test_rows": 0}, []),
    ],
)
def test_a_cap_that_the_gate_would_reject_is_a_problem(caps: dict[str, object], problems: list[str]) -> None:
    """A sample whose size varies around the policy's minimum would often be rejected after training."""
    least = MinRows(train=1000, eval=20, test=150)
    found = list(caps_too_low(SETTINGS.with_overrides(**caps), least))

    assert [each.partition(",")[0] for each in found] == [f"setting {each}" for each in problems]


def test_a_refusal_suggests_no_cap_below_the_minimum() -> None:
    """A cap with which the gate would reject is not offered as a remedy."""
    rows = SplitCounts(train=100_000_000, eval=5_000_000, test=300_000)
    least = MinRows(train=50_000_000, eval=20, test=150)

    with pytest.raises(TooLargeError, match="Set TAXI_DATAFLOW_WORKERS"):
        plan(UNCAPPED, rows, least)
