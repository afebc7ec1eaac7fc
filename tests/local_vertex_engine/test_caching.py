from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.domain.records import ArtifactRecord
from local_vertex.domain.states import RunState, TaskState
from local_vertex.plan.placeholders import parse_template
from local_vertex.plan.plan import ContainerExecutor, Exec, OutputArtifact, PlannedTask
from local_vertex.run.caching import cache_key
from local_vertex.run.executor_input import TaskInputs
from tests.local_vertex_engine.specs import (
    engine_settings,
    pipeline_engine,
    pipeline_run,
    pipeline_spec,
    python_task,
)

if TYPE_CHECKING:
    from pathlib import Path

    from local_vertex.run.pipelines import LocalPipelineEngine
    from tests.local_vertex_engine.specs import Recorder

DATASET = {"artifactType": {"schemaTitle": "system.Dataset"}}
CACHED = {"cachingOptions": {"enableCache": True}}
COUNT = """
import json, pathlib, sys
ran = pathlib.Path(sys.argv[1]); ran.write_text(ran.read_text() + 'x' if ran.exists() else 'x')
pathlib.Path(sys.argv[2]).write_text('text')
outputs = json.loads(sys.argv[3])['outputs']
pathlib.Path(outputs['outputFile']).write_text(json.dumps({'parameterValues': {'rows': 7}}))
"""
READ = "import pathlib, sys; print(pathlib.Path(sys.argv[1]).read_text())"


def counting_spec(ran: Path, *, text: str = "a", name: str = "test", **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """A pipeline of `make`, which adds an x to the file `ran`, and `read`, which reads what it made."""
    produce = python_task(
        COUNT,
        str(ran),
        "{{$.outputs.artifacts['made'].uri}}",
        "{{$}}",
        component={
            "inputDefinitions": {"parameters": {"text": {"parameterType": "STRING"}}},
            "outputDefinitions": {
                "artifacts": {"made": DATASET},
                "parameters": {"rows": {"parameterType": "NUMBER_INTEGER"}},
            },
        },
        inputs={"parameters": {"text": {"runtimeValue": {"constant": text}}}},
        **{**CACHED, **options},
    )
    consume = python_task(
        READ,
        "{{$.inputs.artifacts['made'].uri}}",
        component={"inputDefinitions": {"artifacts": {"made": DATASET}}},
        inputs={
            "artifacts": {
                "made": {"taskOutputArtifact": {"producerTask": "make", "outputArtifactKey": "made"}}
            }
        },
        **CACHED,
    )
    return {**pipeline_spec({"make": produce, "read": consume}), "pipelineInfo": {"name": name}}


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """The file that gets an x for each execution."""
    return tmp_path / "ran"


def states_of(
    engine: LocalPipelineEngine, recorder: Recorder, spec: dict[str, Any], job: str
) -> list[TaskState]:
    """Run `spec` as `job` and return the final states of `make` and `read`."""
    run = pipeline_run(spec, job)
    engine.start(engine.accept(run))
    if recorder.wait(run) is not RunState.SUCCEEDED:
        pytest.fail(str(recorder.errors[run.name]))
    states = recorder.task_states(run)
    return [states["make"], states["read"]]


def test_a_repeated_task_is_skipped_with_the_cached_outputs(
    engine: LocalPipelineEngine, recorder: Recorder, ran: Path
) -> None:
    """The same component with the same inputs runs once; the second run has the first one's artifacts."""
    states_of(engine, recorder, counting_spec(ran), "first")
    second = states_of(engine, recorder, counting_spec(ran), "second")
    makes = [tasks["make"] for tasks in recorder.tasks.values()]

    assert second == [TaskState.SKIPPED, TaskState.SKIPPED]
    assert ran.read_text() == "x"
    assert makes[0].outputs == makes[1].outputs
    assert makes[1].output_parameters == {"rows": 7}
    assert makes[1].log_path is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": "b"}, [TaskState.SUCCEEDED, TaskState.SUCCEEDED]),
        ({"name": "other"}, [TaskState.SUCCEEDED, TaskState.SUCCEEDED]),
        ({"container": {"image": "test/other:1"}}, [TaskState.SUCCEEDED, TaskState.SUCCEEDED]),
        ({"container": {"env": [{"name": "A", "value": "1"}]}}, [TaskState.SUCCEEDED, TaskState.SUCCEEDED]),
        ({"cachingOptions": {}}, [TaskState.SUCCEEDED, TaskState.SUCCEEDED]),
        ({"retryPolicy": {"maxRetryCount": 2}}, [TaskState.SKIPPED, TaskState.SKIPPED]),
    ],
    ids=[
        "other parameter",
        "other pipeline",
        "other image",
        "other variable",
        "caching off",
        "other retries",
    ],
)
def test_what_makes_a_miss(
    engine: LocalPipelineEngine,
    recorder: Recorder,
    ran: Path,
    changes: dict[str, Any],
    expected: list[TaskState],
) -> None:
    """Inputs, pipeline and options decide; a new artifact is a new input, whatever its content."""
    states_of(engine, recorder, counting_spec(ran), "first")

    assert states_of(engine, recorder, counting_spec(ran, **changes), "second") == expected


def test_a_missing_output_is_a_hit(
    engine: LocalPipelineEngine, recorder: Recorder, ran: Path, tmp_path: Path
) -> None:
    """As on Vertex AI, a cache hit does not check that the objects of the execution still exist."""
    states_of(engine, recorder, counting_spec(ran), "first")
    shutil.rmtree(tmp_path / "gcs" / "bucket" / "root")

    assert states_of(engine, recorder, counting_spec(ran), "second") == [TaskState.SKIPPED] * 2
    assert ran.read_text() == "x"


def test_a_failure_is_not_cached(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A task that failed is tried again in the next run."""
    spec = pipeline_spec({"t": python_task("raise SystemExit(3)", **CACHED)})
    runs = [pipeline_run(spec, "first"), pipeline_run(spec, "second")]
    for run in runs:
        engine.start(engine.accept(run))
        recorder.wait(run)

    assert [recorder.states[run.name][-1] for run in runs] == [RunState.FAILED] * 2


def test_what_a_driver_finds_is_part_of_the_key(
    engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path
) -> None:
    """A driver that reports the same data leads to a hit, one that reports other data to a miss."""
    data = tmp_path / "data"
    driver = (
        "import json, pathlib, sys; out = json.loads(sys.argv[1])['outputs']['outputFile'];"
        f"found = pathlib.Path({str(data)!r}).read_text();"
        "pathlib.Path(out).write_text(json.dumps({'parameterValues': {'fingerprint': found}}))"
    )
    hook = {"lifecycle": {"preCacheCheck": {"command": ["python", "-c", driver], "args": ["{{$}}"]}}}
    spec = pipeline_spec({"gen": python_task("pass", container=hook, **CACHED)})
    states = []
    for number, content in enumerate(["a", "a", "b"]):
        data.write_text(content)
        run = pipeline_run(spec, f"job{number}")
        engine.start(engine.accept(run))
        recorder.wait(run)
        states.append(recorder.task_states(run)["gen"])

    assert states == [TaskState.SUCCEEDED, TaskState.SKIPPED, TaskState.SUCCEEDED]


def test_the_same_import_is_the_same_artifact(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A reader of an imported artifact hits the cache in the next run, unless it is imported anew."""
    names = {}
    for job, reimport in (("a", False), ("b", False), ("c", True), ("d", True)):
        importer = {
            "task": {},
            "component": {"outputDefinitions": {"artifacts": {"model": DATASET}}},
            "executor": {
                "importer": {
                    "artifactUri": {"constant": "gs://bucket/model"},
                    "typeSchema": {"schemaTitle": "system.Model"},
                    "reimport": reimport,
                }
            },
        }
        run = pipeline_run(pipeline_spec({"import": importer}), job)
        engine.start(engine.accept(run))
        recorder.wait(run)
        names[job] = recorder.tasks[run.name]["import"].outputs["model"][0].name

    assert names["a"] == names["b"]
    assert len(set(names.values())) == 3


def test_a_fully_cached_run_starts_no_process(tmp_path: Path, recorder: Recorder) -> None:
    """In a chain of ten tasks that are all in the cache nothing is launched."""
    engine = pipeline_engine(engine_settings(tmp_path), recorder)
    tasks = {
        f"t{number}": python_task("pass", dependentTasks=[f"t{number - 1}"] if number else [], **CACHED)
        for number in range(10)
    }
    # A command of its own for each: tasks that say the same are the same to the cache.
    for name, task in tasks.items():
        task["executor"]["container"]["args"] = [name]
    for job in ("first", "second"):
        run = pipeline_run(pipeline_spec(tasks), job)
        engine.start(engine.accept(run))
        recorder.wait(run)
    engine.close()

    assert set(recorder.task_states(run).values()) == {TaskState.SKIPPED}


def artifact(name: str, uri: str) -> ArtifactRecord:
    """A model."""
    return ArtifactRecord(name=name, uri=uri, schema_title="tfx.Model", type_schema={})


def planned(command: str) -> tuple[PlannedTask, ContainerExecutor]:
    """A cacheable task that runs `command`."""
    executor = ContainerExecutor(image="i", main=Exec(command=(parse_template(command),)))
    outputs = {"model": OutputArtifact(schema_title="tfx.Model", type_schema={})}
    return PlannedTask(
        name="t", component="t", executor=executor, output_artifacts=outputs, cacheable=True
    ), executor


@given(
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=3)), max_size=4),
    st.dictionaries(st.text(max_size=3), st.one_of(st.integers(), st.text(max_size=3)), max_size=4),
)
def test_keys_are_equal_where_parameters_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The order of parameters does not matter, their names and values do."""
    task, executor = planned("run")
    shuffled = TaskInputs(parameters=dict(reversed(one.items())), artifacts={})
    keys = [
        cache_key("p", task, executor, inputs)
        for inputs in (
            TaskInputs(parameters=one, artifacts={}),
            shuffled,
            TaskInputs(parameters=other, artifacts={}),
        )
    ]

    assert keys[0] == keys[1]
    assert (keys[0] == keys[2]) == (one == other)


def test_artifacts_count_by_identity() -> None:
    """Two artifacts at one address differ; one artifact is itself wherever it lies."""
    task, executor = planned("run")
    keys = [
        cache_key("p", task, executor, TaskInputs(parameters={}, artifacts={"m": (artifact(*of),)}))
        for of in (("a", "gs://b/1"), ("a", "gs://b/2"), ("c", "gs://b/1"))
    ]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


def test_the_command_counts_as_it_stands_in_the_spec() -> None:
    """The name of the run, which a command may hold, makes no difference; another argument does."""
    inputs = TaskInputs(parameters={}, artifacts={})
    keys = [
        cache_key("p", *planned(command), inputs)
        for command in ("run {{$.pipeline_job_name}}", "run {{$.pipeline_job_name}} --fast")
    ]

    assert keys[0] != keys[1]
