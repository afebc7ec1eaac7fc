"""Train the months of a replay as evaluate-only runs, and hand their artifacts to its jobs."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.triggers.external_task import DagStateTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.links import ReplayLink
from taxi_airflow.replays import Months
from taxi_ml import image, naming
from taxi_ml.gate.policy import PolicyError
from taxi_ml.gate.policy import parse as parse_policy
from taxi_ml.replay.plan import Plan, PlannedMonth
from taxi_ml.rules import SettingsError
from taxi_ml.settings import Settings
from vertex_airflow.operators.connected import ConnectedOperator, check_given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

TRAINING_DAG: Final = "taxi_training"
_OVER: Final = ("success", "failed")
_POLL_SECONDS: Final = 5
# The ExampleGen is named by the format of its files.
_EXAMPLES: Final = "ExampleGen.examples"
_REPORT: Final = "Report.report"
SETTINGS_KEY: Final = "settings"
"""The XCom key of what the jobs of a replay need of the settings."""


class ListMonthsOperator(BaseOperator):
    """Check a replay's form, and return the arguments of `TrainMonthOperator`, one for each month.

    The id of a month's run is a digest of everything that its model depends on, so that two replays share
    the months that they have in common, and changed code or settings train them again.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Check everything at once."""
        params = context["params"]
        problems: list[str] = []
        months: Months | None = None
        try:
            settings = Settings.from_environment(os.environ)
            months = Months.of(params, settings)
        except SettingsError as error:
            problems += error.problems
        try:
            if text := params.get("policy"):
                parse_policy(text)
        except PolicyError as error:
            problems.append(str(error))
        if problems or months is None:
            raise AirflowFailException("\n  ".join(("this replay cannot start:", *problems)))
        names = ("region", "pipeline_image", "service_account", "compile_machine_type")
        context["ti"].xcom_push(key=SETTINGS_KEY, value={name: getattr(settings, name) for name in names})
        listed = months.runs(code=image.digest())
        self.log.info("%d months, %d at a time:", len(listed), months.workers)
        for each in listed:
            self.log.info("%s", each["trigger_run_id"])
        return listed


class TrainMonthOperator(TriggerDagRunOperator):
    """Wait for a run of `taxi_training` that promotes nothing, and trigger it unless it exists.

    :param after: id of the run that has to end before this one begins; empty: none
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "after")

    def __init__(
        self,
        *,
        after: str = "",
        **kwargs: Any,  # noqa: ANN401  # BaseOperator's
    ) -> None:
        super().__init__(
            trigger_dag_id=TRAINING_DAG,
            # Runs without a logical date are independent of each other and of the schedule.
            logical_date=None,
            wait_for_completion=True,
            deferrable=True,
            poke_interval=_POLL_SECONDS,
            fail_when_dag_is_paused=True,
            # The run keeps exactly what it was triggered with.
            openlineage_inject_parent_info=False,
            **kwargs,
        )
        self.after = after

    def execute(self, context: Context) -> None:
        """Wait for the run before this one; then trigger or attach."""
        if self.after and not _count(context, self.after, _OVER):
            self._wait_for(self.after, "execute_after")
        self.execute_after(context)

    def execute_after(self, context: Context, event: object = None) -> None:  # noqa: ARG002  # a trigger's
        """Attach to the run if it exists; trigger it otherwise.

        Raises:
            AirflowFailException: if the run exists and has failed.

        """
        run_id = str(self.trigger_run_id)
        if _count(context, run_id, ("failed",)):
            raise AirflowFailException(
                f"run {run_id} of {TRAINING_DAG} has failed; clear its failed task, and this one after it"
            )
        if _count(context, run_id, None):
            self.log.info("Attached to run %s", run_id)
            self._wait_for(run_id, "execute_complete")
        super().execute(context)

    def _wait_for(self, run_id: str, then: str) -> None:
        trigger = DagStateTrigger(
            dag_id=TRAINING_DAG,
            states=list(_OVER),  # type: ignore[arg-type]  # the provider's own list has strings too
            run_ids=[run_id],
            poll_interval=self.poke_interval,
        )
        self.defer(trigger=trigger, method_name=then)


def _count(context: Context, run_id: str, states: Sequence[str] | None) -> int:
    listed = None if states is None else list(states)
    found: int = context["ti"].get_dr_count(dag_id=TRAINING_DAG, run_ids=[run_id], states=listed)
    return found


class PlanReplayOperator(ConnectedOperator):
    """Write plan.json and the form's policy from the artifacts of the months' runs.

    Returns ``{"plan", "folder", "policy", "results"}``: addresses on Cloud Storage; `policy` is empty for the
    shipped one. The folder is named by the plan, the results by the policy too.
    """

    ui_color = "#ceead6"

    def execute(self, context: Context) -> dict[str, str]:
        """Read what the runs returned."""
        ti = context["ti"]
        listed: list[dict[str, Any]] = ti.xcom_pull(task_ids="list_months") or []
        plan = Plan.of([self._month(context, each) for each in listed])
        settings = Settings.from_environment(os.environ)
        folder = naming.replay_uri(settings, plan.id)
        text = context["params"].get("policy") or ""
        results = f"{folder}/results/{hashlib.sha256((text + image.digest()).encode()).hexdigest()[:16]}"
        store = self.store()
        store.write(f"{folder}/plan.json", plan.to_json().encode())
        if text:
            store.write(f"{results}/own.toml", text.encode())
        return {
            "plan": f"{folder}/plan.json",
            "folder": folder,
            "policy": f"{results}/own.toml" if text else "",
            "results": results,
        }

    def _month(self, context: Context, listed: dict[str, Any]) -> PlannedMonth:
        run_id = listed["trigger_run_id"]

        def returned(task_id: str) -> dict[str, Any]:
            found = context["ti"].xcom_pull(dag_id=TRAINING_DAG, run_id=run_id, task_ids=task_id)
            if not found:
                raise AirflowFailException(
                    f"run {run_id} of {TRAINING_DAG} has no result of {task_id}; clear that task, then "
                    "this one"
                )
            return dict(found)

        artifacts = returned("run_pipeline")["artifacts"]
        examples = [uri for output, uri in artifacts.items() if output.endswith(_EXAMPLES)]
        return PlannedMonth(
            window=returned("validate")["window"],
            report=f"{artifacts[_REPORT]}/report.json",
            examples=f"{examples[0]}/Split-test",
        )


class ShowReplayOperator(ConnectedOperator):
    """Log a replay's sentence, and link its page; returns ``{"page", "document", "sentence"}``.

    :param results: ``gs://…`` folder of replay.json and replay.html
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "results")
    operator_extra_links = (ReplayLink(),)
    ui_color = "#fde293"

    def __init__(self, *, results: str, **kwargs: Any) -> None:  # noqa: ANN401  # ConnectedOperator's
        super().__init__(**kwargs)
        self.results = results

    def execute(self, context: Context) -> dict[str, str]:
        """Read the document."""
        check_given(results=self.results)
        store = self.store()
        document, page = f"{self.results}/replay.json", f"{self.results}/replay.html"
        sentence: str = json.loads(store.read(document))["sentence"]
        self.log.info("%s", sentence)
        ReplayLink().persist(context, store.page(page))
        return {"page": page, "document": document, "sentence": sentence}
