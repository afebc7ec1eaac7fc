"""Train a fare model on a window of months, and promote it only if it beats the model in production."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, TaskGroup, task

import taxi_ml
from taxi_airflow.operators.champion import FindChampionOperator
from taxi_airflow.operators.gate import GateOperator
from taxi_airflow.operators.modules import UploadModulesOperator, WriteRequestOperator
from taxi_airflow.operators.rows import CheckRowsOperator, WaitForTripsOperator
from taxi_airflow.operators.statement import (
    BuildDatasetOperator,
    ExportOperator,
    ExportSplitOperator,
    StatementOperator,
)
from taxi_airflow.operators.validate import PreflightOperator, ValidateOperator
from taxi_airflow.runs import LONGEST_JOB, longest_run, next_step, run_of, timetable
from taxi_airflow.smoke import read_golden
from taxi_ml import naming, sql
from taxi_ml.gate.anchor import SKILL_LABEL
from taxi_ml.gate.reasons import OVERRIDABLE
from taxi_ml.settings import parallel_runs
from taxi_ml.splits import Split
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.deploy import DeployModelOperator, UndeployOthersOperator
from vertex_airflow.operators.pipeline_job import VertexPipelineJobOperator
from vertex_airflow.operators.promote import ShiftTrafficOperator, SmokePredictOperator
from vertex_airflow.operators.register import RegisterModelVersionOperator
from vertex_airflow.operators.roll_back import RollBackOperator, roll_back_when_timed_out


def pinned(path: str) -> str:
    """Return the template for a field of the run as validate pinned it; see `taxi_airflow.runs.Run`."""
    return f"{{{{ taxi().{path} }}}}"


def result(task_id: str, key: str = "") -> str:
    """Return the template for what a task returned, or for one key of it; empty until there is one."""
    pulled = f"ti.xcom_pull(task_ids='{task_id}')"
    return f"{{{{ ({pulled} or {{}}).get('{key}', '') }}}}" if key else f"{{{{ {pulled} or '' }}}}"


PRODUCT = Path(taxi_ml.__file__).parent
REGION = pinned("settings.region")
IMAGE = pinned("settings.pipeline_image")
SERVICE_ACCOUNT = pinned("settings.service_account")
ENDPOINT = {
    "region": REGION,
    "endpoint_name": pinned("settings.endpoint_name"),
    "baseline_uri": pinned("baseline_uri"),
}
LABELS = {label: pinned(f"labels.{label}") for label in ("app", "dag", "run", "window")}
# What a version was trained on, by which later runs know what they can be compared with.
TRAINED = {
    "trained_from": pinned("window.train_start"),
    "trained_until": result("gate", "trained_until"),
    "judged_until": pinned("window.test_start"),
}
COMPILED = result("write_request", "compiled")
PARAMETERS = result("write_request", "parameters")
ROWS = "{{ (ti.xcom_pull(task_ids='check_rows') or {}).get('rows') | tojson }}"
# The folder that the Pusher copied the blessed model to, from which it is served.
PUSHED_TO = "Pusher.pushed_model.pushed_destination"
PROMOTED = {**ENDPOINT, "model": result("promote.register", "model")}
# From XCom alone: a promotion is undone even if run.json cannot be read, and roll_back skips if validate has
# failed.
UNDONE = {
    **{name: result("validate", name) for name in ("region", "endpoint_name", "baseline_uri")},
    "model": result("promote.register", "model"),
}
# False until the gate has decided: a run that ends before that has not declined anything.
DECLINED = (
    "{{ (ti.xcom_pull(task_ids='gate') or {}).get('verdict') not in [none, params.promote and 'promote'] }}"
)


def most_rows(title: str, rest: str = "") -> Param:
    """Return the parameter for the number of trips to use."""
    return Param(
        None,
        type=["null", "integer"],
        minimum=0,
        title=f"Maximum trips to {title}",
        description=f"If the window has more, the run draws a sample of about this size{rest}; the log of "
        "check_rows and the model card show the total. 0: use all trips. Empty: the installation's setting.",
    )


def months(title: str, least: int = 1, rest: str = "") -> Param:
    """Return the parameter for a length in months."""
    text = f"Whole months of trips to {title}.{rest} Empty: the installation's setting."
    title = f"Months to {title}"
    return Param(None, type=["null", "integer"], minimum=least, maximum=240, title=title, description=text)


PARAMS = {
    "window_end": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Window end",
        description="First day after the test months, such as 2015-07-01. Empty: end of the data interval.",
    ),
    "train_months": months("train on"),
    "test_months": months("test on", 0, " 0: as many as the gate's margin needs, by the number of trips."),
    "max_train_rows": most_rows("train on", " and shrinks the eval split in proportion"),
    "max_test_rows": most_rows("test on"),
    "train_steps": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Training steps",
        description="Maximum batches to train on. Empty: the installation's setting, or a number chosen by "
        "the number of trips.",
    ),
    "tuner_trials": Param(
        None,
        type=["null", "integer"],
        minimum=0,
        maximum=1000,
        title="Tuner trials",
        description="Hyperparameter sets to try. 0: no Tuner. Empty: the installation's setting.",
    ),
    "force_retrain": Param(
        False,  # noqa: FBT003  # a form's default
        type="boolean",
        title="Ignore the cache",
        description="Run every component again, even if its inputs and code have not changed.",
    ),
    "promote": Param(
        True,  # noqa: FBT003  # a form's default
        type="boolean",
        title="Promote",
        description="Serve the model if the gate accepts it. Off: only train, evaluate and decide.",
    ),
    "compare": Param(
        True,  # noqa: FBT003  # as above
        type="boolean",
        title="Compare",
        description="Judge the model against the one in production. Off: whatever serves does not matter, as "
        "in the months of a replay; a model that is not compared replaces none.",
    ),
    "override_codes": Param(
        [],
        type="array",
        items={"type": "string", "enum": sorted(OVERRIDABLE)},
        title="Override",
        description="Reasons to reject that the gate ignores in this run; the decision records them. "
        "champion_missing: compare with no model, because the champion's files are gone. champion_newer: "
        "replace a champion of a later window.",
    ),
    "override_reason": Param(
        None,
        type=["null", "string"],
        title="Reason for the override",
        description="Why these reasons are ignored, for the record. Required with an override.",
    ),
}

with DAG(
    dag_id="taxi_training",
    description="Chicago taxi fares: from trips to a model in production",
    doc_md=__doc__,
    schedule=timetable(os.environ),
    start_date=datetime(2013, 2, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=parallel_runs(os.environ),
    dagrun_timeout=longest_run(os.environ),
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=10),
    },
    params=PARAMS,
    on_failure_callback=roll_back_when_timed_out,
    user_defined_macros={"taxi": run_of},
    tags=["taxi", "vertex-ai", "tfx"],
) as dag:
    validate = ValidateOperator(task_id="validate")
    preflight = PreflightOperator(task_id="preflight")
    wait_for_trips = WaitForTripsOperator(task_id="wait_for_trips")

    create_schema = StatementOperator(
        task_id="create_schema", statement=lambda settings, _window: sql.create_schema(settings)
    )
    build_dataset = BuildDatasetOperator(task_id="build_dataset")
    check_rows = CheckRowsOperator(task_id="check_rows")
    with TaskGroup("export") as export:
        for split in Split:
            ExportSplitOperator(task_id=split.value, split=split, rows=ROWS)
        ExportOperator(task_id="averages", statement=sql.export_averages, replaces=naming.averages_uri)

    upload_modules = UploadModulesOperator(
        task_id="upload_modules", folder=str(PRODUCT / "modules"), schema=str(PRODUCT / "schema.pbtxt")
    )
    find_champion = FindChampionOperator(
        task_id="find_champion",
        model_name=pinned("settings.model_name"),
        window=pinned("window.id"),
        evaluate_only="{{ not taxi().params.promote }}",
        compares=pinned("params.compare"),
        serve=pinned("settings.serve"),
        **ENDPOINT,
    )
    write_request = WriteRequestOperator(
        task_id="write_request",
        modules_digest=result("upload_modules"),
        rows=ROWS,
        champion_name=result("find_champion", "name"),
        champion_uri=result("find_champion", "uri"),
        anchor_name=result("find_champion", "anchor_name"),
        anchor_uri=result("find_champion", "anchor_uri"),
        members=result("find_champion", "members"),
        enable_cache="{{ not taxi().params.force_retrain }}",
    )
    compile_pipeline = VertexCustomJobOperator(
        task_id="compile",
        region=REGION,
        display_name=pinned("compile_name"),
        image=IMAGE,
        command=["python", "-m", "taxi_ml.pipeline.compile"],
        args=["--request", f"{COMPILED}/request.json", "--out", f"{COMPILED}/pipeline.json"],
        produces=f"{COMPILED}/pipeline.json",
        machine_type=pinned("settings.compile_machine_type"),
        timeout_seconds=LONGEST_JOB.total_seconds(),
        service_account=SERVICE_ACCOUNT,
        labels=LABELS,
    )
    run_pipeline = VertexPipelineJobOperator(
        task_id="run_pipeline",
        region=REGION,
        spec_uri=f"{COMPILED}/pipeline.json",
        parameters_uri=PARAMETERS,
        required_outputs=["Report.report"],
        timeout_seconds=LONGEST_JOB.total_seconds(),
        properties=[PUSHED_TO],
        service_account=SERVICE_ACCOUNT,
        labels=LABELS,
    )
    gate = GateOperator(
        task_id="gate",
        job=result("run_pipeline", "job"),
        report_uri="{{ ti.xcom_pull(task_ids='run_pipeline')['artifacts']['Report.report'] }}/report.json",
        parameters_uri=PARAMETERS,
        pushed_to="{{ ti.xcom_pull(task_ids='run_pipeline').get('properties', {})"
        f".get('{PUSHED_TO}', '') }}}}",
        sizing=result("check_rows", "sizing"),
    )
    decide = task.branch(task_id="decide")(next_step)(
        verdict=result("gate", "verdict"), wanted=pinned("params.promote")
    )
    reject = EmptyOperator(task_id="reject")
    evaluate_only = EmptyOperator(task_id="evaluate_only")
    # The challenger answers every test trip as the champion does, as in the second run of a window.
    unchanged = EmptyOperator(task_id="unchanged")

    with TaskGroup("promote") as promote:
        register = RegisterModelVersionOperator(
            task_id="register",
            region=REGION,
            model_name=pinned("settings.model_name"),
            artifact_uri=result("gate", "challenger"),
            image=IMAGE,
            command=["python", "-m", "taxi_ml.serving"],
            labels={**LABELS, **TRAINED, SKILL_LABEL: result("gate", "skill")},
        )
        deploy = DeployModelOperator(
            task_id="deploy",
            machine_type=pinned("settings.serving_machine_type"),
            service_account=SERVICE_ACCOUNT,
            **PROMOTED,
        )
        smoke_predict = SmokePredictOperator(
            task_id="smoke_predict",
            golden_uri=result("gate", "golden"),
            check_uri=result("gate", "golden_check"),
            read_golden=read_golden,
            **PROMOTED,
        )
        shift_traffic = ShiftTrafficOperator(
            task_id="shift_traffic", rollout_uri=pinned("rollout_uri"), **PROMOTED
        )
        undeploy_others = UndeployOthersOperator(task_id="undeploy_others", **PROMOTED)
        roll_back = RollBackOperator(
            task_id="roll_back",
            declined=DECLINED,
            **UNDONE,
        ).as_teardown(on_failure_fail_dagrun=True)
        register >> deploy >> smoke_predict >> shift_traffic >> [undeploy_others, roll_back]

    validate >> preflight >> wait_for_trips >> find_champion
    find_champion >> create_schema >> build_dataset >> check_rows >> export >> run_pipeline
    wait_for_trips >> upload_modules
    [upload_modules, find_champion, check_rows] >> write_request >> compile_pipeline >> run_pipeline
    run_pipeline >> gate >> decide >> [promote, reject, evaluate_only, unchanged]
