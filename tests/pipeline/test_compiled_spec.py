"""The compiled spec: equal to its golden, and fit for Vertex AI and the components."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec

from tests.pipeline.golden import GOLDENS, VARIANTS, compile_texts
from tests.pipeline.requests import CHAMPION, make_parameters, make_request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Compiled = Callable[[str], dict[str, Any]]

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("compiled_spec")]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The compiled jobs, by the names of their goldens or as `older` and `refit`."""
    changes: dict[str, dict[str, object]] = {
        **VARIANTS,
        "older": {"pipeline_schema": "2.0"},
        "refit": {"refit": True},
    }
    roots = {name: tmp_path_factory.mktemp("compiled") for name in changes}
    texts = compile_texts({roots[name]: make_request(roots[name], **changes[name]) for name in changes})
    return dict(zip(changes, texts, strict=True)).__getitem__


@pytest.fixture(scope="module")
def compiled(job: Callable[[str], str]) -> Compiled:
    """Return the compiled spec of a variant."""

    def spec_of(name: str) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads(job(name))["pipelineSpec"]
        return spec

    return spec_of


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_compiled_spec_is_the_golden(job: Callable[[str], str], name: str) -> None:
    """The compiled job is the recorded one; `python -m tests.pipeline.golden` records it again."""
    assert job(name) == (GOLDENS / name).read_text()


def test_spec_is_of_schema_2_1(compiled: Compiled) -> None:
    """The spec has Vertex AI's newest schema version."""
    assert compiled("first_run.json")["schemaVersion"] == "2.1.0"


def hooks_and_machines(spec: dict[str, Any]) -> list[Any]:
    """Return the resources that each executor requests, and its driver."""
    executors = sorted(spec["deploymentSpec"]["executors"].items())
    containers = [each.get("container", {}) for _, each in executors]
    hooks = [each.get("lifecycle", {}).get("preCacheCheck", {}).get("command") for each in containers]
    return [hooks, [each.get("resources") for each in containers]]


def test_the_older_schema_can_be_chosen(compiled: Compiled) -> None:
    """One setting compiles the same tasks, machines and driver for schema 2.0."""
    older, newer = compiled("older"), compiled("first_run.json")

    assert older["schemaVersion"] == "2.0.0"
    assert older["root"]["dag"]["tasks"].keys() == newer["root"]["dag"]["tasks"].keys()
    assert older["root"]["inputDefinitions"]["parameters"] == {
        name: {"type": "STRING"} for name in newer["root"]["inputDefinitions"]["parameters"]
    }
    assert hooks_and_machines(older) == hooks_and_machines(newer)


@pytest.mark.parametrize("parameter", ["cache_period", "data_uri"])
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_window_and_period_are_part_of_the_first_keys(compiled: Compiled, name: str, parameter: str) -> None:
    """Every component that runs and waits for no other gets the cache period and the data's URI."""
    spec = compiled(name)
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
def test_no_month_is_in_the_spec(compiled: Compiled, name: str) -> None:
    """Window, data, destinations and models are parameters of the job, strings without a default."""
    spec = compiled(name)
    champion = {"champion_name", "champion_uri"} if name == "against_champion_untuned.json" else set()

    assert spec["root"]["inputDefinitions"]["parameters"] == {
        parameter: {"parameterType": "STRING"}
        for parameter in (
            {"cache_period", "data_uri", "push_destination", "train_args", "training_options", "window"}
            | {"anchor_name", "anchor_uri", "anomaly_rules"}
            | champion
        )
    }
    assert not re.search(r"20[0-9]{2}-[0-9]{2}", json.dumps(spec))


def test_parameters_are_those_of_the_spec(compiled: Compiled, tmp_path: Path) -> None:
    """A run gives the parameters that its pipeline takes, with a champion or without."""
    for name, champion in (("first_run.json", None), ("against_champion_untuned.json", CHAMPION)):
        request = make_request(tmp_path, **VARIANTS[name])
        values = make_parameters(tmp_path, champion=champion).values(request)

        assert values.keys() == compiled(name)["root"]["inputDefinitions"]["parameters"].keys()


def test_a_refit_is_a_task_of_its_own(compiled: Compiled, tmp_path: Path) -> None:
    """Without the setting there is none; with it, the Pusher takes it, and the Evaluator the judged model."""
    spec = compiled("refit")
    tasks = spec["root"]["dag"]["tasks"]
    values = make_parameters(tmp_path).values(make_request(tmp_path, refit=True))
    producers = {
        (name, key): tasks[name]["inputs"]["artifacts"][key]["taskOutputArtifact"]["producerTask"]
        for name, key in (
            *(("Refit", key) for key in ("base_model", "hyperparameters")),
            *(("Pusher", "model"), ("Evaluator", "model"), ("Report", "model"), ("Report", "refit")),
        )
    }

    assert "Refit" not in json.dumps(compiled("first_run.json"))
    assert values.keys() == spec["root"]["inputDefinitions"]["parameters"].keys()
    assert producers == {
        ("Refit", "base_model"): "Trainer",
        ("Refit", "hyperparameters"): "Tuner",
        ("Pusher", "model"): "Refit",
        ("Evaluator", "model"): "Trainer",
        ("Report", "model"): "Trainer",
        ("Report", "refit"): "Refit",
    }


def test_nothing_waits_for_report_and_pusher(compiled: Compiled) -> None:
    """The report is written while the Pusher copies."""
    tasks = compiled("first_run.json")["root"]["dag"]["tasks"]
    waited_for = {name for task in tasks.values() for name in task.get("dependentTasks", [])}

    assert set(tasks) - waited_for == {"Pusher", "Report"}


@pytest.mark.parametrize("component", ["Transform", "ExampleValidator", "Evaluator", "Report"])
def test_the_reviewed_schema_is_used(compiled: Compiled, component: str) -> None:
    """Components read the reviewed schema, not the one that is inferred from the trips."""
    task = compiled("first_run.json")["root"]["dag"]["tasks"][component]

    assert task["inputs"]["artifacts"]["schema"]["taskOutputArtifact"]["producerTask"] == "ImportSchemaGen"


def test_trainer_takes_the_tuners_choice(compiled: Compiled) -> None:
    """The Tuner's best hyperparameters are an input of the Trainer."""
    trainer = compiled("first_run.json")["root"]["dag"]["tasks"]["Trainer"]

    assert trainer["inputs"]["artifacts"]["hyperparameters"]["taskOutputArtifact"] == {
        "outputArtifactKey": "best_hyperparameters",
        "producerTask": "Tuner",
    }


def test_no_trials_leave_the_tuner_out(compiled: Compiled) -> None:
    """With 0 trials there is no Tuner, and nothing depends on one."""
    spec = compiled("against_champion_untuned.json")

    assert "Tuner" not in json.dumps(spec["root"])


def test_champion_is_imported_from_its_address(compiled: Compiled) -> None:
    """The Evaluator's baseline is the model that serves, not the latest blessed one."""
    spec = compiled("against_champion_untuned.json")
    baseline = spec["root"]["dag"]["tasks"]["Evaluator"]["inputs"]["artifacts"]["baseline_model"]
    importer = spec["deploymentSpec"]["executors"]["Champion_executor"]["importer"]

    assert baseline["taskOutputArtifact"]["producerTask"] == "Champion"
    given = spec["root"]["dag"]["tasks"]["Champion"]["inputs"]["parameters"]["artifact_uri"]
    assert importer["artifactUri"] == {"runtimeParameter": "artifact_uri"}
    assert given == {"componentInputParameter": "champion_uri"}


@pytest.mark.parametrize(
    ("name", "ending"), [("first_run.json", "csv"), ("against_champion_untuned.json", "parquet")]
)
def test_files_are_read_by_our_executors(compiled: Compiled, name: str, ending: str) -> None:
    """Files of the request's format go to our executor for them, behind our driver."""
    spec = compiled(name)
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
def test_beam_arguments_reach_every_component(compiled: Compiled, name: str, tmp_path: Path) -> None:
    """Executors and drivers end in the arguments, whichever runner they are for."""
    given = list(make_request(tmp_path, **VARIANTS[name]).beam_args)
    executors = compiled(name)["deploymentSpec"]["executors"]
    containers = {label: each["container"] for label, each in executors.items() if "container" in each}
    hooks = [each["lifecycle"]["preCacheCheck"] for each in containers.values() if "lifecycle" in each]
    beam = {"StatisticsGen", "Transform", "Evaluator"}

    assert beam <= {label.removesuffix("_executor") for label in containers}
    assert len(hooks) == 1
    assert [each["args"][-len(given) :] for each in (*containers.values(), *hooks)] == [given] * (
        len(containers) + 1
    )


def test_every_container_asks_for_its_machine(compiled: Compiled) -> None:
    """Machine types are sizes in the spec, on every executor that is a container."""
    executors = compiled("first_run.json")["deploymentSpec"]["executors"].values()
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
def test_component_asks_for_what_its_setting_says(
    compiled: Compiled, component: str, wanted: dict[str, Any]
) -> None:
    """A component's settings are limits and requests of its container; the rest comes from its machine."""
    executors = compiled("against_champion_untuned.json")["deploymentSpec"]["executors"]

    assert executors[f"{component}_executor"]["container"]["resources"] == wanted


def test_resources_are_those_of_the_proto(compiled: Compiled) -> None:
    """The spec is read by the protobuf that clients of Vertex AI use."""
    spec = json_format.ParseDict(compiled("against_champion_untuned.json"), PipelineSpec())
    deployment = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig()
    )
    trainer = deployment.executors["Trainer_executor"].container.resources

    assert (trainer.accelerator.type, trainer.accelerator.count) == ("NVIDIA_TESLA_T4", 2)
    assert (trainer.cpu_limit, trainer.memory_request) == (8.0, 32.0)
