"""Refuse a run whose settings or parameters are wrong, before anything is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.runs import override_of, run_of
from taxi_ml import naming
from taxi_ml.gate.decision import OverrideError
from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.rules import SettingsError
from taxi_ml.sizing import caps_too_low

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context


class ValidateOperator(BaseOperator):
    """Check settings, parameters and the gate's policy; returns the names of the window, table and folder.

    Everything wrong is named at once, each with its value and remedy, and no retry is made.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> dict[str, str]:
        """Check, and say what the run is about."""
        problems = list(_unknown(context))
        run = None
        try:
            run = run_of(context)
            problems += caps_too_low(run.settings, load_policy().min_rows)
            override_of(context)
        except (SettingsError, PolicyError, OverrideError) as error:
            problems += getattr(error, "problems", (str(error),))
        if problems or run is None:
            raise AirflowFailException("\n  ".join(("this run cannot start:", *problems)))
        self.log.info(
            "Train on %s to %s, test until %s",
            run.window.train_start,
            run.window.test_start,
            run.window.end,
        )
        return {
            "window": run.window.id,
            "dataset": naming.dataset_table(run.settings, run.window),
            "splits": naming.data_uri(run.settings, run.window),
        }


def _unknown(context: Context) -> Iterator[str]:
    """Yield a problem for each parameter that the DAG does not have: Airflow accepts and ignores it."""
    known = context["dag"].params.keys()
    for name in sorted((context["dag_run"].conf or {}).keys() - known):
        yield f"parameter {name!r} is unknown; remove it, or choose from {', '.join(sorted(known))}"
