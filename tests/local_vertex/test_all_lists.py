"""Behavior that the lists of all resources share, through the official clients over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import PARENT, connect
from tests.local_vertex.test_custom_jobs import custom_job
from tests.local_vertex.test_models import model
from tests.local_vertex.test_pipeline_jobs import pipeline_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.local_vertex.servers import Client, Server

Listed: TypeAlias = "Callable[..., list[Client]]"

KINDS: dict[str, tuple[Client, Callable[..., Any], str]] = {
    "pipelineJobs": (
        aiplatform_v1.PipelineServiceClient,
        lambda client, **fields: client.create_pipeline_job(
            parent=PARENT, pipeline_job=pipeline_job(**fields)
        ),
        "list_pipeline_jobs",
    ),
    "customJobs": (
        aiplatform_v1.JobServiceClient,
        lambda client, **fields: client.create_custom_job(parent=PARENT, custom_job=custom_job(**fields)),
        "list_custom_jobs",
    ),
    "models": (
        aiplatform_v1.ModelServiceClient,
        lambda client, **fields: client.upload_model(parent=PARENT, model=model(**fields)).result(timeout=5),
        "list_models",
    ),
    "endpoints": (
        aiplatform_v1.EndpointServiceClient,
        lambda client, **fields: client.create_endpoint(parent=PARENT, endpoint=fields).result(timeout=5),
        "list_endpoints",
    ),
}


@pytest.fixture(params=KINDS)
def listed(request: pytest.FixtureRequest, server: Server, transport: str) -> Listed:
    """Make three resources of a kind, `fare a` to `fare c`; return the method that lists them."""
    client_type, create, rpc = KINDS[request.param]
    client = connect(client_type, server, transport)
    for run in "abc":
        create(client, display_name=f"fare {run}", labels={"run": run})
    return lambda **fields: list(getattr(client, rpc)({"parent": PARENT, **fields}))


def names(resources: list[Client]) -> list[str]:
    """Return the display names."""
    return [each.display_name for each in resources]


def test_pages(listed: Listed) -> None:
    """Small pages, which the client follows, join to the whole list, the newest first."""
    assert names(listed(page_size=1)) == ["fare c", "fare b", "fare a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('labels.run="b"', ["fare b"]),
        ('display_name="fare a" OR labels.run=c', ["fare c", "fare a"]),
    ],
)
def test_filters(listed: Listed, text: str, expected: list[str]) -> None:
    """Labels and display names select."""
    assert names(listed(filter=text)) == expected


def test_read_mask(listed: Listed) -> None:
    """A read mask leaves the fields that it names."""
    (found,) = listed(filter="labels.run=b", read_mask={"paths": ["display_name"]})

    assert found == type(found)(display_name="fare b")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"filter": "colour=red"}, "filter"),
        ({"read_mask": {"paths": ["colour"]}}, "read_mask"),
        ({"page_token": "next"}, "page_token"),
    ],
)
def test_what_no_list_knows(listed: Listed, fields: dict[str, Any], problem: str) -> None:
    """A field that does not exist, or a token that was never given, is INVALID_ARGUMENT and named."""
    with pytest.raises(exceptions.BadRequest, match=problem) as refused:
        listed(**fields)

    assert any(problem in str(detail) for detail in refused.value.details)
