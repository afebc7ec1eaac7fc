"""Deletes resources of the conformance suite, by name and by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core import exceptions

from tests.conformance.cloud import JOB_ENDS, PIPELINE_ENDS, TooLateError
from tests.conformance.target import APP

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.cloud import Cloud

_FAILURES = (exceptions.GoogleAPICallError, exceptions.RetryError, TooLateError, TimeoutError)


def sweep(cloud: Cloud, *, run: str = "") -> list[str]:
    """Delete resources with the suite's label, of one run or of all; return those that could not be deleted.

    Lists may lag behind: what `cloud` remembers is deleted whether it is listed or not. An endpoint's
    operations are cancelled first, so that nothing is deployed after its deletion began.
    """
    chosen = f'labels.app="{APP}"' + (f' AND labels.run="{run}"' if run else "")
    left: list[str] = []
    for collection, (list_all, delete) in _kinds(cloud).items():
        names = {name for name in cloud.made if f"/{collection}/" in name}
        _try(lambda: names.update(list_all(chosen)), f"the list of {collection}", left)  # noqa: B023  # called at once
        for name in sorted(names):
            _try(lambda: delete(name), name, left)  # noqa: B023  # called at once
    folder = f"{APP}/{run}/" if run else f"{APP}/"
    _try(lambda: _delete_objects(cloud, folder), f"gs://{cloud.target.bucket}/{folder}", left)
    return left


def _kinds(
    cloud: Cloud,
) -> dict[str, tuple[Callable[[str], list[str]], Callable[[str], None]]]:
    """Return how each kind is listed and deleted, in an order in which nothing is still in use."""

    def listed(method: Callable[..., object]) -> Callable[[str], list[str]]:
        return lambda chosen: [
            each.name
            for each in method({"parent": cloud.target.parent, "filter": chosen})  # type: ignore[attr-defined]  # a pager
        ]

    return {
        "pipelineJobs": (
            listed(cloud.pipelines.list_pipeline_jobs),
            lambda name: _delete_pipeline(cloud, name),
        ),
        "customJobs": (listed(cloud.jobs.list_custom_jobs), lambda name: _delete_job(cloud, name)),
        "endpoints": (listed(cloud.endpoints.list_endpoints), lambda name: _delete_endpoint(cloud, name)),
        "models": (
            listed(cloud.models.list_models),
            lambda name: cloud.result(cloud.models.delete_model(name=name)),
        ),
    }


def _try(action: Callable[[], object], subject: str, left: list[str]) -> None:
    """Make a call that can fail; one failure must not keep the rest from being deleted."""
    try:
        action()
    except exceptions.NotFound:
        return
    except _FAILURES as error:
        left.append(f"{subject}: {error}")


def _delete_pipeline(cloud: Cloud, name: str) -> None:
    if cloud.pipelines.get_pipeline_job(name=name).state.name not in PIPELINE_ENDS:
        _cancel(lambda: cloud.pipelines.cancel_pipeline_job(name=name))
    cloud.ended_pipeline(name)
    cloud.result(cloud.pipelines.delete_pipeline_job(name=name))


def _delete_job(cloud: Cloud, name: str) -> None:
    if cloud.jobs.get_custom_job(name=name).state.name not in JOB_ENDS:
        _cancel(lambda: cloud.jobs.cancel_custom_job(name=name))
    cloud.ended_job(name)
    cloud.result(cloud.jobs.delete_custom_job(name=name))


def _cancel(call: Callable[[], object]) -> None:
    """Make a call that cancels something; it may have ended already."""
    try:
        call()
    except exceptions.FailedPrecondition:
        return


def _delete_endpoint(cloud: Cloud, name: str) -> None:
    for operation in cloud.endpoints.list_operations({"name": name}).operations:
        if not operation.done:
            cloud.endpoints.cancel_operation({"name": operation.name})
            _wait_for(cloud, operation.name)
    deployed = [each.id for each in cloud.endpoints.get_endpoint(name=name).deployed_models]
    if len(deployed) > 1:
        cloud.endpoints.update_endpoint(
            endpoint={"name": name, "traffic_split": {deployed[-1]: 100}},
            update_mask={"paths": ["traffic_split"]},
        )
    for identity in deployed:
        cloud.result(cloud.endpoints.undeploy_model(endpoint=name, deployed_model_id=identity))
    cloud.result(cloud.endpoints.delete_endpoint(name=name))


def _wait_for(cloud: Cloud, operation: str) -> None:
    cloud.until(lambda: cloud.endpoints.get_operation({"name": operation}), lambda seen: bool(seen.done))


def _delete_objects(cloud: Cloud, folder: str) -> None:
    bucket = cloud.target.storage().bucket(cloud.target.bucket)
    for blob in bucket.list_blobs(prefix=folder):
        blob.delete()
