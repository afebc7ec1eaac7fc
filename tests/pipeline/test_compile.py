from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec

from tests.pipeline.golden import GOLDENS, VARIANTS, compile_text
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY, make_request

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
    assert hooks_and_machines(older) == hooks_and_machines(newer)


def test_the_cache_period_is_part_of_one_key() -> None:
    """The ExampleGen, from which everything else hangs, carries the period in its environment."""
    executors = golden("first_run.json")["deploymentSpec"]["executors"]
    environments = {name: each["container"].get("env") for name, each in executors.items()}

    assert {name: env for name, env in environments.items() if env} == {
        "CsvExampleGen_executor": [{"name": "CACHE_PERIOD", "value": "2015-07-05"}]
    }


def test_report_runs_last() -> None:
    """No task depends on the report, and it waits for the Pusher."""
    tasks = golden("first_run.json")["root"]["dag"]["tasks"]
    waited_for = {name for task in tasks.values() for name in task.get("dependentTasks", [])}

    assert set(tasks) - waited_for == {"Report"}
    assert "Pusher" in tasks["Report"]["dependentTasks"]


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
    assert importer["artifactUri"]["constant"] == "gs://taxi-local/champion"


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
