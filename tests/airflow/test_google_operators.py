"""The facts about Google's provider that the table in the provider's README states.

A release of theirs that changes one fails here, so that the table does not keep stating it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any
from unittest.mock import create_autospec

import pytest
from airflow.providers.common.compat.sdk import AirflowException
from airflow.providers.google.cloud.hooks.vertex_ai.custom_job import CustomJobAsyncHook, CustomJobHook
from airflow.providers.google.cloud.hooks.vertex_ai.pipeline_job import PipelineJobAsyncHook, PipelineJobHook
from airflow.providers.google.cloud.operators.vertex_ai.custom_job import CreateCustomJobOperator
from airflow.providers.google.cloud.operators.vertex_ai.endpoint_service import DeployModelOperator
from airflow.providers.google.cloud.operators.vertex_ai.model_service import UploadModelOperator
from airflow.providers.google.cloud.operators.vertex_ai.pipeline_job import RunPipelineJobOperator
from airflow.providers.google.cloud.triggers.vertex_ai import CustomJobTrigger, RunPipelineJobTrigger
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger
from google.api_core.exceptions import ServiceUnavailable
from google.cloud.aiplatform.constants import pipeline as sdk
from google.cloud.aiplatform_v1 import PipelineJob, PipelineState

from tests.airflow.servers import PROJECT, REGION, connect_to
from tests.airflow.tasks import context

WHERE: dict[str, Any] = {"project_id": PROJECT, "region": REGION}
PASSING = ServiceUnavailable("for now")  # type: ignore[no-untyped-call]  # google.api_core has no types


def test_a_retry_submits_a_second_pipeline() -> None:
    """Each try of one task makes the create call, with an id that follows from the time."""
    task = RunPipelineJobOperator(
        task_id="task", display_name="p", template_path="gs://b/p.json", deferrable=True, **WHERE
    )
    hook: Any = create_autospec(PipelineJobHook, instance=True)  # their client of Vertex AI
    task.hook = hook
    same_run = context()
    for _try in range(2):
        with pytest.raises(TaskDeferred):
            task.execute(same_run)

    assert [call.kwargs["job_id"] for call in hook.submit_pipeline_job.call_args_list] == [None, None]
    assert "job_id" not in task.template_fields


def test_a_retry_submits_a_second_custom_job() -> None:
    """Each try of one task makes the create call."""
    task = CreateCustomJobOperator(task_id="task", custom_job={}, deferrable=True, **WHERE)
    hook: Any = create_autospec(CustomJobHook, instance=True)  # their client of Vertex AI
    task.hook = hook
    same_run = context()
    for _try in range(2):
        with pytest.raises(TaskDeferred):
            task.execute(same_run)

    assert hook.create_custom_job.call_count == 2


def test_a_paused_pipeline_is_a_success() -> None:
    """The trigger counts it as one."""
    assert PipelineState.PIPELINE_STATE_PAUSED in RunPipelineJobTrigger.statuses_success


def test_a_cancelled_pipeline_is_a_success_where_a_worker_waits() -> None:
    """The wait of the SDK ends with it, and raises for FAILED only."""
    assert PipelineState.PIPELINE_STATE_CANCELLED in sdk._PIPELINE_COMPLETE_STATES  # noqa: SLF001  # the fact
    assert {PipelineState.PIPELINE_STATE_FAILED} == sdk._PIPELINE_ERROR_STATES  # noqa: SLF001  # the fact


def test_one_failed_poll_of_a_pipeline_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 ends the wait."""
    asked = create_autospec(PipelineJobAsyncHook.get_pipeline_job, side_effect=PASSING)
    monkeypatch.setattr(PipelineJobAsyncHook, "get_pipeline_job", asked)
    waiting = PipelineJobAsyncHook().wait_for_pipeline_job(PROJECT, REGION, "job", poll_interval=0)

    with pytest.raises(AirflowException, match="for now"):
        asyncio.run(waiting)
    assert asked.call_count == 1


def test_one_failed_poll_of_a_custom_job_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 ends the wait."""
    asked = create_autospec(CustomJobAsyncHook.get_custom_job, side_effect=PASSING)
    monkeypatch.setattr(CustomJobAsyncHook, "get_custom_job", asked)
    monkeypatch.setattr(
        CustomJobAsyncHook,
        "get_job_service_client",
        create_autospec(CustomJobAsyncHook.get_job_service_client),
    )
    waiting = CustomJobAsyncHook().wait_for_custom_job(PROJECT, REGION, "job", poll_interval=0)

    with pytest.raises(AirflowException, match="for now"):
        asyncio.run(waiting)
    assert asked.call_count == 1


@pytest.mark.parametrize("trigger", [RunPipelineJobTrigger, CustomJobTrigger])
def test_no_trigger_cancels_its_job(trigger: type[BaseTrigger]) -> None:
    """The kill of a deferred task does nothing."""
    assert trigger.on_kill is BaseTrigger.on_kill


def test_the_event_and_xcom_carry_the_whole_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled spec is in both, and a failure is told by its state alone."""
    job = PipelineJob(
        name="job", state=PipelineState.PIPELINE_STATE_FAILED, pipeline_spec={"root": {"dag": {}}}
    )
    waited = create_autospec(RunPipelineJobTrigger._wait_job, return_value=job)  # noqa: SLF001  # their client
    monkeypatch.setattr(RunPipelineJobTrigger, "_wait_job", waited)
    trigger = RunPipelineJobTrigger("google_cloud_default", PROJECT, REGION, "job", 0)

    async def fired() -> Any:  # noqa: ANN401  # an event's payload
        async for event in trigger.run():
            return event.payload
        return None

    event = asyncio.run(fired())
    task = RunPipelineJobOperator(task_id="task", display_name="p", template_path="gs://b/p.json", **WHERE)
    returned = task.execute_complete(context(), {**event, "status": "success"})

    assert event["message"] == "Pipeline Job job completed with status PIPELINE_STATE_FAILED"
    assert event["job"]["pipeline_spec"] == returned["pipeline_spec"] == {"root": {"dag": {}}}


@pytest.mark.parametrize("operator", [UploadModelOperator, DeployModelOperator])
def test_uploads_and_deployments_hold_a_worker(operator: type[BaseOperator]) -> None:
    """They do not defer, and a kill does not cancel them."""
    assert "deferrable" not in inspect.signature(operator).parameters
    assert operator.on_kill is BaseOperator.on_kill


def test_the_address_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows from the region, whatever the connection says."""
    connect_to(1, monkeypatch)
    hook = PipelineJobHook(gcp_conn_id="google_cloud_default")

    assert hook._get_api_endpoint(REGION) == f"{REGION}-aiplatform.googleapis.com:443"  # noqa: SLF001  # the fact
