"""The checks of what Vertex AI is to do: by whom, on which machines, from which image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taxi_airflow.checks.clients import CALL_TIMEOUT
from taxi_airflow.checks.findings import ok, problem
from taxi_ml import image
from taxi_ml.dataflow import BeamRunner
from taxi_ml.pipeline.machines import UnknownMachineTypeError, offered_vcpus
from vertex_airflow.images import ImageError, PrivateRegistryError, RegistryError, image_labels
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_airflow.checks.clients import Subject
    from taxi_airflow.checks.findings import Finding

# Families that share the quota without a family in its name:
# https://cloud.google.com/vertex-ai/docs/quotas#custom-trained-models
_PLAIN_QUOTA = frozenset({"n1", "e2"})


def identity(subject: Subject) -> Iterator[Finding]:
    """Ask Vertex AI for a pipeline job: connection, account, API and region in one."""
    hook = subject.vertex
    if hook.project_id and hook.project_id != subject.settings.project:
        yield problem(
            "identity",
            f"its project is {hook.project_id}, TAXI_PROJECT is {subject.settings.project}",
            "name one project in both",
        )
        return
    parent = f"projects/{subject.settings.project}/locations/{subject.settings.region}"
    # One call and one job; the answer's further pages would be a call each.
    hook.pipelines.list_pipeline_jobs({"parent": parent, "page_size": 1}, timeout=CALL_TIMEOUT, retry=None)
    account = getattr(hook.get_credentials(), "service_account_email", "") or "the connection's account"
    yield ok("identity", f"{account} reaches Vertex AI at {hook.endpoint.target}")


def machines(subject: Subject) -> Iterator[Finding]:
    """Look up the machine types, and name the quotas that they count against."""
    settings = subject.settings
    for name, kind in (
        ("machine_type", "training"),
        ("compile_machine_type", "training"),
        ("serving_machine_type", "serving"),
    ):
        machine: str = getattr(settings, name)
        try:
            vcpus = offered_vcpus(machine)
        except UnknownMachineTypeError as error:
            yield problem(name, str(error), f"mend TAXI_{name.upper()}, or skip this check: it knows a list")
            continue
        yield ok(name, f"{machine}: {vcpus} vCPUs of the quota {_quota(machine, kind)} in {settings.region}")


def _quota(machine: str, kind: str) -> str:
    family = machine.partition("-")[0]
    middle = "" if family in _PLAIN_QUOTA else f"{family}_"
    return f"custom_model_{kind}_{middle}cpus"


def dataflow(subject: Subject) -> Iterator[Finding]:
    """Say whether Beam may run on Dataflow, which a connection without an account cannot lead to."""
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415  # not at parse time

    settings = subject.settings
    runner = settings.runner
    may_choose = runner is BeamRunner.AUTO and settings.dataflow_workers > 0
    if runner is not BeamRunner.DATAFLOW and not may_choose:
        yield ok("dataflow", "not used: set TAXI_DATAFLOW_WORKERS where it is set up")
    elif isinstance(subject.vertex.get_credentials(), AnonymousCredentials):
        yield problem(
            "dataflow",
            "the connection is anonymous, and Dataflow is Google's alone",
            "set TAXI_DATAFLOW_WORKERS=0 and no Dataflow runner, or name an account in the connection",
        )
    else:
        yield ok(
            "dataflow", f"in {settings.region}, {'for what outgrows a machine' if may_choose else 'always'}"
        )


def pipeline_image(subject: Subject) -> Iterator[Finding]:
    """Compare the labels of the image for executors, compiler and server with the code that is here."""
    name = subject.settings.pipeline_image
    rebuild = "build and push it from this code, and set TAXI_PIPELINE_IMAGE: make deploy does both"
    try:
        carried = image_labels(subject.vertex, name)
        expected = image.labels()
    except ImageError as error:
        yield problem("image", str(error), "write <registry>/<project>/<repository>/<name>:<tag>")
        return
    except PrivateRegistryError as error:
        remedy = "push it to Artifact Registry, name its registry as registry_endpoint, or skip this check"
        yield problem("image", str(error), remedy)
        return
    except RegistryError as error:
        if classify(error) is not ErrorKind.MISSING:
            raise
        yield problem("image", str(error), rebuild)
        return
    except FileNotFoundError:
        yield problem("image", f"there is no {image.LOCK}", "copy it there from the repository")
        return
    yield from _compared(name, carried, expected, rebuild)


def _compared(
    name: str, carried: Mapping[str, str], expected: Mapping[image.Label, str], rebuild: str
) -> Iterator[Finding]:
    differing = [label for label in image.Label if carried.get(label) != expected[label]]
    for label in differing:
        has = carried.get(label, "")[:12] or "no such label"
        yield problem("image", f"{name}: {label} is {has}, here it is {expected[label][:12]}", rebuild)
    if not differing:
        yield ok("image", f"{name} has this code and this lock")
