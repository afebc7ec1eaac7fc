"""Lists: filters, order, pages and masks, through the official clients over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.api.filters import parse_filter
from local_vertex.domain.errors import InvalidArgument
from local_vertex.domain.states import RunState
from tests.local_vertex.servers import PARENT
from tests.local_vertex.test_pipeline_jobs import create

if TYPE_CHECKING:
    from tests.local_vertex.servers import Client, Server

ENDPOINT = aiplatform_v1.Endpoint.pb()


@pytest.fixture
def three_jobs(pipelines: Client, server: Server) -> None:
    """Make the jobs a (SUCCEEDED), b and c (RUNNING)."""
    for index, job_id in enumerate("abc"):
        create(
            pipelines, job_id, display_name=f"taxi {job_id}", labels={"run": job_id, "parity": str(index % 2)}
        )
    server.engine.end(server.engine.runs[0].name, RunState.SUCCEEDED)


def listed(client: Client, **fields: object) -> list[str]:
    """Return the ids of the jobs in a list."""
    jobs = client.list_pipeline_jobs({"parent": PARENT, **fields})
    return [job.name.rpartition("/")[2] for job in jobs]


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["c", "b", "a"]),
        ('state="PIPELINE_STATE_RUNNING"', ["c", "b"]),
        ("state!=PIPELINE_STATE_RUNNING", ["a"]),
        ("NOT state=PIPELINE_STATE_RUNNING", ["a"]),
        ('display_name="taxi b"', ["b"]),
        ('displayName:"*b"', ["b"]),
        ("labels.run=c", ["c"]),
        ("labels.run:*", ["c", "b", "a"]),
        ("labels:run", ["c", "b", "a"]),
        ("labels.other:*", []),
        ("labels.parity=0 AND labels.run=a", ["a"]),
        ("labels.run=b OR labels.run=a", ["b", "a"]),
        ("(labels.run=b OR labels.run=a) AND -labels.parity=1", ["a"]),
        ('pipeline_name="taxi"', ["c", "b", "a"]),
        ('create_time>"2020-01-01T00:00:00Z"', ["c", "b", "a"]),
        ('end_time<"2020-01-01T00:00:00Z"', []),
    ],
)
def test_filters(pipelines: Client, text: str, expected: list[str]) -> None:
    """The documented forms of filters select what they say."""
    assert listed(pipelines, filter=text) == expected


@pytest.mark.parametrize(
    "text", ["nope=1", "state=PIPELINE", "state", "state=", "(state=1", "create_time>noon"]
)
def test_wrong_filters_are_refused(pipelines: Client, text: str) -> None:
    """A filter that cannot be read, or names an unknown field or value, is INVALID_ARGUMENT."""
    with pytest.raises(exceptions.BadRequest, match="filter"):
        listed(pipelines, filter=text)


@pytest.mark.usefixtures("three_jobs")
@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("create_time", ["a", "b", "c"]),
        ("createTime desc", ["c", "b", "a"]),
        ("create_time desc", ["c", "b", "a"]),
        ("state desc, name", ["a", "b", "c"]),
    ],
)
def test_order(pipelines: Client, order_by: str, expected: list[str]) -> None:
    """Lists are ordered by one or more fields."""
    assert listed(pipelines, order_by=order_by) == expected


def test_wrong_order_is_refused(pipelines: Client) -> None:
    """An unknown field cannot be ordered by."""
    with pytest.raises(exceptions.BadRequest, match="order_by"):
        listed(pipelines, order_by="nope")


@pytest.mark.usefixtures("three_jobs")
def test_pages(pipelines: Client) -> None:
    """Pages join to the whole list, also when a job is created between them."""
    first = next(pipelines.list_pipeline_jobs({"parent": PARENT, "page_size": 2}).pages)
    create(pipelines, "d")
    second = listed(pipelines, page_size=2, page_token=first.next_page_token)

    assert [job.name.rpartition("/")[2] for job in first.pipeline_jobs] == ["c", "b"]
    assert second == ["a"]


@pytest.mark.usefixtures("three_jobs")
def test_token_of_another_list_is_refused(pipelines: Client) -> None:
    """A page token belongs to one filter and order."""
    token = next(pipelines.list_pipeline_jobs({"parent": PARENT, "page_size": 1}).pages).next_page_token

    with pytest.raises(exceptions.BadRequest, match="page_token"):
        listed(pipelines, page_token=token, filter="labels.run=a")


@pytest.mark.parametrize("fields", [{"page_token": "x"}, {"page_size": -1}])
def test_wrong_pages_are_refused(pipelines: Client, fields: dict[str, Any]) -> None:
    """A token that was never given and a negative size are INVALID_ARGUMENT."""
    with pytest.raises(exceptions.BadRequest, match=next(iter(fields))):
        listed(pipelines, **fields)


def test_lists_have_no_details(pipelines: Client, server: Server) -> None:
    """Only GetPipelineJob shows the details of tasks."""
    name = create(pipelines, "a").name
    server.engine.finish_task(name, "Trainer")
    (listed_job,) = pipelines.list_pipeline_jobs(parent=PARENT)

    assert not listed_job.job_detail.task_details
    assert len(pipelines.get_pipeline_job(name=name).job_detail.task_details) == 1


def test_read_mask(pipelines: Client) -> None:
    """A read mask leaves only its fields, also inside the spec."""
    create(pipelines, "a", labels={"run": "a"})
    mask = {"paths": ["name", "pipeline_spec.pipeline_info", "state"]}
    job = next(iter(pipelines.list_pipeline_jobs({"parent": PARENT, "read_mask": mask})))

    assert job.state.name == "PIPELINE_STATE_RUNNING"
    assert list(job.pipeline_spec) == ["pipelineInfo"]
    assert dict(job.labels) == {}


NAMES = st.text("ab\"'\\ *x", min_size=1)


@given(NAMES)
def test_quoted_values_find_their_resource(name: str) -> None:
    """A filter can match any display name, with quotes and backslashes escaped."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    keep = parse_filter(f'display_name="{quoted}"', ENDPOINT)

    assert keep(ENDPOINT(display_name=name))


@given(st.text(max_size=30))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    """No string makes the parser fail with anything but InvalidArgument."""
    try:
        keep = parse_filter(text, ENDPOINT)
    except InvalidArgument:
        return

    assert keep(ENDPOINT()) in (True, False)
