"""Permissions of the accounts that Terraform creates, and Composer's rules for a resilient environment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from taxi_ml import naming
from taxi_ml.settings import Settings
from tests.deploy.plans import Grant, needs_terraform

if TYPE_CHECKING:
    from tests.deploy.google_provider.stand_in import Checkout
    from tests.deploy.plans import Plan

pytestmark = needs_terraform

SETTINGS = Settings.from_environment(
    {
        "TAXI_PROJECT": "my-taxi-prod",
        "TAXI_BUCKET": "gs://my-taxi-prod-taxi-prod",
        "TAXI_REGION": "us-central1",
        "TAXI_PIPELINE_IMAGE": "image",
    }
)
MODULES = naming.modules_uri(SETTINGS, "5ha")
IAM = {
    "project": "google_project_iam_member",
    "bucket": "google_storage_bucket_iam_member",
    "images": "google_artifact_registry_repository_iam_member",
}


def allows(condition: str, resource: str) -> bool:
    """Evaluate the part of IAM's language that is used: alternatives of clauses that must all hold."""
    return any(
        all(_holds(clause, resource) for clause in alternative.split(" && "))
        for alternative in condition.split(" || ")
    )


def _holds(clause: str, resource: str) -> bool:
    found = re.fullmatch(r'resource\.name(?:\.(startsWith|extract)\("(.+?)"\)( != "")?| == "(.+)")', clause)
    assert found, f"{clause} is not understood"
    function, argument, is_something, equal = found.groups()
    if function == "startsWith":
        return resource.startswith(argument)
    if function == "extract":
        # The text between the first occurrence of what precedes the braces and the next of what follows them.
        before, after = re.split(r"\{\w+\}", argument)
        inside = resource.partition(before)[2]
        return bool(is_something) and after in inside and inside.partition(after)[0] != ""
    return resource == equal


def may_write(plan: Plan, uri: str) -> bool:
    """Return True if the account of jobs may write an object, or may do this to a bucket."""
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    resource = f"projects/_/buckets/{bucket}" + (f"/objects/{name}" if name else "")
    writing = [grant for grant in plan.grants("pipeline") if grant.role == "roles/storage.objectUser"]
    assert writing
    return any(allows(grant.condition, resource) for grant in writing)


@pytest.mark.parametrize(
    "uri",
    [
        f"{naming.pipeline_root(SETTINGS)}/1234/run/Trainer_5/model/saved_model.pb",
        f"{naming.pipeline_root(SETTINGS)}/",  # TensorFlow makes folders
        f"{SETTINGS.bucket}/serving/2015-07-01/1/saved_model.pb",
        f"{naming.compile_uri(SETTINGS, '5ha', 'd1e')}/pipeline.json",
        f"{MODULES}/wheels/tfx_user_code_Trainer-0.0-py3-none-any.whl",
        f"{SETTINGS.bucket}/dataflow/temp/1",
        SETTINGS.bucket,  # Vertex AI asks whether the account may create objects there
    ],
)
def test_a_job_writes_what_it_makes(prod: Plan, uri: str) -> None:
    """The account of jobs writes artifacts, models, compiled specs and Beam's files."""
    assert may_write(prod, uri)


@pytest.mark.parametrize(
    "uri",
    [
        naming.decision_uri(SETTINGS, "job"),
        naming.report_uri(SETTINGS, "job"),
        naming.card_uri(SETTINGS, "job"),
        f"{SETTINGS.bucket}/data/2015-07-01/test/trips_0.csv",
        f"{MODULES}/trainer.py",
        f"{MODULES}/schema.pbtxt",
        naming.parameters_uri(SETTINGS, "job"),
        f"{SETTINGS.bucket}/runs/objects/modules/5ha/compiled/decision.json",
        f"{SETTINGS.bucket}-of-another/pipeline_root/x",
        f"{SETTINGS.bucket}/pipeline_roots/x",
    ],
)
def test_a_job_writes_nothing_of_airflow(prod: Plan, uri: str) -> None:
    """No decision, report, trip, module or schema can be replaced by the code that is judged with them."""
    assert not may_write(prod, uri)


def test_a_job_only_reads_the_rest_of_the_bucket(prod: Plan) -> None:
    """Without a condition the account of jobs has no role that writes."""
    grants = prod.grants("pipeline")

    assert {grant.role for grant in grants if grant.kind == IAM["bucket"] and not grant.condition} == {
        "roles/storage.objectViewer",
        "roles/storage.legacyBucketReader",
    }


def test_a_job_has_no_role_for_models_or_endpoints(prod: Plan) -> None:
    """In the project, the account of jobs writes logs and lineage, and nothing else."""
    grants = prod.grants("pipeline")

    assert {grant for grant in grants if grant.kind == IAM["project"]} == {
        Grant(IAM["project"], "roles/logging.logWriter", ""),
        Grant(IAM["project"], "google_project_iam_custom_role.lineage", ""),
    }


def test_dataflow_is_an_option(prod: Plan, with_dataflow: Plan) -> None:
    """With workers the API is on, and the account of jobs starts them, runs them and reads their image."""
    apis, without = (
        {each["values"]["service"] for each in plan.resources("google_project_service")}
        for plan in (with_dataflow, prod)
    )
    more = {(grant.kind, grant.role) for grant in with_dataflow.grants("pipeline") - prod.grants("pipeline")}

    assert apis - without == {"dataflow.googleapis.com"}
    assert more == {
        (IAM["project"], "roles/dataflow.developer"),
        (IAM["project"], "roles/dataflow.worker"),
        (IAM["images"], "roles/artifactregistry.reader"),
        ("google_service_account_iam_member", "roles/iam.serviceAccountUser"),
    }


def test_lineage_is_neither_jobs_nor_models(prod: Plan) -> None:
    """The custom role covers metadata: no deployment, upload, job under another account or deletion."""
    permissions = prod.values("google_project_iam_custom_role", "lineage")["permissions"]

    kinds = {permission.rpartition(".")[0] for permission in permissions}
    assert kinds == {
        "aiplatform.artifacts",
        "aiplatform.contexts",
        "aiplatform.executions",
        "aiplatform.metadataSchemas",
        "aiplatform.metadataStores",
        "resourcemanager.projects",
    }
    assert [permission for permission in permissions if permission.endswith(".delete")] == []


def test_images_are_pulled_by_the_service_agent(prod: Plan) -> None:
    """Vertex AI's own account reads the images; that of jobs need not."""
    agent = prod.values(IAM["images"], "vertex_agent")

    assert agent["role"] == "roles/artifactregistry.reader"
    assert [grant for grant in prod.grants("pipeline") if grant.kind == IAM["images"]] == []


def test_the_service_agent_is_ready_before_the_first_run(checkout: Checkout) -> None:
    """Airflow is created after Vertex AI's own account exists and may read the images."""
    edges = re.findall(r'(?m)^  "(.+)" -> "(.+)";', checkout.terraform("graph").stdout)
    needed = {"google_composer_environment.this"}
    while more := {to for origin, to in edges if origin in needed} - needed:
        needed |= more

    assert needed >= {
        "google_project_service_identity.vertex",
        "google_project_iam_member.vertex_agent",
        "google_artifact_registry_repository_iam_member.vertex_agent",
    }


def test_only_one_branch_of_one_repository_deploys(prod: Plan) -> None:
    """A token is accepted by the repository's number, branch and environment; a name could be taken over."""
    provider = prod.values("google_iam_workload_identity_pool_provider", "ci")

    assert provider["attribute_condition"].split(" && ") == [
        "assertion.repository_id == '123456'",
        "assertion.ref == 'refs/heads/main'",
        "assertion.environment == 'prod'",
    ]
    assert provider["attribute_mapping"]["attribute.repository_id"] == "assertion.repository_id"


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("deployer_repository_id=owner/name", "a name can change hands"),
        ("deployer_branch=main' || true || '", "without quotes"),
    ],
)
def test_what_would_widen_the_door_is_refused(checkout: Checkout, variable: str, said: str) -> None:
    """Neither a repository's name nor a piece of a condition gets into the condition."""
    ended = checkout.terraform("plan", "-input=false", "-var-file=env/dev.tfvars", f"-var={variable}")

    assert said in " ".join(ended.stderr.replace("│", " ").split())


def test_a_resilient_environment_has_two_of_everything(prod: Plan) -> None:
    """With HIGH_RESILIENCE Composer takes exactly two schedulers, and no single DAG processor or worker."""
    (config,) = prod.values("google_composer_environment")["config"]
    (workloads,) = config["workloads_config"]

    assert config["resilience_mode"] == "HIGH_RESILIENCE"
    assert {kind: workloads[kind][0]["count"] for kind in ("scheduler", "dag_processor", "triggerer")} == {
        "scheduler": 2,
        "dag_processor": 2,
        "triggerer": 2,
    }
    assert workloads["worker"][0]["min_count"] == 2


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("schedulers", 1),
        ("schedulers", 3),
        ("dag_processors", 1),
        ("triggerers", 1),
        ("triggerers", 11),
        ("workers", 1),
    ],
)
def test_a_count_that_composer_refuses_is_refused_first(checkout: Checkout, kind: str, count: int) -> None:
    """A plan with a count that Composer would refuse fails, long before Composer would."""
    file = checkout.folder / "deploy" / "terraform" / "composer.tf"
    file.write_text(re.sub(rf"(?m)^(    {kind} +=) .*$", rf"\1 {count}", file.read_text()))

    ended = checkout.terraform("plan", "-input=false", "-var-file=env/prod.tfvars")

    assert ended.returncode == 1
    assert "HIGH_RESILIENCE needs exactly 2 schedulers" in " ".join(ended.stderr.replace("│", " ").split())
