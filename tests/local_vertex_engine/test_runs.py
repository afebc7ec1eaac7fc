from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from local_vertex.domain.states import RunState
from tests.local_vertex_engine.specs import (
    BUCKET,
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
WRITE = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('hello')"
COPY = (
    "import sys, pathlib; pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text() + '!')"
)
PRINT = "import sys; print('said', *sys.argv[1:])"
TFX_ARGUMENTS = ("--executor_class_path", "some.Executor")
ANSWER = (
    "import sys, pathlib, json; pathlib.Path(json.loads(sys.argv[1])['outputs']['outputFile']).write_text("
)


def from_task(task: str, key: str) -> dict[str, Any]:
    """The IR of an artifact that another task produces."""
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": key}}


def constant(value: Any) -> dict[str, Any]:  # noqa: ANN401  # a JSON value
    """The IR of a constant parameter."""
    return {"runtimeValue": {"constant": value}}


def produce_and_consume() -> dict[str, Any]:
    """A pipeline of two tasks that hand a file on."""
    return pipeline_spec(
        {
            "produce": python_task(
                WRITE,
                "{{$.outputs.artifacts['text'].uri}}",
                component={"outputDefinitions": {"artifacts": {"text": DATASET}}},
            ),
            "consume": python_task(
                COPY,
                "{{$.inputs.artifacts['text'].uri}}",
                "{{$.outputs.artifacts['copy'].uri}}",
                component={
                    "inputDefinitions": {"artifacts": {"text": DATASET}},
                    "outputDefinitions": {"artifacts": {"copy": DATASET}},
                },
                inputs={"artifacts": {"text": from_task("produce", "text")}},
            ),
        }
    )


def said(recorder: Recorder, run_name: str, task: str) -> str:
    """Return what a task wrote to its log."""
    log_path = recorder.tasks[run_name][task].log_path
    return log_path.read_text() if log_path and log_path.exists() else ""


def test_two_tasks_hand_a_file_on(engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path) -> None:
    """An artifact that one task writes is read by the next, below the layout of Vertex AI."""
    run = pipeline_run(produce_and_consume())
    engine.start(engine.accept(run))
    state = recorder.wait(run)
    (copy,) = recorder.tasks[run.name]["consume"].outputs["copy"]
    task_id = recorder.tasks[run.name]["consume"].task_id

    assert state is RunState.SUCCEEDED, recorder.errors
    assert copy.uri == f"gs://{BUCKET}/root/1/job/consume_{task_id}/copy"
    assert (tmp_path / "gcs" / copy.uri.removeprefix("gs://")).read_text() == "hello!"


def test_outputs_are_adopted_before_they_are_in_the_store(tmp_path: Path, recorder: Recorder) -> None:
    """A task's files are adopted while they are outside the store's folder, so no listing sees them early."""
    adopted: list[tuple[list[str], bool]] = []

    def adopt(root: Path, path: Path) -> None:
        names = sorted(file.name for file in path.rglob("*"))
        adopted.append((names, (tmp_path / "gcs" / path.relative_to(root)).exists()))

    engine = pipeline_engine(engine_settings(tmp_path, adopt=adopt), recorder)
    run = pipeline_run(produce_and_consume())
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.close()

    assert adopted == [(["text"], False), (["copy"], False)]


def test_files_written_to_a_destination_in_a_parameter_are_adopted(
    tmp_path: Path, recorder: Recorder
) -> None:
    """A Pusher's destination is outside its task's folder; what it wrote there is adopted as well."""
    adopted: list[Path] = []
    engine = pipeline_engine(
        engine_settings(tmp_path, adopt=lambda _root, path: adopted.append(path)), recorder
    )
    old = tmp_path / "gcs" / BUCKET / "serving" / "old"
    old.parent.mkdir(parents=True)
    old.touch()
    push = python_task(
        "import sys, pathlib, os; os.utime(sys.argv[1] + '/old', (0, 0));"
        "pathlib.Path(sys.argv[1], 'new').write_text('x')",
        "{{$.inputs.parameters['to']}}",
        *TFX_ARGUMENTS,
        component={"inputDefinitions": {"parameters": {"to": {"parameterType": "STRING"}}}},
        inputs={"parameters": {"to": constant(f"gs://{BUCKET}/serving")}},
    )
    run = pipeline_run(pipeline_spec({"push": push}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    engine.close()

    assert old.parent / "new" in adopted
    assert old not in adopted


def bucket_of(uri: str, *arguments: str) -> dict[str, Any]:
    """A task that prints a string parameter as it gets it in two ways and its own text, and returns it."""
    return python_task(
        "import sys, json; given = json.loads(sys.argv[2]);"
        "print('said', sys.argv[1], given['inputs']['parameterValues']['uri'], 'gs://in-the-code');"
        "open(given['outputs']['parameters']['same']['outputFile'], 'w').write(sys.argv[1])",
        "{{$.inputs.parameters['uri']}}",
        "{{$}}",
        *arguments,
        component={
            "inputDefinitions": {"parameters": {"uri": {"parameterType": "STRING"}}},
            "outputDefinitions": {"parameters": {"same": {"parameterType": "STRING"}}},
        },
        inputs={"parameters": {"uri": constant(uri)}},
    )


def test_a_string_stays_what_it_is(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A component gets a gs:// string as the run has it, in its arguments, its input and its source."""
    uri = "gs://my-other-bucket/some/table.csv"
    run = pipeline_run(pipeline_spec({"t": bucket_of(uri)}))
    engine.start(engine.accept(run))
    recorder.wait(run)

    assert said(recorder, run.name, "t") == f"said {uri} {uri} gs://in-the-code\n"
    assert recorder.tasks[run.name]["t"].output_parameters == {"same": uri}


def test_a_tfx_executor_gets_folders(engine: LocalPipelineEngine, recorder: Recorder, tmp_path: Path) -> None:
    """TFX reads what its parameters name from this machine's folder, yet its record says gs://."""
    uri = "gs://my-other-bucket/some/table.csv"
    local = tmp_path / "gcs" / "my-other-bucket" / "some" / "table.csv"
    run = pipeline_run(pipeline_spec({"t": bucket_of(uri, *TFX_ARGUMENTS)}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    record = recorder.tasks[run.name]["t"]

    assert said(recorder, run.name, "t").startswith(f"said {local} {local} ")
    assert (record.parameters, record.output_parameters) == ({"uri": uri}, {"same": uri})


def test_executor_output_is_merged(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """Metadata, URI and output parameters from executor_output.json become the record's."""
    output = {
        "artifacts": {"model": {"artifacts": [{"uri": "", "metadata": {"rmse": 3.5}}]}},
        "parameterValues": {"rows": 7.0},
    }
    task = python_task(
        f"{ANSWER}{json.dumps(output)!r})",
        "{{$}}",
        component={
            "outputDefinitions": {
                "artifacts": {
                    "model": {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
                },
                "parameters": {"rows": {"parameterType": "NUMBER_INTEGER"}},
            }
        },
    )
    run = pipeline_run(pipeline_spec({"train": task}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    record = recorder.tasks[run.name]["train"]
    (model,) = record.outputs["model"]

    assert record.output_parameters == {"rows": 7}
    assert (model.schema_title, model.metadata) == ("tfx.Model", {"rmse": 3.5})
    assert model.name.startswith("projects/1/locations/here/metadataStores/default/artifacts/")


def test_an_undeclared_output_fails_the_task(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """An artifact that the component does not declare is an error, not ignored."""
    output: dict[str, Any] = {"artifacts": {"extra": {"artifacts": [{}]}}}
    run = pipeline_run(pipeline_spec({"t": python_task(f"{ANSWER}{json.dumps(output)!r})", "{{$}}")}))
    engine.start(engine.accept(run))
    recorder.wait(run)
    error = recorder.errors[run.name]

    assert error is not None
    assert "wrote artifact 'extra'" in error.message


def test_a_driver_changes_the_inputs(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """Parameters that the preCacheCheck hook writes reach the executor; its file does not."""
    output = json.dumps({"parameterValues": {"span": 3, "pattern": "*"}})
    task = python_task(
        "import sys, json, os; given = json.loads(sys.argv[1]);"
        "print('got', given['inputs']['parameterValues'], os.path.exists(given['outputs']['outputFile']))",
        "{{$}}",
        container={
            "lifecycle": {
                "preCacheCheck": {"command": ["python", "-c", f"{ANSWER}{output!r})"], "args": ["{{$}}"]}
            }
        },
        component={"inputDefinitions": {"parameters": {"pattern": {"parameterType": "STRING"}}}},
        inputs={"parameters": {"pattern": constant("?")}},
    )
    run = pipeline_run(pipeline_spec({"gen": task}))
    engine.start(engine.accept(run))
    recorder.wait(run)

    assert "got {'pattern': '*', 'span': 3} False" in said(recorder, run.name, "gen")


def test_parameters_reach_the_command(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """Runtime parameters, defaults, constants and constants with placeholders are rendered."""
    definitions = {"steps": {"parameterType": "NUMBER_INTEGER"}, "name": {"parameterType": "STRING"}}
    task = python_task(
        PRINT,
        "{{$.inputs.parameters['steps']}}",
        "{{$.inputs.parameters['name']}}",
        "{{$.pipeline_job_name}}",
        component={"inputDefinitions": {"parameters": definitions}},
        inputs={
            "parameters": {
                "steps": {"componentInputParameter": "steps"},
                "name": constant("n{{$.inputs.parameters['steps']}}"),
            }
        },
    )
    root = {
        "inputDefinitions": {
            "parameters": {"steps": {"parameterType": "NUMBER_INTEGER", "defaultValue": 5.0}}
        }
    }
    for job_id, values in (("default", {}), ("given", {"steps": 6.0})):
        run = pipeline_run(pipeline_spec({"t": task}, **root), job_id, parameter_values=values)
        engine.start(engine.accept(run))
        recorder.wait(run)

    assert "said 5 n5 default" in said(recorder, "projects/1/locations/here/pipelineJobs/default", "t")
    assert "said 6 n6 given" in said(recorder, "projects/1/locations/here/pipelineJobs/given", "t")


def test_an_importer_brings_an_artifact_in(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """An importer's artifact has the URI, type and metadata of the spec and is an input like any other."""
    model = {"artifactType": {"instanceSchema": "title: tfx.Model\ntype: object\n"}}
    importer = {
        "task": {},
        "component": {"outputDefinitions": {"artifacts": {"result": model}}},
        "executor": {
            "importer": {
                "artifactUri": {"constant": f"gs://{BUCKET}/champion"},
                "typeSchema": model["artifactType"],
                "metadata": {"version": "3"},
            }
        },
    }
    reader = python_task(
        PRINT,
        "{{$.inputs.artifacts['model'].uri}}",
        "{{$.inputs.artifacts['model'].metadata['version']}}",
        component={"inputDefinitions": {"artifacts": {"model": model}}},
        inputs={"artifacts": {"model": from_task("champion", "result")}},
    )
    run = pipeline_run(pipeline_spec({"champion": importer, "reader": reader}))
    engine.start(engine.accept(run))
    state = recorder.wait(run)

    assert state is RunState.SUCCEEDED, recorder.errors
    assert f"/gcs/{BUCKET}/champion 3" in said(recorder, run.name, "reader")


def test_python_in_a_shell_is_the_image_s(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """A command that is a shell script finds the image's interpreter under the name python."""
    script = {"command": ["sh", "-c", "python -c 'import pytest; print(pytest.__file__)'"], "args": []}
    run = pipeline_run(pipeline_spec({"t": python_task("", container=script)}))
    engine.start(engine.accept(run))
    recorder.wait(run)

    assert said(recorder, run.name, "t") == f"{pytest.__file__}\n"


def test_independent_tasks_run_side_by_side(engine: LocalPipelineEngine, recorder: Recorder) -> None:
    """Two tasks that don't depend on each other overlap; a third waits for a core."""
    tasks = {name: python_task("import time; time.sleep(0.4)") for name in ("a", "b", "c")}
    run = pipeline_run(pipeline_spec(tasks))
    engine.start(engine.accept(run))
    recorder.wait(run)
    records = list(recorder.tasks[run.name].values())
    starts = [record.start_time for record in records if record.start_time]
    ends = [record.end_time for record in records if record.end_time]
    at_once = [sum(start <= now for start in starts) - sum(end <= now for end in ends) for now in starts]

    assert max(at_once) == 2
