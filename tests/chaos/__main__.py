"""The command `make chaos`: run the DAG while its parts are killed, and check every run."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final

import requests

from local_gcp import state
from local_gcp.airflow import AIRFLOW
from local_gcp.airflow_client import AirflowError
from local_gcp.errors import LocalCloudError
from local_gcp.layout import STATE_VARIABLE, Layout
from local_gcp.services import CLOUD
from local_gcp.stack import Stack, to_stderr
from tests.chaos.interruptions import Interruption
from tests.chaos.suite import Chaos
from tests.chaos.targets import Target, left_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.interruptions import Person
    from tests.chaos.suite import RunUnderFire

# Small enough for a run of a minute or two, and good enough for the gate while nothing serves.
SMALL: Final = {"train_months": 3, "tuner_trials": 0, "train_steps": 100}
_FIRST_MONTH: Final = 2
_MONTHS: Final = 11


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill and check; return 1 if there was a violation."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how many in all (%(default)s)")
    parser.add_argument("--kills-per-run", type=int, default=18, help="at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the dice (%(default)s)")
    options = parser.parse_args(arguments)
    layout = Layout.from_environment(os.environ)
    if not os.environ.get(STATE_VARIABLE):
        # Beside the demo's, which keeps its models and runs.
        layout = Layout(state=layout.state.with_name(f"{layout.state.name}-chaos"))
    stack = Stack(
        layout, declarations=(*CLOUD, *AIRFLOW), progress=lambda _line: None
    )  # services start over and over
    try:
        to_stderr(f"chaos: starting the local cloud and Airflow in {layout.state}")
        stack.up()
        chaos = Chaos(stack=stack, layout=layout, dice=Random(options.seed), progress=to_stderr)  # noqa: S311
        runs = _fire(chaos, options)
        interruptions = _interrupt(chaos.person, runs)
        mark = state.read(layout.stack_file).mark
        stack.down()
    except (LocalCloudError, AirflowError, requests.RequestException) as error:
        sys.stderr.write(f"chaos: {error}\n`python -m local_gcp logs` shows the servers' logs\n")
        return 1
    left = left_over(mark)
    sys.stdout.write(table(runs, left, interruptions))
    violations = [each.violations for each in runs] + [each.violations for each in interruptions]
    return 1 if left or any(violations) else 0


def _fire(chaos: Chaos, options: argparse.Namespace) -> list[RunUnderFire]:
    runs: list[RunUnderFire] = []
    for number in count():
        missing = options.kills - sum(len(run.kills) for run in runs)
        if missing <= 0 or number >= 2 * _MONTHS:
            return runs
        if number % 2 == 0 or number % _MONTHS == 0:
            # Every other run has no champion, and no run has one of a later month.
            chaos.cloud.empty_endpoints()
        window_end = f"2015-{_FIRST_MONTH + number % _MONTHS:02d}-01"
        to_stderr(f"chaos: run {number + 1}, testing on the month before {window_end}")
        run = chaos.run(
            {"window_end": window_end, "force_retrain": number >= _MONTHS, **SMALL},
            kills=min(missing, options.kills_per_run),
        )
        runs.append(run)
        to_stderr("".join(f"VIOLATION: {line}\n" for line in run.violations) or "chaos: no violations\n")
    return runs


def _interrupt(person: Person, runs: Sequence[RunUnderFire]) -> list[Interruption]:
    """Interrupt promotions as a person does, once everything is up again."""
    promoted = [run.run_id for run in runs if run.after and run.after.promoted]
    if not promoted:
        return [Interruption(deed="interrupted nothing", violations=["no run has promoted a model"])]
    to_stderr("chaos: clearing a promotion that has ended, then ending one that has not")
    window_end = f"2015-{_FIRST_MONTH + len(runs) % _MONTHS:02d}-01"
    return [
        person.clears_promotion(promoted[-1]),
        person.ends_promotion({"window_end": window_end, "force_retrain": len(runs) >= _MONTHS, **SMALL}),
    ]


def table(
    runs: Sequence[RunUnderFire], left: Sequence[str], interruptions: Sequence[Interruption] = ()
) -> str:
    """Return a table of the runs, the kills by target, and the interruptions."""
    lines = ["", "run  seconds  kills  pipeline jobs  compile jobs  versions  promoted  ended    violations"]
    for number, run in enumerate(runs, 1):
        after = run.after
        if after is None:
            continue
        lines.append(
            f"{number:>3}  {run.seconds:7.0f}  {len(run.kills):5}  {len(after.pipeline_jobs):13}  "
            f"{len(after.custom_jobs):12}  {len(after.versions):8}  "
            f"{'yes' if after.promoted else 'no':<8}  {after.run_state:<7}  {len(run.violations):10}"
        )
    killed = Counter(kill.target for run in runs for kill in run.kills)
    lines += ["", "killed with SIGKILL"]
    lines += [f"{target:<14}{killed[target]:4}" for target in Target]
    lines += [f"VIOLATION: run {n}: {line}" for n, run in enumerate(runs, 1) for line in run.violations]
    for each in interruptions:
        lines += ["", f"a person {each.deed}", *(f"VIOLATION: {line}" for line in each.violations)]
    lines += [f"VIOLATION: process {process} is left" for process in left]
    wrong = len(left) + sum(len(run.violations) for run in runs)
    wrong += sum(len(each.violations) for each in interruptions)
    lines += ["", f"{killed.total()} kills in {len(runs)} runs, {wrong} violations", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
