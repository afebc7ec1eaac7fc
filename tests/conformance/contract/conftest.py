"""Fixtures of the contract tests: the target, slow resources that start at once, answers, clean-up."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from local_gcp.layout import BUCKET, PROJECT
from tests.conformance import specs
from tests.conformance.cloud import Cloud
from tests.conformance.contract.asking import Asking
from tests.conformance.contract.resources import Started, create_endpoint, create_job, deploy, upload
from tests.conformance.run import Run
from tests.conformance.sweep import sweep
from tests.conformance.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The target that CONFORMANCE_PROJECT and the like name; without them, the local cloud."""
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
    """Clients of the target; everything that was created there is deleted at the end."""
    cloud = Cloud(target=target, made=Run.of(request.config).answers.made)
    try:
        yield cloud
    finally:
        left = sweep(cloud, run=target.run)
    if left:
        pytest.fail("could not be deleted: " + "; ".join(left))


@pytest.fixture(scope="session", autouse=True)
def started(cloud: Cloud) -> Started:
    """Start slow resources at once."""
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


@pytest.fixture(scope="session")
def ask(request: pytest.FixtureRequest) -> Asking:
    """Return the recorder of a test's answers."""
    return Asking(Run.of(request.config))
