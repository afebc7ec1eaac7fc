"""The request by which the check of connection, account, API and region reaches Vertex AI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_airflow.checks import Subject, identity
from taxi_ml.settings import Settings
from tests.airflow.servers import PROJECT, REGION
from vertex_airflow.specs import job_message

if TYPE_CHECKING:
    from tests.airflow.servers import Vertex

MORE_THAN_A_PAGE = 101
DOCUMENT = {
    "pipelineSpec": {"pipelineInfo": {"name": "taxi"}, "schemaVersion": "2.1.0", "root": {"dag": {}}},
    "runtimeConfig": {"gcsOutputDirectory": "gs://taxi-local/root"},
}


def test_one_call_is_enough_however_many_jobs_there_are(vertex: Vertex) -> None:
    """A project with years of pipeline jobs is asked for one of them."""
    message = job_message(
        DOCUMENT,
        display_name="",
        pipeline_root="",
        parameter_values={},
        labels={},
        service_account="",
        enable_caching=None,
    )
    hook = vertex.hook
    for _ in range(MORE_THAN_A_PAGE):
        hook.pipelines.create_pipeline_job(parent=hook.location, pipeline_job=message)
    vertex.order("ListPipelineJobs", "delay=0")
    vertex.order("ListPipelineJobs", "fail=UNAVAILABLE")
    settings = Settings(project=PROJECT, bucket="gs://b", pipeline_image="i", region=REGION)

    found = list(identity(Subject(settings=settings, window=settings.window("2015-07-01"))))

    assert [each.failed for each in found] == [False]
    assert [each["fault"] for each in vertex.orders()] == ["fail=UNAVAILABLE"]
