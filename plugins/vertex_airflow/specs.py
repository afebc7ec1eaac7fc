"""A compiled pipeline on its way from Cloud Storage to the request that creates its job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow.operators.connected import is_true

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.aiplatform_v1 import PipelineJob

    from vertex_airflow.objects import ObjectStore


_OLDER_SCHEMA = "2.0."
_AGAIN = "clear the tasks that write it"


def load_document(store: ObjectStore, uri: str) -> dict[str, Any]:
    """Return the JSON object at a ``gs://`` address.

    Raises:
        AirflowFailException: when it is not a JSON object.
        FileNotFoundError: when there is nothing.

    """
    content = store.read(uri)
    try:
        document = json.loads(content)
    except ValueError as error:
        raise AirflowFailException(f"{uri} is not valid JSON: {error}; delete it and {_AGAIN}") from error
    if not isinstance(document, dict):
        raise AirflowFailException(f"{uri} does not hold a JSON object; delete it and {_AGAIN}")
    return document


def job_message(  # noqa: PLR0913  # one for each field of the message
    document: dict[str, Any],
    *,
    display_name: str,
    pipeline_root: str,
    parameter_values: Mapping[str, Any],
    labels: Mapping[str, str],
    service_account: str,
    enable_caching: bool | str | None,
) -> PipelineJob:
    """Return the PipelineJob for a PipelineSpec, or for a compiled PipelineJob that holds one."""
    from google.cloud.aiplatform_v1 import PipelineJob  # noqa: PLC0415  # 1.7 s, not at parse time
    from google.protobuf import json_format  # noqa: PLC0415  # with it

    spec = document.get("pipelineSpec", document)
    runtime = dict(document.get("runtimeConfig", {}))
    if str(spec.get("schemaVersion", "")).startswith(_OLDER_SCHEMA):
        values = {name: _typed_value(value) for name, value in parameter_values.items()}
        runtime["parameters"] = {**runtime.get("parameters", {}), **values}
    else:
        runtime["parameterValues"] = {**runtime.get("parameterValues", {}), **parameter_values}
    if root := pipeline_root or runtime.get("gcsOutputDirectory") or spec.get("defaultPipelineRoot"):
        runtime["gcsOutputDirectory"] = root
    runtime["failurePolicy"] = "PIPELINE_FAILURE_POLICY_FAIL_FAST"
    wire = {
        "displayName": display_name or document.get("displayName") or spec["pipelineInfo"]["name"],
        "pipelineSpec": _with_caching(spec, enable_caching),
        "runtimeConfig": runtime,
        "labels": {**document.get("labels", {}), **labels},
        **({"serviceAccount": service_account} if service_account else {}),
    }
    message = PipelineJob()
    json_format.ParseDict(wire, PipelineJob.pb(message))
    return message


def _typed_value(value: Any) -> dict[str, Any]:  # noqa: ANN401  # a parameter's value
    """Return a value in the form of a 2.0 pipeline's `parameters`: `parameterValues` are for 2.1 and newer.

    See https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs#RuntimeConfig.
    Google's SDK does the same (google.cloud.aiplatform.utils.pipeline_utils).
    """
    match value:
        case bool():
            raise AirflowFailException(
                f"{value!r} cannot be a parameter of a pipeline of schema 2.0; give a string or a number"
            )
        case int():
            return {"intValue": value}
        case float():
            return {"doubleValue": value}
        case _:
            return {"stringValue": str(value)}


def _with_caching(spec: dict[str, Any], enabled: bool | str | None) -> dict[str, Any]:  # noqa: FBT001
    if enabled is None or enabled == "":
        return spec
    wanted = is_true(enabled)
    copy: dict[str, Any] = json.loads(json.dumps(spec))
    for component in (copy.get("root", {}), *copy.get("components", {}).values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            # Empty rather than false, as kfp itself compiles it.
            task["cachingOptions"] = {"enableCache": True} if wanted else {}
    return copy
