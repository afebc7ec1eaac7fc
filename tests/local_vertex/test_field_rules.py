"""The documented rules of fields: the table of rules against its sources, and each rule at the door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from local_vertex.api.field_behavior import PACKAGE, comments
from local_vertex.api.field_checks import check
from local_vertex.api.field_rules import RULES
from local_vertex.composition import SERVICES
from local_vertex.domain.errors import InvalidArgument
from local_vertex.server.methods import method_table
from tests.local_vertex.servers import PARENT
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_models import model, upload
from tests.local_vertex.test_pipeline_jobs import create

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from local_vertex.api.field_rules import FieldRule
    from tests.local_vertex.servers import Client

LABELS = [
    {f"k{number}": "" for number in range(65)},
    {"Team": "a"},
    {"1st": "a"},
    {"a": "B"},
    {"a": "v" * 64},
]
VARIABLES = [{"name": "A", "value": "1"}] * 101
UTILIZATION = "aiplatform.googleapis.com/prediction/online/cpu/utilization"
REFUSED: list[tuple[str, str, Any]] = [
    *(
        (resource, field, value)
        for resource in ("Model", "Endpoint", "CustomJob", "PipelineJob")
        for field, value in (("display_name", "n" * 129), *(("labels", each) for each in LABELS))
    ),
    *(
        ("CreatePipelineJobRequest", "pipeline_job_id", value)
        for value in ("j" * 128, "1st", "-a", "Run", "a_b", "a.b")
    ),
    *(("UploadModelRequest", "model_id", value) for value in ("m" * 64, "1st", "-a", "Fare", "a.b")),
    *(("Model", "version_aliases", [value]) for value in ("1", "v", "a_b", "a-", "A1", "a" * 129)),
    ("MergeVersionAliasesRequest", "version_aliases", ["-"]),
    *(
        ("CreateEndpointRequest", "endpoint_id", value)
        for value in ("e" * 64, "a-", "A", "a_b", "012", "1234567890", "1a")
    ),
    *(("DeployedModel", "id", value) for value in ("12345678901", "a", "1 ")),
    ("UndeployModelRequest", "deployed_model_id", f"{PARENT}/models/1"),
    ("DedicatedResources", "min_replica_count", -1),
    ("DedicatedResources", "autoscaling_metric_specs", [{"metric_name": UTILIZATION, "target": 101}]),
    ("DedicatedResources", "autoscaling_metric_specs", [{"metric_name": UTILIZATION}] * 2),
    ("WorkerPoolSpec", "machine_spec", {"accelerator_count": 1}),
    ("DiskSpec", "boot_disk_type", "ssd"),
    ("ContainerSpec", "env", VARIABLES),
    ("ContainerSpec", "env", [{"name": "A", "value": "it's"}]),
    ("EnvVar", "name", "1A"),
    ("EnvVar", "name", "A-B"),
    ("Port", "container_port", 65536),
    ("Probe.HttpGetAction", "port", 65536),
    ("Probe.GrpcAction", "port", -1),
    ("Probe.TcpSocketAction", "port", 65536),
    ("ModelContainerSpec", "deployment_timeout", "7201s"),
    ("BatchCancelPipelineJobsRequest", "names", ["a"] * 33),
    ("BatchDeletePipelineJobsRequest", "names", ["a"] * 33),
    *(
        (f"List{kind}Request", "page_size", 1001)
        for kind in ("Artifacts", "Contexts", "Executions", "MetadataStores")
    ),
    ("QueryArtifactLineageSubgraphRequest", "max_hops", -1),
]
TAKEN: list[tuple[str, str, Any]] = [
    ("Model", "display_name", "ß" * 128),
    ("Model", "labels", {"größe_1-a": "", "a": "1", "東": "-_"}),
    ("Model", "labels", {"k" * 63: "v" * 63}),
    ("CreatePipelineJobRequest", "pipeline_job_id", "j" * 127),
    ("UploadModelRequest", "model_id", "_" + "1" * 62),
    ("Model", "version_aliases", ["a" * 128, "a-B1", "default"]),
    ("MergeVersionAliasesRequest", "version_aliases", ["-" + "a" * 128, "champion"]),
    ("CreateEndpointRequest", "endpoint_id", "e" * 63),
    ("CreateEndpointRequest", "endpoint_id", "123456789"),
    ("DeployedModel", "id", "0123456789"),
    ("UndeployModelRequest", "deployed_model_id", "1" * 19),
    (
        "DedicatedResources",
        "autoscaling_metric_specs",
        [
            {"metric_name": UTILIZATION, "target": 100},
            {"metric_name": "aiplatform.googleapis.com/prediction/online/request_count", "target": 500},
        ],
    ),
    ("ContainerSpec", "env", [{"name": "_a1", "value": r"it\'s"}] * 100),
    ("ModelContainerSpec", "deployment_timeout", "7200s"),
    ("ListArtifactsRequest", "page_size", 1000),
    ("QueryArtifactLineageSubgraphRequest", "max_hops", 0),
]


def message(name: str, /, **fields: object) -> Client:
    """Return one of Vertex AI's messages, by its name without the package."""
    kind: Client = aiplatform_v1
    for part in name.split("."):
        kind = getattr(kind, part)
    return kind.pb(kind(fields))


def violations(name: str, /, **fields: object) -> dict[str, str]:
    """Return the descriptions of what a message breaks, by field."""
    try:
        check(message(name, **fields))
    except InvalidArgument as error:
        return {each.field: each.description for each in error.violations}
    return {}


def accepted_messages() -> dict[str, Descriptor]:
    """Return every message of Vertex AI that a supported method's request can hold."""
    found: dict[str, Descriptor] = {}

    def add(kind: Descriptor) -> None:
        if kind.full_name in found or not kind.full_name.startswith(PACKAGE):
            return
        found[kind.full_name] = kind
        for field in kind.fields:
            if field.message_type is not None:
                add(field.message_type)

    for method in method_table({name: service for service, name in SERVICES.items()}):
        if method.handler and method.request_type:
            add(method.request_type.DESCRIPTOR)
    return found


@pytest.mark.parametrize("kind", accepted_messages().values(), ids=accepted_messages())
def test_every_field_has_its_comment(kind: Descriptor) -> None:
    """The comments of the clients in use can be parsed: no required field is overlooked."""
    names = {field.name for field in kind.fields}

    assert kind.GetOptions().map_entry or set(comments(kind)) == names


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.field}: {rule.rule}")
def test_every_rule_has_a_source(rule: FieldRule) -> None:
    """A rule repeats what the comment of its field says, or names a page."""
    name, _, field = rule.field.rpartition(".")
    comment = comments(message(name).DESCRIPTOR)[field]

    assert rule.source.startswith("https://") or rule.source in comment


@pytest.mark.parametrize(("name", "field", "value"), REFUSED)
def test_what_breaks_a_rule_is_refused(name: str, field: str, value: object) -> None:
    """A value beyond its limits is named with the rule."""
    rules = [each.rule for each in RULES if each.field == f"{name}.{field}"]

    description = violations(name, **{field: value})[field]

    assert any(description.endswith(f"is not allowed; expected: {rule}") for rule in rules)


@pytest.mark.parametrize(("name", "field", "value"), TAKEN)
def test_what_keeps_the_rules_is_taken(name: str, field: str, value: object) -> None:
    """A value at its limits is not a violation."""
    assert not [path for path in violations(name, **{field: value}) if path.startswith(field)]


def test_every_rule_refuses_something() -> None:
    """Every rule has an example that it refuses."""
    kept = {
        (rule.field, rule.rule)
        for rule in RULES
        for name, field, value in REFUSED
        if rule.field == f"{name}.{field}" and rule.rule in violations(name, **{field: value})[field]
    }

    assert {(rule.field, rule.rule) for rule in RULES} == kept


@pytest.mark.parametrize(
    ("name", "fields", "missing"),
    [
        ("CreateEndpointRequest", {"parent": PARENT}, {"endpoint"}),
        ("CreateEndpointRequest", {"parent": PARENT, "endpoint": {}}, {"endpoint.display_name"}),
        ("UpdateEndpointRequest", {"endpoint": {"name": "e"}}, {"update_mask"}),
        (
            "UpdateEndpointRequest",
            {"endpoint": {"name": "e"}, "update_mask": {"paths": ["display_name"]}},
            {"endpoint.display_name"},
        ),
        ("UpdateEndpointRequest", {"endpoint": {"name": "e"}, "update_mask": {"paths": ["labels"]}}, set()),
        (
            "DeployModelRequest",
            {"endpoint": "e", "deployed_model": {"dedicated_resources": {"machine_spec": {}}}},
            {"deployed_model.dedicated_resources.min_replica_count"},
        ),
        (
            "CreateCustomJobRequest",
            {
                "parent": PARENT,
                "custom_job": {
                    "display_name": "a",
                    "job_spec": {"worker_pool_specs": [{"container_spec": {"env": [{"name": "A"}]}}]},
                },
            },
            {
                "custom_job.job_spec.worker_pool_specs[0].container_spec.image_uri",
                "custom_job.job_spec.worker_pool_specs[0].container_spec.env[0].value",
            },
        ),
    ],
)
def test_what_is_required_is_missed(name: str, fields: dict[str, Any], missing: set[str]) -> None:
    """Each required field that is absent is named by its path; in an update only those of the mask."""
    assert set(violations(name, **fields)) == missing


def test_the_door_names_every_violation(models: Client) -> None:
    """A client finds all wrong fields in the details of one error, over gRPC and REST."""
    wrong = model(display_name="n" * 129, version_aliases=["1"])

    with pytest.raises(exceptions.BadRequest, match="expected: up to 128 characters") as caught:
        models.upload_model({"parent": PARENT, "model_id": "Fare", "model": wrong})
    details = str(caught.value.details)

    assert all(path in details for path in ("model.display_name", "model.version_aliases", "model_id"))


def test_a_refused_update_changes_nothing(models: Client) -> None:
    """The rules hold for updates, too."""
    name = upload(models, labels={"a": "b"}).name

    with pytest.raises(exceptions.BadRequest, match="'a=B' is not allowed"):
        models.update_model(model={"name": name, "labels": {"a": "B"}}, update_mask={"paths": ["labels"]})

    assert dict(models.get_model(name=name).labels) == {"a": "b"}


def test_a_model_ignores_output_only_fields(models: Client) -> None:
    """A model read from Vertex AI can be uploaded again: fields that the service sets are dropped."""
    uploaded = upload(models, satisfies_pzs=True, checkpoints=[{"checkpoint_id": "1"}], version_id="7")

    assert (uploaded.satisfies_pzs, list(uploaded.checkpoints), uploaded.version_id) == (False, [], "1")


def test_a_pipeline_job_ignores_output_only_fields(pipelines: Client) -> None:
    """The same holds for a pipeline job, whatever schedule or template it names as its origin."""
    job = create(pipelines, "copy", schedule_name="s", template_metadata={"version": "1"})

    assert (job.schedule_name, job.template_metadata.version) == ("", "")


def test_a_custom_job_ignores_output_only_fields(custom_jobs: Client) -> None:
    """The same holds for a custom job."""
    job = custom_jobs.create_custom_job(parent=PARENT, custom_job=custom_job(satisfies_pzi=True))

    assert not job.satisfies_pzi


def test_a_deployed_model_ignores_output_only_fields(endpoints: Client, models: Client) -> None:
    """The same holds for an endpoint and for a model that is deployed on it."""
    made = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "a", "satisfies_pzs": True})
    name = made.result(timeout=5).name
    resources = {"machine_spec": {"machine_type": "n1-standard-2"}, "min_replica_count": 1}
    deployed = {
        "model": upload(models).name,
        "dedicated_resources": resources,
        "private_endpoints": {"predict_http_uri": "http://a"},
    }
    endpoints.deploy_model(endpoint=name, deployed_model=deployed).result(timeout=5)
    endpoint = endpoints.get_endpoint(name=name)

    assert not endpoint.satisfies_pzs
    assert not endpoint.deployed_models[0].private_endpoints.predict_http_uri
