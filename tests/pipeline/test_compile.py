from __future__ import annotations

import dataclasses
import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from local_vertex.plan.parameters import bind
from local_vertex.plan.plan import RunParameter
from local_vertex.plan.planner import make_plan
from taxi_ml.pipeline.modules_check import read_modules
from tests.pipeline.golden import compile_texts
from tests.pipeline.requests import (
    ANCHOR,
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


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[CompileRequest, Path]]:
    """Requests that were compiled below their roots, with a champion for either schema."""
    compiled = {}
    for schema in ("2.0", "2.1"):
        root = tmp_path_factory.mktemp("compiled")
        compiled[schema] = make_request(root, pipeline_schema=schema, compares=True), root
    compile_texts({root: request for request, root in compiled.values()})
    return compiled


def test_wheels_lie_beside_the_modules(compiled: dict[str, tuple[CompileRequest, Path]]) -> None:
    """A wheel for each component with user code is where the spec says, for any request."""
    request, root = compiled["2.1"]
    wheels = sorted((root / "modules" / request.modules_digest / "wheels").iterdir())

    assert [wheel.name.split("-")[0] for wheel in wheels] == [
        "tfx_user_code_trainer",
        "tfx_user_code_transform",
        "tfx_user_code_tuner",
    ]
    spec = (root / "pipeline.json").read_text()
    assert all(str(wheel).lower() in spec.lower() for wheel in wheels)


def compile_failure(request: CompileRequest, root: Path) -> str:
    """Compile a request that must fail; return the one line on stderr."""
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

    assert "Dataflow cannot run this image's workers: /opt/apache/beam/boot does not exist" in failure


def test_missing_request_is_one_line(tmp_path: Path) -> None:
    """The error for a request that does not exist names its address."""
    request = dataclasses.replace(make_request(tmp_path), modules_uri=str(tmp_path / "nowhere"))

    assert "nowhere" in compile_failure(request, tmp_path)


@pytest.mark.parametrize("schema", ["2.0", "2.1"])
def test_a_run_gives_its_pipeline_all_that_it_takes(
    compiled: dict[str, tuple[CompileRequest, Path]], schema: str
) -> None:
    """In either schema the values are bound, and the tasks read the values that they stand for."""
    request, root = compiled[schema]
    spec = json.loads((root / "pipeline.json").read_text())["pipelineSpec"]
    values = make_parameters(root, champion=CHAMPION, anchor=ANCHOR).values(request)
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
        ("CsvExampleGen", "data_uri"): f"{root}/data",
        ("CsvExampleGen", "input_base"): f"{root}/data",
        ("ExampleValidator", "rules"): values["anomaly_rules"],
        ("ImportSchemaGen", "cache_period"): "2015-07-05",
        ("ImportSchemaGen", "data_uri"): f"{root}/data",
        ("Pusher", "push_destination"): json.dumps({"filesystem": {"base_directory": f"{root}/serving"}}),
        ("Report", "anchor_name"): ANCHOR.name,
        ("Report", "anchor_uri"): ANCHOR.uri,
        ("Report", "champion_name"): CHAMPION.name,
        ("Report", "window"): "2015-07_train24_test1",
        ("Trainer", "custom_config"): values["training_options"],
        ("Trainer", "train_args"): '{"num_steps": 200, "splits": ["train"]}',
    }


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
        ("presence { min_fraction: 1.0 min_count: 1 }", "", "may not have exactly one value a row"),
    ],
)
def test_a_schema_that_says_nothing_is_refused(
    tmp_path: Path, found: str, written: str, problem: str
) -> None:
    """A defect of the schema is one line, before TFX is imported."""
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
