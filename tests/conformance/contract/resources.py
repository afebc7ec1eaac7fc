"""Models, endpoints and jobs that the contract tests create."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conformance import specs

if TYPE_CHECKING:
    from tests.conformance.cloud import Cloud
    from tests.conformance.target import Client


MACHINE = {"machine_spec": {"machine_type": "e2-standard-2"}, "min_replica_count": 1, "max_replica_count": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Names of the slow jobs: they run side by side, while the tests make other calls."""

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


def last(name: str) -> str:
    """Return the id at the end of a resource's name."""
    return name.rpartition("/")[2]
