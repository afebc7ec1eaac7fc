"""The compiler: `python -m taxi_ml.pipeline.compile --request R --out P` writes pipeline.json and wheels."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taxi_ml.dataflow import BeamArguments
from taxi_ml.evaluation import schemas, tags
from taxi_ml.modules.features import INPUTS, LABEL
from taxi_ml.naming import SCHEMA_FILE
from taxi_ml.pipeline import beam_worker, parameters
from taxi_ml.pipeline.machines import MachineSize, UnknownMachineTypeError, sized
from taxi_ml.pipeline.modules_check import ModuleError, digest, read_modules
from taxi_ml.pipeline.parameters import Parameter
from taxi_ml.pipeline.request import CompileRequest, RequestError
from taxi_ml.resources import Resources, ResourcesError
from taxi_ml.settings import PipelineSchema
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoWorkerError(ValueError):
    """The request is for Dataflow, and this image cannot run its workers."""


class StaleModulesError(ValueError):
    """The modules at an address are not those of the request."""


_DRIVER: Final = "taxi_ml.pipeline.example_gen_driver"
_REFUSALS: Final = (
    RequestError,
    ModuleError,
    tags.SchemaError,
    StaleModulesError,
    NoWorkerError,
    UnknownMachineTypeError,
    ResourcesError,
    FileNotFoundError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile; return the process's exit code. Invalid input gives one line on stderr."""
    options = _options(arguments)
    storage = Storage()
    try:
        request = CompileRequest.parse(storage.read(options.request).decode())
        _require_worker(request)
        job = compile_request(request, storage)
    except _REFUSALS as error:
        print(f"cannot compile {options.request}: {error}", file=sys.stderr)  # noqa: T201  # a command's answer
        return 2
    storage.write(options.out, json.dumps(job, indent=2, sort_keys=True).encode())
    print(options.out)  # noqa: T201  # a command's answer
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="taxi_ml.pipeline.compile", description=__doc__)
    parser.add_argument("--request", required=True, help="gs:// address or path of the compile request")
    parser.add_argument("--out", required=True, help="gs:// address or path for pipeline.json")
    return parser.parse_args(arguments)


def _require_worker(request: CompileRequest) -> None:
    """Check this image, which the workers run too, before Dataflow starts machines for them."""
    found = list(beam_worker.problems(os.environ)) if BeamArguments(request.beam_args).names_dataflow else []
    if found:
        raise NoWorkerError(f"Dataflow cannot run this image's workers: {'; '.join(found)}")


def compile_request(request: CompileRequest, storage: Storage) -> dict[str, Any]:
    """Return the PipelineJob as JSON, and write its wheels to `request.wheels_uri`.

    TensorFlow's own GCS filesystem ignores every emulator, so everything is compiled under a local root
    and the addresses are written in afterwards.

    Raises:
        StaleModulesError: if the modules do not have the digest of the request.
        ModuleError: if a module has a syntax error or lacks a function.
        SchemaError: if the reviewed schema cannot be read, or lacks what the modules read.

    """
    with tempfile.TemporaryDirectory(prefix="compile-") as folder:
        modules = Path(folder, "modules")
        _fetch_modules(request, storage, modules)
        root = Path(folder, "root")
        job = _compiled(request, modules, root)
        wheels = root / "_wheels"
        # Before the spec exists anywhere, so that no job can start whose wheels are missing.
        for wheel in sorted(wheels.iterdir()):
            storage.write_once(f"{request.wheels_uri}/{wheel.name}", wheel.read_bytes())
        return _readdressed(job, {str(wheels): request.wheels_uri, str(root): request.pipeline_root})


def _fetch_modules(request: CompileRequest, storage: Storage, folder: Path) -> None:
    folder.mkdir()
    files = {
        name: storage.read(f"{request.modules_uri}/{name}")
        for name in storage.files(request.modules_uri)
        if "/" not in name and name != "__init__.py" and (name.endswith(".py") or name == SCHEMA_FILE)
    }
    if digest(files) != request.modules_digest:
        raise StaleModulesError(
            f"{request.modules_uri} has modules with the digest {digest(files)}, but the request has "
            f"{request.modules_digest}; upload the modules again"
        )
    for name, content in files.items():
        (folder / name).write_bytes(content)
    read_modules(folder, folder / SCHEMA_FILE)
    try:
        schemas.parse(files[SCHEMA_FILE], required=(*INPUTS, LABEL))
    except tags.SchemaError as error:
        raise tags.SchemaError(f"{request.modules_uri}/{SCHEMA_FILE}: {error}") from error


def _compiled(request: CompileRequest, modules: Path, root: Path) -> dict[str, Any]:
    from tfx.v1 import dsl  # noqa: PLC0415  # seconds to import; bad input waits for none
    from tfx.v1.orchestration import experimental  # noqa: PLC0415  # as above

    from taxi_ml.pipeline.definition import build_pipeline  # noqa: PLC0415  # as above

    values = {
        name: dsl.experimental.RuntimeParameter(name=name, ptype=str) for name in parameters.names(request)
    }
    pipeline = build_pipeline(request, values, modules=modules, root=str(root))
    newer = request.pipeline_schema == PipelineSchema.NEWER
    config = experimental.KubeflowV2DagRunnerConfig(default_image=request.image, use_pipeline_spec_2_1=newer)
    job: dict[str, Any] = experimental.KubeflowV2DagRunner(config=config).run(pipeline, write_out=False)
    return sized(
        _kept_to_its_trips(_driven(job)),
        MachineSize.of(request.machine_type),
        Resources(request.resources).by_component,
    )


def _driven(job: dict[str, Any]) -> dict[str, Any]:
    """Give the ExampleGen our driver, to which rows that are exported again are the same data."""
    for executor in job["pipelineSpec"]["deploymentSpec"]["executors"].values():
        hook = executor.get("container", {}).get("lifecycle", {}).get("preCacheCheck")
        if hook:
            hook["command"] = ["python", "-m", _DRIVER]
    return job


def _kept_to_its_trips(job: dict[str, Any]) -> dict[str, Any]:
    """Give the parameters `data_uri` and `cache_period` to each component that waits for no other.

    Parameters are part of the cache's key, and all other components depend on the outputs of these. Only this
    keeps a run from using outputs of another window or period, whose files may be deleted. TFX would drop a
    parameter that its component does not know.
    """
    spec = job["pipelineSpec"]
    inputs = spec["root"]["inputDefinitions"]["parameters"]
    inputs[Parameter.CACHE_PERIOD] = inputs[Parameter.DATA_URI]
    for task in spec["root"]["dag"]["tasks"].values():
        component = spec["components"][task["componentRef"]["name"]]
        runs = "container" in spec["deploymentSpec"]["executors"][component["executorLabel"]]
        if runs and not task.get("dependentTasks"):
            for name in (Parameter.DATA_URI, Parameter.CACHE_PERIOD):
                component["inputDefinitions"]["parameters"][name] = inputs[name]
                task["inputs"]["parameters"][name] = {"componentInputParameter": name}
    return job


def _readdressed(job: dict[str, Any], addresses: dict[str, str]) -> dict[str, Any]:
    text = json.dumps(job)
    for local, final in addresses.items():
        text = text.replace(json.dumps(local)[1:-1], json.dumps(final)[1:-1])
    readdressed: dict[str, Any] = json.loads(text)
    return readdressed


if __name__ == "__main__":
    sys.exit(main())
