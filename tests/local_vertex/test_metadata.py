"""Artifacts, executions, contexts and their lineage, through the official client."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from local_vertex.domain.records import ArtifactRecord, TaskRecord
from local_vertex.domain.states import RunState, TaskState
from tests.local_vertex.fakes import now
from tests.local_vertex.servers import CANONICAL, PARENT, connect
from tests.local_vertex.test_pipeline_jobs import SPEC

if TYPE_CHECKING:
    from local_vertex.domain.records import ArtifactLists
    from tests.local_vertex.servers import Client, Server

STORE = f"{PARENT}/metadataStores/default"
KEPT = f"{CANONICAL}/metadataStores/default"


@pytest.fixture
def metadata(server: Server, transport: str) -> Client:
    """Return the official client of MetadataService."""
    return connect(aiplatform_v1.MetadataServiceClient, server, transport)


def artifact(name: str, schema_title: str = "tfx.Examples") -> ArtifactRecord:
    """Return an artifact of a run."""
    return ArtifactRecord(
        name=f"{KEPT}/artifacts/{name}",
        uri=f"gs://b/{name}",
        schema_title=schema_title,
        type_schema={"schemaTitle": schema_title},
        metadata={"version": 3},
    )


def finished(task_id: int, name: str, inputs: ArtifactLists, outputs: ArtifactLists) -> TaskRecord:
    """Return the record of a task that has succeeded."""
    return TaskRecord(
        task_id=task_id,
        name=name,
        state=TaskState.SUCCEEDED,
        create_time=now(),
        start_time=now(),
        end_time=now(),
        inputs=inputs,
        outputs=outputs,
        parameters={"steps": 300},
    )


def submit(server: Server, job_id: str) -> str:
    """Submit a job and return its name."""
    pipelines: Client = connect(aiplatform_v1.PipelineServiceClient, server, "grpc")
    job = {"pipeline_spec": SPEC, "runtime_config": {"gcs_output_directory": "gs://bkt/root"}}
    return str(pipelines.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=job_id).name)


@pytest.fixture
def job(server: Server) -> str:
    """Run gen → trainer → pusher in the job `taxi-1` and return its name."""
    name = submit(server, "taxi-1")
    examples, model, pushed = artifact("examples"), artifact("model", "tfx.Model"), artifact("pushed")
    tasks = (
        finished(1, "gen", {}, {"examples": (examples,)}),
        finished(2, "trainer", {"examples": (examples,)}, {"model": (model,)}),
        finished(3, "pusher", {"model": (model,)}, {"pushed": (pushed,)}),
    )
    for task in tasks:
        server.engine.listener.task_changed(name, task)
    return name


def names(resources: Client) -> list[str]:
    """Return the last parts of the resources' names, sorted."""
    return sorted(each.name.rpartition("/")[2] for each in resources)


@pytest.mark.usefixtures("job")
def test_get_an_artifact(metadata: Client) -> None:
    """An artifact has its type, address and properties."""
    found = metadata.get_artifact(name=f"{STORE}/artifacts/model")

    assert (found.schema_title, found.uri, found.display_name) == ("tfx.Model", "gs://b/model", "model")
    assert found.metadata["version"] == 3
    assert found.create_time


@pytest.mark.usefixtures("job")
def test_get_an_execution(metadata: Client) -> None:
    """An execution has its state and the parameters of its task."""
    found = metadata.get_execution(name=f"{STORE}/executions/2")

    assert (found.display_name, found.state.name) == ("trainer", "COMPLETE")
    assert found.metadata["input:steps"] == 300


def test_the_contexts_of_a_job_can_be_read(metadata: Client, server: Server, job: str) -> None:
    """The run's context, which the job names, is a child of its pipeline's."""
    pipelines: Client = connect(aiplatform_v1.PipelineServiceClient, server, "grpc")
    detail = pipelines.get_pipeline_job(name=job).job_detail
    run = metadata.get_context(name=detail.pipeline_run_context.name)

    assert (run.schema_title, run.display_name) == ("system.PipelineRun", "taxi-1")
    assert list(run.parent_contexts) == [detail.pipeline_context.name]
    assert metadata.get_context(name=run.parent_contexts[0]).schema_title == "system.Pipeline"


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("", ["examples", "model", "pushed"]),
        ('schema_title="tfx.Model"', ["model"]),
        (f'in_context("{STORE}/contexts/taxi-1") AND display_name="pushed"', ["pushed"]),
        (f'in_context("{STORE}/contexts/other")', []),
        ("metadata.version.number_value=3", ["examples", "model", "pushed"]),
        ('metadata."version".number_value>3', []),
        ('metadata.version.string_value="3"', []),
        ('metadata."a:b".bool_value!=true AND display_name="model"', ["model"]),
    ],
)
def test_list_artifacts(metadata: Client, condition: str, expected: list[str]) -> None:
    """Artifacts are listed by field and by context."""
    found = metadata.list_artifacts(request={"parent": STORE, "filter": condition})

    assert names(found) == expected


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('metadata."input:steps".number_value>=300', ["1", "2", "3"]),
        ('metadata."input:steps".number_value=300 AND display_name="trainer"', ["2"]),
        ('metadata."input:steps".number_value<300', []),
    ],
)
def test_executions_by_their_parameters(metadata: Client, condition: str, expected: list[str]) -> None:
    """A parameter, whose key has a colon, is quoted."""
    found = metadata.list_executions(request={"parent": STORE, "filter": condition})

    assert names(found) == expected


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (f'parent_contexts: "{STORE}/contexts/taxi"', ["taxi-1"]),
        (f'child_contexts:"{KEPT}/contexts/taxi-1"', ["taxi"]),
        (f'parent_contexts:"{STORE}/contexts/taxi-1"', []),
        (f'parent_contexts:"{STORE}/contexts/taxi" AND display_name="taxi-2"', []),
    ],
)
def test_contexts_by_their_relatives(metadata: Client, condition: str, expected: list[str]) -> None:
    """The runs of a pipeline are found by their parent, and a pipeline by its run."""
    found = metadata.list_contexts(request={"parent": STORE, "filter": condition})

    assert names(found) == expected


@pytest.mark.parametrize(
    "condition",
    [
        "metadata.version=3",
        "metadata.version.number_value=many",
        "metadata.version.number_value:3",
        f'parent_contexts:"{STORE}/contexts/taxi"',
    ],
)
def test_wrong_filters_are_refused(metadata: Client, condition: str) -> None:
    """A value without its type, a string where a number belongs, and contexts of artifacts are refused."""
    with pytest.raises(exceptions.BadRequest, match="filter"):
        metadata.list_artifacts(request={"parent": STORE, "filter": condition})


def test_executions_of_one_run(metadata: Client, server: Server, job: str) -> None:
    """A context of a run has the executions of that run only; that of the pipeline has them all."""
    other = submit(server, "taxi-2")
    server.engine.listener.task_changed(other, finished(9, "gen", {}, {}))
    pipeline = metadata.get_context(name=f"{STORE}/contexts/taxi-2").parent_contexts[0]

    def executions(context: str) -> list[str]:
        return names(
            metadata.list_executions(request={"parent": STORE, "filter": f'in_context("{context}")'})
        )

    assert job.endswith("taxi-1")
    assert executions(f"{STORE}/contexts/taxi-2") == ["9"]
    assert executions(pipeline) == ["1", "2", "3", "9"]


@pytest.mark.usefixtures("job")
def test_pages(metadata: Client) -> None:
    """A small page leads to the next one."""
    pages = list(metadata.list_artifacts(request={"parent": STORE, "page_size": 2}).pages)

    assert [len(page.artifacts) for page in pages] == [2, 1]


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("hops", "artifacts", "executions"),
    [
        (0, ["examples", "model", "pushed"], ["1", "2", "3"]),
        (1, ["model"], ["2", "3"]),
        (2, ["examples", "model", "pushed"], ["2", "3"]),
    ],
)
def test_lineage_of_an_artifact(
    metadata: Client, hops: int, artifacts: list[str], executions: list[str]
) -> None:
    """Lineage leads both ways: to what an artifact was made from and to what was made of it."""
    request = {"artifact": f"{STORE}/artifacts/model", "max_hops": hops}
    found = metadata.query_artifact_lineage_subgraph(request=request)

    assert (names(found.artifacts), names(found.executions)) == (artifacts, executions)


@pytest.mark.usefixtures("job")
def test_inputs_and_outputs_of_an_execution(metadata: Client) -> None:
    """The events of an execution say what it read and what it made, and under which key."""
    found = metadata.query_execution_inputs_and_outputs(execution=f"{STORE}/executions/2")
    events = {(event.type_.name, event.labels["key"]) for event in found.events}

    assert events == {("INPUT", "examples"), ("OUTPUT", "model")}
    assert names(found.artifacts) == ["examples", "model"]


@pytest.mark.usefixtures("job")
def test_lineage_of_a_context(metadata: Client) -> None:
    """The lineage of a run's context is the run."""
    found = metadata.query_context_lineage_subgraph(context=f"{STORE}/contexts/taxi-1")

    assert len(found.events) == 5
    assert names(found.executions) == ["1", "2", "3"]


def test_metadata_outlive_their_job(metadata: Client, server: Server, job: str) -> None:
    """Deleting a job leaves what it made in the metadata store."""
    server.engine.end(job, RunState.SUCCEEDED)
    pipelines: Client = connect(aiplatform_v1.PipelineServiceClient, server, "grpc")
    pipelines.delete_pipeline_job(name=job).result(timeout=10)

    assert metadata.get_artifact(name=f"{STORE}/artifacts/model").uri == "gs://b/model"


@pytest.mark.usefixtures("job")
def test_what_is_read_stays_as_it_was_made(metadata: Client, server: Server) -> None:
    """A task that reads an artifact under another key does not rename it."""
    other = submit(server, "taxi-2")
    server.engine.listener.task_changed(other, finished(9, "eval", {"baseline": (artifact("model"),)}, {}))

    assert metadata.get_artifact(name=f"{STORE}/artifacts/model").display_name == "model"


def test_the_one_store(metadata: Client) -> None:
    """The default store is the only one."""
    stores = metadata.list_metadata_stores(parent=PARENT)

    assert [store.name for store in stores] == [KEPT]
    assert metadata.get_metadata_store(name=STORE).name == KEPT
    with pytest.raises(exceptions.NotFound, match="there is one, 'default'"):
        metadata.list_artifacts(parent=f"{PARENT}/metadataStores/other")


@pytest.mark.parametrize("kind", ["artifact", "execution", "context"])
def test_what_does_not_exist(metadata: Client, kind: str) -> None:
    """An unknown name is NOT_FOUND."""
    with pytest.raises(exceptions.NotFound):
        getattr(metadata, f"get_{kind}")(name=f"{STORE}/{kind}s/no")
