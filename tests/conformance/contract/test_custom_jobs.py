from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import specs
from tests.conformance.contract.resources import create_job

if TYPE_CHECKING:
    from tests.conformance.cloud import Cloud
    from tests.conformance.contract.asking import Asking
    from tests.conformance.contract.resources import Started

pytestmark = pytest.mark.stack


def test_success(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A container that ends with 0 ends its job well."""
    job = cloud.ended_job(started.job)

    ask("custom.success", job.state.name, job.error.message)


def test_failure(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A container that ends with 3 fails its job."""
    job = cloud.ended_job(started.failing_job)

    ask("custom.failure", [job.state.name, job.error.code], job.error.message)


def test_cancellation(cloud: Cloud, ask: Asking) -> None:
    """A job that is cancelled while it runs ends so."""
    name = create_job(cloud, "sleeping", specs.SLEEP)
    cloud.begun(cloud.jobs.get_custom_job, name)
    cloud.jobs.cancel_custom_job(name=name)

    ask("custom.cancel", cloud.ended_job(name).state.name)


def test_filter(cloud: Cloud, ask: Asking) -> None:
    """Jobs are found by label and name."""
    found = cloud.listed(cloud.jobs.list_custom_jobs, 'display_name="conformance-failing"')

    ask("custom.filter-label", [job.display_name for job in found])


def test_a_filter_by_presence_and_by_what_is_not(cloud: Cloud, ask: Asking, started: Started) -> None:
    """A label that is there and states that are others narrow a list down."""
    ended = [cloud.ended_job(name) for name in (started.job, started.failing_job)]
    condition = 'labels.app:* AND state!="JOB_STATE_SUCCEEDED" AND state!="JOB_STATE_CANCELLED"'
    found = {job.name for job in cloud.listed(cloud.jobs.list_custom_jobs, condition)}

    ask("custom.filter-not-state", [job.name in found for job in ended])


def test_a_job_without_a_pool(cloud: Cloud, ask: Asking) -> None:
    """A job that names no machine is refused."""
    job = {"display_name": "conformance", "labels": cloud.target.labels, "job_spec": {}}

    ask.refused(
        "custom.no-pool",
        lambda: cloud.jobs.create_custom_job(parent=cloud.target.parent, custom_job=job),
    )


def test_an_absent_job(cloud: Cloud, ask: Asking) -> None:
    """A job that does not exist is not found."""
    name = f"{cloud.target.parent}/customJobs/1"

    ask.refused("custom.absent", lambda: cloud.jobs.get_custom_job(name=name))
