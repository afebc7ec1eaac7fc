"""PipelineSpecs, a job and a model server that need only Python in their image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conformance.target import Target

DATASET = {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
EXAMPLES = {
    "artifactType": {
        "instanceSchema": "title: tfx.Examples\ntype: object\nproperties:\n  span:\n    type: integer\n"
    }
}
SLEEP = "import time; time.sleep(3600)"

_MAKE = """
import os, sys
text, *outputs = sys.argv[1:]
for path, content in zip(outputs, (text, str(len(text)))):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as file:
        file.write(content)
"""
_READ = "import sys; sys.exit(open(sys.argv[1]).read() != sys.argv[2])"
_DRIVE = """
import json, os, sys
path = json.loads(sys.argv[1])['outputs']['outputFile']
os.makedirs(os.path.dirname(path), exist_ok=True)
with open(path, 'w') as file:
    json.dump({'parameterValues': {'found': 'by the driver'}}, file)
"""
_TELL = """
import json, os, sys
seen = json.loads(sys.argv[1])['inputs'].get('parameterValues', {}).get('found', 'nothing')
os.makedirs(os.path.dirname(sys.argv[2]), exist_ok=True)
with open(sys.argv[2], 'w') as file:
    file.write(seen)
"""

# It binds to the loopback address if the image says so, as the local one does.
SERVER = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == os.environ['AIP_HEALTH_ROUTE'] else 404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        if 'wrong' in body.decode():
            return self.answer(400, {'error': 'this instance is wrong'})
        types = [type(each).__name__ for each in json.loads(body)['instances']]
        names = sorted(name for name in os.environ if name.startswith('AIP_'))
        self.answer(200, {'predictions': [{'types': types, 'names': names}]})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

address = (os.environ.get('SERVING_HOST', ''), int(os.environ['AIP_HTTP_PORT']))
HTTPServer(address, Handler).serve_forever()
"""


def main_pipeline(image: str, schema: str = "2.1.0") -> dict[str, Any]:
    """Return `make`, which writes a dataset and a number; `read`, which reads the one; `never`."""
    tasks = {
        "make": _task(
            _container(
                image,
                _MAKE,
                "{{$.inputs.parameters['text']}}",
                "{{$.outputs.artifacts['made'].path}}",
                "{{$.outputs.parameters['length'].output_file}}",
            ),
            inputs=_parameters("text", schema),
            outputs={
                "artifacts": {"made": DATASET},
                "parameters": {"length": _type("INTEGER", schema)},
            },
            task={"inputs": {"parameters": _given("text")}},
        ),
        "read": _task(
            _container(
                image, _READ, "{{$.inputs.artifacts['made'].path}}", "{{$.inputs.parameters['text']}}"
            ),
            inputs={"artifacts": {"made": DATASET}, **_parameters("text", schema)},
            task={
                "dependentTasks": ["make"],
                "inputs": {"artifacts": _artifact("made", of="make"), "parameters": _given("text")},
            },
        ),
    }
    return _spec("main", tasks, schema=schema, inputs=_parameters("text", schema))


def conditional_pipeline(image: str) -> dict[str, Any]:
    """Return a pipeline whose task `never` has a condition that is false."""
    never = _task(
        _container(image, "pass"),
        inputs=_parameters("text", "2.1.0"),
        task={
            "inputs": {"parameters": _given("text")},
            "triggerPolicy": {"condition": "inputs.parameter_values['text'] == 'never'"},
        },
    )
    always = _task(_container(image, "pass"))
    tasks = {"always": always, "never": never}
    return _spec("conditional", tasks, inputs=_parameters("text", "2.1.0"))


def single_pipeline(name: str, image: str, code: str) -> dict[str, Any]:
    """Return a pipeline of one task, called `only`, that runs `code`."""
    return _spec(name, {"only": _task(_container(image, code))})


def driven_pipeline(image: str) -> dict[str, Any]:
    """Return a pipeline whose task `only` reports what its preCacheCheck hook found, as TFX compiles it."""
    container = _container(image, _TELL, "{{$}}", "{{$.outputs.parameters['seen'].output_file}}")
    hook = {"command": ["python", "-c", _DRIVE], "args": ["{{$}}"]}
    only = _task(
        {**container, "lifecycle": {"preCacheCheck": hook}},
        inputs=_parameters("input_base", "2.1.0"),
        outputs={"artifacts": {"examples": EXAMPLES}, "parameters": {"seen": _type("STRING", "2.1.0")}},
        task={"inputs": {"parameters": {"input_base": {"runtimeValue": {"constant": "data"}}}}},
    )
    return _spec("driven", {"only": only})


def custom_job(name: str, target: Target, code: str) -> dict[str, Any]:
    """Return a custom job of one small machine that runs `code`."""
    pool = {
        "machine_spec": {"machine_type": "e2-standard-4"},
        "replica_count": 1,
        "container_spec": {"image_uri": target.image, "command": ["python", "-c", code]},
    }
    job = {"worker_pool_specs": [pool], "service_account": target.service_account}
    return {"display_name": name, "labels": target.labels, "job_spec": job}


def model(target: Target) -> dict[str, Any]:
    """Return a model without files, served by `SERVER`."""
    return {
        "display_name": "conformance",
        "labels": target.labels,
        "container_spec": {
            "image_uri": target.image,
            "command": ["python", "-c", SERVER],
            "predict_route": "/predict",
            "health_route": "/health",
            "ports": [{"container_port": 8080}],
        },
    }


def _spec(
    name: str,
    tasks: Mapping[str, dict[str, Any]],
    *,
    schema: str = "2.1.0",
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    executors = {f"exec-{key}": {"container": each["container"]} for key, each in tasks.items()}
    return {
        "schemaVersion": schema,
        "sdkVersion": "kfp-2.16.1",
        "pipelineInfo": {"name": f"conformance-{name}"},
        "components": {
            f"comp-{key}": {"executorLabel": f"exec-{key}", **each["component"]}
            for key, each in tasks.items()
        },
        "deploymentSpec": {"executors": executors},
        "root": {
            "dag": {
                "tasks": {
                    key: {
                        "taskInfo": {"name": key},
                        "componentRef": {"name": f"comp-{key}"},
                        "cachingOptions": {"enableCache": True},
                        **each["task"],
                    }
                    for key, each in tasks.items()
                }
            },
            **({"inputDefinitions": inputs} if inputs else {}),
        },
    }


def _task(
    container: dict[str, Any],
    *,
    inputs: Mapping[str, Any] | None = None,
    outputs: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    component = {"inputDefinitions": inputs, "outputDefinitions": outputs}
    return {
        "container": container,
        "component": {key: value for key, value in component.items() if value},
        "task": task or {},
    }


def _container(image: str, code: str, *args: str) -> dict[str, Any]:
    return {"image": image, "command": ["python", "-c", code], "args": list(args)}


def _type(kind: str, schema: str) -> dict[str, str]:
    if schema == "2.0.0":
        return {"type": "INT" if kind == "INTEGER" else kind}
    return {"parameterType": "NUMBER_INTEGER" if kind == "INTEGER" else kind}


def _parameters(name: str, schema: str) -> dict[str, Any]:
    return {"parameters": {name: _type("STRING", schema)}}


def _given(name: str) -> dict[str, Any]:
    return {name: {"componentInputParameter": name}}


def _artifact(name: str, *, of: str) -> dict[str, Any]:
    return {name: {"taskOutputArtifact": {"producerTask": of, "outputArtifactKey": name}}}
