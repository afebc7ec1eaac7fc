from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec

from local_vertex.plan.parameters import bind
from local_vertex.plan.plan import RunParameter
from local_vertex.plan.planner import make_plan
from taxi_ml.pipeline.modules_check import read_modules
from tests.pipeline.golden import GOLDENS, VARIANTS, compile_text
from tests.pipeline.requests import (
    CHAMPION,
    MODULES,
    PIPELINE_PYTHON,
    REPOSITORY,
    SCHEMA,
    make_parameters,
    make_request,
)

if TYPE_CHECKING:
    from pathlib import Path

    from taxi_ml.pipeline.request import CompileRequest

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_compiled_spec_is_the_golden(name: str, tmp_path: Path) -> None:
    """The compiled job is the recorded one; `python -m tests.pipeline.golden` records it anew."""
    request = make_request(tmp_path, **VARIANTS[name])

    assert compile_text(request, tmp_path) == (GOLDENS / name).read_text()


def test_wheels_lie_beside_the_modules(tmp_path: Path) -> None:
    """A wheel for each component with user code is where the spec says, whatever the request."""
    request = make_request(tmp_path)

    compile_text(request, tmp_path)

    wheels = sorted((tmp_path / "modules" / request.modules_digest / "wheels").iterdir())
    assert [wheel.name.split("-")[0] for wheel in wheels] == [
        "tfx_user_code_trainer",
        "tfx_user_code_transform",
        "tfx_user_code_tuner",
    ]
    spec = (tmp_path / "pipeline.json").read_text()
    assert all(str(wheel).lower() in spec.lower() for wheel in wheels)


def compile_failure(request: CompileRequest, root: Path) -> str:
    """Compile what must not compile; return the one line on stderr."""
    path = root / "request.json"
    path.write_text(request.to_json())
    failed = subprocess.run(
        [PIPELINE_PYTHON, "-m", "taxi_ml.pipeline.compile", "--request", path, "--out", root / "out.json"],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert failed.returncode == 2
    assert not (root / "out.json").exists()
    assert len(failed.stderr.splitlines()) == 1
    return failed.stderr


def test_modules_of_another_digest_are_refused(tmp_path: Path) -> None:
    """Modules that were changed after the request are not compiled."""
    request = make_request(tmp_path)
    trainer = tmp_path / "modules" / request.modules_digest / "trainer.py"
    trainer.write_text(trainer.read_text() + "\n# changed\n")

    assert "upload the modules again" in compile_failure(request, tmp_path)


def test_dataflow_is_refused_by_an_image_without_its_worker(tmp_path: Path) -> None:
    """A request that would start Dataflow's machines is refused where no worker could start on them."""
    request = make_request(tmp_path, beam_args=("--runner=DataflowRunner",))

    failure = compile_failure(request, tmp_path)

    assert "Dataflow cannot run this image's workers: /opt/apache/beam/boot is not there" in failure


def test_missing_request_is_one_line(tmp_path: Path) -> None:
    """A request that lies nowhere is named."""
    request = dataclasses.replace(make_request(tmp_path), modules_uri=str(tmp_path / "nowhere"))

    assert "nowhere" in compile_failure(request, tmp_path)


def golden(name: str) -> dict[str, Any]:
    """Read a golden's spec."""
    spec: dict[str, Any] = json.loads((GOLDENS / name).read_text())["pipelineSpec"]
    return spec


def test_spec_is_of_schema_2_1() -> None:
    """Vertex AI's newest schema is compiled to."""
    assert golden("first_run.json")["schemaVersion"] == "2.1.0"


def hooks_and_machines(spec: dict[str, Any]) -> list[Any]:
    """Return what each executor asks for, and which driver it has."""
    executors = sorted(spec["deploymentSpec"]["executors"].items())
    containers = [each.get("container", {}) for _, each in executors]
    hooks = [each.get("lifecycle", {}).get("preCacheCheck", {}).get("command") for each in containers]
    return [hooks, [each.get("resources") for each in containers]]


def test_the_older_schema_can_be_chosen(tmp_path: Path) -> None:
    """One setting compiles the same tasks, machines and driver for schema 2.0."""
    older = json.loads(compile_text(make_request(tmp_path, pipeline_schema="2.0"), tmp_path))["pipelineSpec"]
    newer = golden("first_run.json")

    assert older["schemaVersion"] == "2.0.0"
    assert older["root"]["dag"]["tasks"].keys() == newer["root"]["dag"]["tasks"].keys()
    assert older["root"]["inputDefinitions"]["parameters"] == {
        name: {"type": "STRING"} for name in newer["root"]["inputDefinitions"]["parameters"]
    }
    assert hooks_and_machines(older) == hooks_and_machines(newer)


@pytest.mark.parametrize("parameter", ["cache_period", "data_uri"])
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_window_and_period_are_part_of_the_first_keys(name: str, parameter: str) -> None:
    """Every component that runs and waits for no other is given them."""
    spec = golden(name)
    tasks, executors = spec["root"]["dag"]["tasks"], spec["deploymentSpec"]["executors"]
    first = {task for task in tasks if not tasks[task].get("dependentTasks")}
    given = {
        task
        for task, each in tasks.items()
        if each.get("inputs", {}).get("parameters", {}).get(parameter)
        == {"componentInputParameter": parameter}
    }

    assert given == {task for task in first if "container" in executors[f"{task}_executor"]}
    assert "ImportSchemaGen" in given


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_no_month_is_in_the_spec(name: str) -> None:
    """Window, data, destinations and champion are parameters of the job, texts without a default."""
    spec = golden(name)
    champion = {"champion_name", "champion_uri"} if name == "against_champion_untuned.json" else set()

    assert spec["root"]["inputDefinitions"]["parameters"] == {
        parameter: {"parameterType": "STRING"}
        for parameter in (
            {"cache_period", "data_uri", "push_destination", "train_args", "training_options", "window"}
            | champion
        )
    }
    assert not re.search(r"20[0-9]{2}-[0-9]{2}", json.dumps(spec))


@pytest.mark.parametrize("schema", ["2.0", "2.1"])
def test_a_run_gives_its_pipeline_all_that_it_takes(schema: str, tmp_path: Path) -> None:
    """In either schema the values are bound, and what they stand for is what the tasks read."""
    request = make_request(tmp_path, pipeline_schema=schema, compares=True)
    spec = json.loads(compile_text(request, tmp_path))["pipelineSpec"]
    values = make_parameters(tmp_path, champion=CHAMPION).values(request)
    plan = make_plan(spec)
    bound = bind(plan.parameters, values)
    read = {
        (task.name, key): bound[source.name]
        for task in plan.tasks.values()
        for key, source in task.parameters.items()
        if isinstance(source, RunParameter)
    }

    assert read == {
        ("Champion", "artifact_uri"): CHAMPION.uri,
        ("CsvExampleGen", "cache_period"): "2015-07-05",
        ("CsvExampleGen", "data_uri"): f"{tmp_path}/data",
        ("CsvExampleGen", "input_base"): f"{tmp_path}/data",
        ("ImportSchemaGen", "cache_period"): "2015-07-05",
        ("ImportSchemaGen", "data_uri"): f"{tmp_path}/data",
        ("Pusher", "push_destination"): json.dumps({"filesystem": {"base_directory": f"{tmp_path}/serving"}}),
        ("Report", "champion_name"): CHAMPION.name,
        ("Report", "window"): "2015-07_train24_test1",
        ("Trainer", "custom_config"): values["training_options"],
        ("Trainer", "train_args"): '{"num_steps": 200, "splits": ["train"]}',
    }


def test_parameters_are_those_of_the_spec(tmp_path: Path) -> None:
    """What a run gives is what its pipeline takes, with a champion or without."""
    for name, champion in (("first_run.json", None), ("against_champion_untuned.json", CHAMPION)):
        request = make_request(tmp_path, **VARIANTS[name])
        values = make_parameters(tmp_path, champion=champion).values(request)

        assert values.keys() == golden(name)["root"]["inputDefinitions"]["parameters"].keys()


def test_nothing_waits_for_report_and_pusher() -> None:
    """The report is written while the Pusher copies."""
    tasks = golden("first_run.json")["root"]["dag"]["tasks"]
    waited_for = {name for task in tasks.values() for name in task.get("dependentTasks", [])}

    assert set(tasks) - waited_for == {"Pusher", "Report"}


@pytest.mark.parametrize("component", ["Transform", "ExampleValidator", "Evaluator", "Report"])
def test_the_reviewed_schema_is_used(component: str) -> None:
    """What reads a schema reads the one that was reviewed, not the one that the trips themselves give."""
    task = golden("first_run.json")["root"]["dag"]["tasks"][component]

    assert task["inputs"]["artifacts"]["schema"]["taskOutputArtifact"]["producerTask"] == "ImportSchemaGen"


def test_a_schema_without_a_column_is_refused(tmp_path: Path) -> None:
    """A reviewed schema that lacks what the modules read is not compiled."""
    text = SCHEMA.read_text().replace('"fare"', '"amount"')

    assert "it lacks feature 'fare', which the modules read" in compile_failure(
        with_schema(tmp_path, text), tmp_path
    )


@pytest.mark.parametrize(
    ("found", "written", "problem"),
    [
        ("feature {", "feature [", "not a schema in protobuf's text format"),
        ("most_absent:0.9", "most_absent:90", "tag 'most_absent:90' of feature"),
        ("presence { min_fraction: 1.0 min_count: 1 }", "", "may have other than one value in a row"),
    ],
)
def test_a_schema_that_says_nothing_is_refused(
    tmp_path: Path, found: str, written: str, problem: str
) -> None:
    """What is wrong with the schema is one line, before TFX is imported."""
    text = SCHEMA.read_text().replace(found, written)

    assert problem in compile_failure(with_schema(tmp_path, text), tmp_path)


def with_schema(root: Path, text: str) -> CompileRequest:
    """Put the modules with another schema below `root` and return a request for them."""
    folder = root / "other"
    folder.mkdir()
    (folder / "schema.pbtxt").write_text(text)
    modules = read_modules(MODULES, folder / "schema.pbtxt")
    for name, content in modules.files.items():
        (folder / name).write_bytes(content)
    return make_request(root, modules_uri=str(folder), modules_digest=modules.digest)


def test_trainer_takes_the_tuners_choice() -> None:
    """The Tuner's best hyperparameters are an input of the Trainer."""
    trainer = golden("first_run.json")["root"]["dag"]["tasks"]["Trainer"]

    assert trainer["inputs"]["artifacts"]["hyperparameters"]["taskOutputArtifact"] == {
        "outputArtifactKey": "best_hyperparameters",
        "producerTask": "Tuner",
    }


def test_no_trials_leave_the_tuner_out() -> None:
    """With 0 trials there is no Tuner, and nothing asks for one."""
    spec = golden("against_champion_untuned.json")

    assert "Tuner" not in json.dumps(spec["root"])


def test_champion_is_imported_from_its_address() -> None:
    """The Evaluator's baseline is the model that serves, not the latest blessed one."""
    spec = golden("against_champion_untuned.json")
    baseline = spec["root"]["dag"]["tasks"]["Evaluator"]["inputs"]["artifacts"]["baseline_model"]
    importer = spec["deploymentSpec"]["executors"]["Champion_executor"]["importer"]

    assert baseline["taskOutputArtifact"]["producerTask"] == "Champion"
    given = spec["root"]["dag"]["tasks"]["Champion"]["inputs"]["parameters"]["artifact_uri"]
    assert importer["artifactUri"] == {"runtimeParameter": "artifact_uri"}
    assert given == {"componentInputParameter": "champion_uri"}


@pytest.mark.parametrize(
    ("name", "ending"), [("first_run.json", "csv"), ("against_champion_untuned.json", "parquet")]
)
def test_files_are_read_by_our_executors(name: str, ending: str) -> None:
    """Files of the request's format go to our executor for them, behind our driver."""
    spec = golden(name)
    component = f"{ending.capitalize()}ExampleGen"
    container = spec["deploymentSpec"]["executors"][f"{component}_executor"]["container"]
    task = spec["root"]["dag"]["tasks"][component]
    config = json.loads(task["inputs"]["parameters"]["input_config"]["runtimeValue"]["constant"])

    assert container["args"][:2] == ["--executor_class_path", f"taxi_ml.pipeline.{ending}_examples.Executor"]
    assert container["lifecycle"]["preCacheCheck"]["command"][-1] == "taxi_ml.pipeline.example_gen_driver"
    assert [split["pattern"] for split in config["splits"]] == [
        f"{split}/trips_*.{ending}" for split in ("train", "eval", "test")
    ]


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_beam_arguments_reach_every_component(name: str, tmp_path: Path) -> None:
    """Executors and drivers end in the arguments, whichever runner they are for."""
    given = list(make_request(tmp_path, **VARIANTS[name]).beam_args)
    executors = golden(name)["deploymentSpec"]["executors"]
    containers = {label: each["container"] for label, each in executors.items() if "container" in each}
    hooks = [each["lifecycle"]["preCacheCheck"] for each in containers.values() if "lifecycle" in each]
    beam = {"StatisticsGen", "Transform", "Evaluator"}

    assert beam <= {label.removesuffix("_executor") for label in containers}
    assert len(hooks) == 1
    assert [each["args"][-len(given) :] for each in (*containers.values(), *hooks)] == [given] * (
        len(containers) + 1
    )


def test_every_container_asks_for_its_machine() -> None:
    """Machine types are sizes in the spec, on every executor that is a container."""
    executors = golden("first_run.json")["deploymentSpec"]["executors"].values()
    sizes = [executor["container"]["resources"] for executor in executors]

    assert sizes == [{"cpuLimit": 4.0, "memoryLimit": 15.0}] * len(sizes)


@pytest.mark.parametrize(
    ("component", "wanted"),
    [
        (
            "ParquetExampleGen",
            {"cpuLimit": 8.0, "cpuRequest": 8.0, "memoryLimit": 15.0},
        ),
        ("Transform", {"cpuLimit": 4.0, "memoryLimit": 32.0, "memoryRequest": 32.0}),
        (
            "Trainer",
            {
                "cpuLimit": 8.0,
                "cpuRequest": 8.0,
                "memoryLimit": 32.0,
                "memoryRequest": 32.0,
                "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "2"},
            },
        ),
        ("Report", {"cpuLimit": 4.0, "memoryLimit": 15.0}),
    ],
)
def test_component_asks_for_what_its_setting_says(component: str, wanted: dict[str, Any]) -> None:
    """What is set for a component stands in its container as limit and request; the rest is its machine's."""
    executors = golden("against_champion_untuned.json")["deploymentSpec"]["executors"]

    assert executors[f"{component}_executor"]["container"]["resources"] == wanted


def test_resources_are_those_of_the_proto() -> None:
    """The spec is read by the protobuf that clients of Vertex AI use."""
    spec = json_format.ParseDict(golden("against_champion_untuned.json"), PipelineSpec())
    deployment = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig()
    )
    trainer = deployment.executors["Trainer_executor"].container.resources

    assert (trainer.accelerator.type, trainer.accelerator.count) == ("NVIDIA_TESLA_T4", 2)
    assert (trainer.cpu_limit, trainer.memory_request) == (8.0, 32.0)
