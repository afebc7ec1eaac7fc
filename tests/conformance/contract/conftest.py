"""Fixtures of the contract tests: the target, what is slow and starts at once, the answers, the clean-up."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from local_gcp.layout import BUCKET, PROJECT
from local_vertex.evidence import Outcome
from tests.conformance import specs
from tests.conformance.cloud import Cloud, refusal
from tests.conformance.run import Run
from tests.conformance.sweep import sweep
from tests.conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conformance.target import Client

MACHINE = {"machine_spec": {"machine_type": "e2-standard-2"}, "min_replica_count": 1, "max_replica_count": 1}


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The target that CONFORMANCE_PROJECT and its kin name; without them, the local cloud."""
    chosen = Target.from_environment(os.environ)
    if chosen is not None:
        return chosen
    stack = request.getfixturevalue("local_stack")
    return Target(
        project=PROJECT,
        bucket=BUCKET,
        image=stack.environment["TAXI_PIPELINE_IMAGE"],
        endpoint=stack.url("vertex", "grpc"),
        storage_endpoint=stack.url("gcs", "rest"),
    )


@pytest.fixture(scope="session")
def cloud(target: Target, request: pytest.FixtureRequest) -> Iterator[Cloud]:
    """Clients of the target; everything that was made there is deleted at the end."""
    cloud = Cloud(target=target, made=Run.of(request.config).answers.made)
    try:
        yield cloud
    finally:
        left = sweep(cloud, run=target.run)
    if left:
        pytest.fail("could not be deleted: " + "; ".join(left))


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Names of the jobs that take long: they run side by side, while the tests ask something else."""

    main: str
    old_schema: str
    conditional: str
    failing: str
    driven: str
    job: str
    failing_job: str
    endpoint: str
    model: str
    deployment: Client


@pytest.fixture(scope="session", autouse=True)
def started(cloud: Cloud) -> Started:
    """Start at once what takes long."""
    image, text = cloud.target.image, cloud.target.run
    model = upload(cloud, model_id=f"conformance-{cloud.target.run}")
    endpoint = create_endpoint(cloud)
    return Started(
        model=model,
        endpoint=endpoint,
        deployment=deploy(cloud, endpoint, model, {"0": 100}),
        main=cloud.submit("main", specs.main_pipeline(image), text=text),
        old_schema=cloud.submit("old", specs.main_pipeline(image, "2.0.0"), text=f"{text}-old"),
        conditional=cloud.submit("conditional", specs.conditional_pipeline(image), text=text),
        failing=cloud.submit("failing", specs.single_pipeline("failing", image, "raise SystemExit(3)")),
        driven=cloud.submit("driven", specs.driven_pipeline(image)),
        job=create_job(cloud, "succeeding", "print('done')"),
        failing_job=create_job(cloud, "failing", "raise SystemExit(3)"),
    )


def upload(cloud: Cloud, *, model_id: str = "", parent: str = "", aliases: tuple[str, ...] = ()) -> str:
    """Upload a model, or a version into `parent`; return the name of the model."""
    request = {
        "parent": cloud.target.parent,
        "model": {**specs.model(cloud.target), "version_aliases": aliases},
        "model_id": model_id,
        "parent_model": parent,
    }
    name = str(cloud.result(cloud.models.upload_model(request)).model)
    cloud.made.append(name)
    return name


def create_endpoint(cloud: Cloud) -> str:
    """Create an endpoint; return its name."""
    endpoint = {"display_name": "conformance", "labels": cloud.target.labels}
    created = cloud.endpoints.create_endpoint(parent=cloud.target.parent, endpoint=endpoint)
    name = str(cloud.result(created).name)
    cloud.made.append(name)
    return name


def deploy(cloud: Cloud, endpoint: str, model: str, split: dict[str, int] | None = None) -> Client:
    """Start to deploy a model; return the operation."""
    account = cloud.target.service_account
    return cloud.endpoints.deploy_model(
        endpoint=endpoint,
        deployed_model={"model": model, "dedicated_resources": MACHINE, "service_account": account},
        traffic_split=split or {},
    )


def create_job(cloud: Cloud, name: str, code: str) -> str:
    """Create a custom job; return its name."""
    job = specs.custom_job(f"conformance-{name}", cloud.target, code)
    created = str(cloud.jobs.create_custom_job(parent=cloud.target.parent, custom_job=job).name)
    cloud.made.append(created)
    return created


class Asking:
    """Records answers, and fails a test whose answer is another than expected."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, identity: str, observed: object, detail: str = "") -> None:
        """Compare what was observed with the expected answer to the question of this id."""
        answers = self._run.answers
        answers.record(identity, observed, detail)
        if not self._run.recording and answers.outcome(identity) is not Outcome.SAME:
            pytest.fail(answers.difference(identity), pytrace=False)

    def refused(self, identity: str, call: Callable[[], object]) -> None:
        """Compare the code with which a call is refused; OK for none."""
        self(identity, *refusal(call))


@pytest.fixture(scope="session")
def ask(request: pytest.FixtureRequest) -> Asking:
    """Return how a test says what was answered."""
    return Asking(Run.of(request.config))


def last(name: str) -> str:
    """Return the id at the end of a resource's name."""
    return name.rpartition("/")[2]
