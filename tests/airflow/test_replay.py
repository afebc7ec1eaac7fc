from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import taxi_replay
import taxi_training
from airflow.sdk.exceptions import AirflowFailException, DagRunTriggerException, TaskDeferred

from taxi_airflow.operators.replay import (
    TRAINING_DAG,
    ListMonthsOperator,
    PlanReplayOperator,
    ShowReplayOperator,
    TrainMonthOperator,
)
from taxi_ml.gate.policy import DEFAULT_PATH
from taxi_ml.replay.plan import Plan
from tests.airflow.servers import SETTINGS
from tests.airflow.tasks import Pushed, context
from tests.airflow.test_dag import HEAVY, in_fresh_process
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.deploy import EndpointOperator
from vertex_airflow.operators.register import RegisterModelVersionOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vertex_airflow.objects import ObjectStore

DAG = taxi_replay.dag
FORM = {
    "first_end": "2015-02-01",
    "last_end": "2015-06-01",
    "policy": None,
    "workers": 2,
    "train_months": None,
    "test_months": None,
    "train_steps": None,
    "tuner_trials": 0,
}


@dataclass(slots=True)
class Months(Pushed):
    """A task instance that knows the states of the training runs, and what their tasks returned."""

    runs: Mapping[str, str] = field(default_factory=dict)
    returned: Mapping[tuple[str, str], Any] = field(default_factory=dict)

    def get_dr_count(self, *, dag_id: str, run_ids: list[str], states: list[str] | None) -> int:
        """Count the runs of the training DAG."""
        assert dag_id == TRAINING_DAG
        return sum(run in self.runs and (states is None or self.runs[run] in states) for run in run_ids)

    def get_dag(self, dag_id: str) -> Any:  # noqa: ANN401  # Airflow's
        """Return a DAG that is not paused."""
        assert dag_id == TRAINING_DAG
        return SimpleNamespace(is_paused=False)

    def xcom_pull(self, *, task_ids: str, dag_id: str = "", run_id: str = "") -> Any:  # noqa: ANN401
        """Return what a task of this DAG or of a training run returned."""
        if not dag_id:
            return self.pulled.get(task_ids)
        assert dag_id == TRAINING_DAG
        return self.returned.get((run_id, task_ids))


def listed(monkeypatch: pytest.MonkeyPatch, **changed: object) -> list[dict[str, Any]]:
    """Return the runs that a form asks for."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    task = ListMonthsOperator(task_id="list_months")
    return task.execute(context(params={**FORM, **changed}))


def of_month(run_id: str, after: str = "") -> TrainMonthOperator:
    """Return the task of a month."""
    return TrainMonthOperator(task_id="train", trigger_run_id=run_id, conf={}, after=after)


def running(states: Mapping[str, str]) -> Any:  # noqa: ANN401  # Airflow's Context
    """Return a context in which these training runs exist."""
    return {"ti": Months(runs=states), "task": None}


def test_parsing_imports_nothing_heavy() -> None:
    """Neither numpy nor any client of a service is imported to parse the DAG."""
    heavy = (*HEAVY, "numpy")
    loaded = in_fresh_process(
        f"import json, taxi_replay\nprint(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    )

    assert loaded == []


def test_the_months_are_trained_before_they_are_scored() -> None:
    """Scoring waits for every month, the simulation for the scores, the page for the simulation."""
    order = ["list_months", "train", "plan", "score", "simulate", "show"]

    assert [DAG.get_task(task).downstream_task_ids for task in order] == [
        *({task} for task in order[1:]),
        set(),
    ]


def test_a_replay_touches_neither_endpoint_nor_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task of it changes either, and the runs that it triggers have Promote and Compare off."""
    changing = (EndpointOperator, RegisterModelVersionOperator)

    assert not [task for task in DAG.tasks if isinstance(task, changing)]
    assert {(run["conf"]["promote"], run["conf"]["compare"]) for run in listed(monkeypatch)} == {
        (False, False)
    }


def test_a_run_that_does_not_promote_changes_neither() -> None:
    """In the training DAG, what changes endpoint or registry comes after the decision to promote."""
    dag = taxi_training.dag
    changing = {
        task.task_id
        for task in dag.tasks
        if isinstance(task, EndpointOperator | RegisterModelVersionOperator)
    }

    assert changing <= {task for task in dag.task_ids if task.startswith("promote.")}
    assert dag.get_task("promote.register").upstream_task_ids == {"decide"}


def test_the_training_dag_knows_what_a_replay_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first task refuses unknown parameters."""
    for run in listed(monkeypatch, train_steps=100, train_months=6, test_months=2):
        assert set(run["conf"]) <= set(taxi_training.dag.params)


@pytest.mark.parametrize("name", list(DAG.params))
def test_every_parameter_explains_itself(name: str) -> None:
    """The trigger form has a title and a description for every field, and a type."""
    param = DAG.params.get_param(name)

    assert {"title", "type"} <= set(param.schema)
    assert param.description


def test_months_run_in_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two workers, each run waits for the one two months before it."""
    runs = listed(monkeypatch)
    ids = [run["trigger_run_id"] for run in runs]

    assert [run["conf"]["window_end"] for run in runs] == [f"2015-0{month}-01" for month in range(2, 7)]
    assert [run["after"] for run in runs] == ["", "", *ids[:3]]


def test_run_ids_follow_from_what_a_model_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same months are shared by replays; other steps, settings or code train them again."""

    def ids(**changed: object) -> set[str]:
        return {run["trigger_run_id"] for run in listed(monkeypatch, **changed)}

    first = ids()
    others = [ids(train_steps=10)]
    monkeypatch.setattr("taxi_ml.image.digest", lambda: "other code")
    others.append(ids())
    monkeypatch.undo()
    monkeypatch.setenv("TAXI_SEED", "7")
    others.append(ids())
    monkeypatch.delenv("TAXI_SEED")

    assert ids(first_end="2015-01-01", workers=1, policy=DEFAULT_PATH.read_text()) > first
    assert all(not first & other for other in others)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"first_end": "2015-02-03"}, "is inside a month"),
        ({"last_end": "soon"}, "is not a date"),
        ({"last_end": "2015-02-01"}, "1 months; a replay takes 2"),
        ({"last_end": "2055-02-01"}, "481 months; a replay takes 2 to 120"),
        ({"policy": "[margin"}, "the policy is not valid TOML"),
        ({"train_steps": -1}, "train_steps"),
    ],
)
def test_a_wrong_form_is_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], problem: str
) -> None:
    """The error names the field, and nothing is triggered."""
    with pytest.raises(AirflowFailException, match=problem):
        listed(monkeypatch, **changed)


def test_a_month_waits_for_its_lane() -> None:
    """It defers while the run before it is active, or does not exist yet."""
    for states in ({"before": "running"}, {}):
        with pytest.raises(TaskDeferred) as deferred:
            of_month("own", after="before").execute(running(states))
        assert deferred.value.method_name == "execute_after"
        assert deferred.value.trigger.run_ids == ["before"]


@pytest.mark.parametrize("before", ["success", "failed"])
def test_a_month_is_triggered_once_its_lane_is_free(before: str) -> None:
    """Whatever became of the run before it; the run has no logical date, which would be shared."""
    with pytest.raises(DagRunTriggerException) as triggered:
        of_month("own", after="before").execute(running({"before": before}))

    found = triggered.value
    assert (found.trigger_dag_id, found.dag_run_id, found.logical_date) == (TRAINING_DAG, "own", None)
    assert (found.wait_for_completion, found.deferrable, found.reset_dag_run) == (True, True, False)


@pytest.mark.parametrize("state", ["queued", "running", "success"])
def test_a_month_attaches_to_its_run(state: str) -> None:
    """A run that exists is waited for, even if it has ended already, and never triggered again."""
    with pytest.raises(TaskDeferred) as deferred:
        of_month("own").execute(running({"own": state}))

    assert deferred.value.method_name == "execute_complete"
    assert deferred.value.trigger.run_ids == ["own"]


def test_a_month_that_failed_says_what_to_do() -> None:
    """Triggering cannot repeat it: its failed task is cleared by a person."""
    with pytest.raises(AirflowFailException, match="run own of taxi_training has failed; clear"):
        of_month("own").execute(running({"own": "failed"}))


def outputs(window: str) -> dict[str, Any]:
    """Return what the pipeline's task returns."""
    uris = {"CsvExampleGen.examples": f"gs://b/examples/{window}", "Report.report": f"gs://b/{window}"}
    return {"job": "j", "artifacts": uris}


def after_training(runs: list[dict[str, Any]], policy: str | None = None) -> Any:  # noqa: ANN401  # a Context
    """Return the context of a task after the months were trained."""
    returned: dict[tuple[str, str], Any] = {}
    for run in runs:
        window = f"{run['conf']['window_end'][:7]}_train24_test1"
        returned[run["trigger_run_id"], "validate"] = {"window": window}
        returned[run["trigger_run_id"], "run_pipeline"] = outputs(window)
    return {"ti": Months(pulled={"list_months": runs}, returned=returned), "params": {"policy": policy}}


@pytest.mark.stack
@pytest.mark.usefixtures("cloud")
def test_the_plan_has_every_months_artifacts(
    monkeypatch: pytest.MonkeyPatch, bucket: str, store: ObjectStore
) -> None:
    """Report and test examples of each run; the folder's name follows from them."""
    runs = listed(monkeypatch)
    monkeypatch.setenv("TAXI_BUCKET", bucket)

    planned = PlanReplayOperator(task_id="plan").execute(after_training(runs))

    plan = Plan.parse(store.read(planned["plan"]))
    assert planned["folder"] == f"{bucket}/replays/{plan.id}"
    assert plan.months[0].window == "2015-02_train24_test1"
    assert plan.months[0].report == "gs://b/2015-02_train24_test1/report.json"
    assert plan.months[0].examples == "gs://b/examples/2015-02_train24_test1/Split-test"
    assert planned["policy"] == ""


@pytest.mark.stack
@pytest.mark.usefixtures("cloud")
def test_a_policy_of_ones_own_has_its_own_results(
    monkeypatch: pytest.MonkeyPatch, bucket: str, store: ObjectStore
) -> None:
    """The predictions are shared, the results are not, and the job reads the policy from the bucket."""
    runs = listed(monkeypatch)
    monkeypatch.setenv("TAXI_BUCKET", bucket)
    task = PlanReplayOperator(task_id="plan")

    shipped, own = (
        task.execute(after_training(runs)),
        task.execute(after_training(runs, "schema_version = 2")),
    )

    assert shipped["folder"] == own["folder"]
    assert shipped["results"] != own["results"]
    assert store.read(own["policy"]) == b"schema_version = 2"


def test_a_month_without_results_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose XCom was cleared says which task to clear."""
    runs = listed(monkeypatch)
    ctx = after_training(runs)
    ctx["ti"].returned = {}

    with pytest.raises(AirflowFailException, match="has no result of run_pipeline; clear that task"):
        PlanReplayOperator(task_id="plan").execute(ctx)


@pytest.mark.stack
@pytest.mark.usefixtures("cloud")
def test_the_page_is_linked(bucket: str, store: ObjectStore) -> None:
    """The last task logs the sentence and links the page."""
    store.write(f"{bucket}/replay.json", json.dumps({"sentence": "It is so."}).encode())
    ctx = running({})

    shown = ShowReplayOperator(task_id="show", results=bucket).execute(ctx)

    assert shown == {
        "page": f"{bucket}/replay.html",
        "document": f"{bucket}/replay.json",
        "sentence": "It is so.",
    }
    assert ctx["ti"].xcom["replay_link"].endswith("/replay.html")


def test_jobs_are_skipped_if_their_results_exist() -> None:
    """What a job writes last stands for all that it depends on."""
    jobs: list[Any] = [task for task in DAG.tasks if isinstance(task, VertexCustomJobOperator)]

    assert [job.produces.rpartition("/")[2] for job in jobs] == ["index.json", "replay.html"]
    assert all(job.deferrable for job in jobs)
