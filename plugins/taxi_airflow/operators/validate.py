"""Refuse a run whose settings or parameters are wrong, before anything is submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.runs import override_of, run_of
from taxi_ml import naming
from taxi_ml.gate.decision import OverrideError
from taxi_ml.gate.policy import PolicyError, load
from taxi_ml.rules import SettingsError

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateOperator(BaseOperator):
    """Check settings, parameters and the gate's policy; returns the names of the window, table and folder.

    Everything wrong is named at once, each with its value and remedy, and no retry is made.
    """

    ui_color = "#f1f3f4"

    def execute(self, context: Context) -> dict[str, str]:
        """Check, and say what the run is about."""
        try:
            run = run_of(context)
            load()
            override_of(context)
        except (SettingsError, PolicyError, OverrideError) as error:
            problems = "\n  ".join(getattr(error, "problems", (str(error),)))
            raise AirflowFailException(f"this run cannot start:\n  {problems}") from error
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
