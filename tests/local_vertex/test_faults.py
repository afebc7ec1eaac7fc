from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import PARENT, connect, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server

JOB: Any = {
    "display_name": "j",
    "job_spec": {"worker_pool_specs": [{"container_spec": {"image_uri": "i"}, "replica_count": 1}]},
}
HEADER = "x-local-vertex-fault"


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Server]:
    """Return a server that takes orders for faults."""
    with running_server(tmp_path, faults=True) as running:
        yield running


@pytest.fixture
def jobs(faulty: Server, transport: str) -> Client:
    """Return the official client of JobService."""
    return connect(aiplatform_v1.JobServiceClient, faulty, transport)


def order(server: Server, method: str, fault: str, calls: int = 1) -> None:
    """Order a fault for the next calls of a method."""
    answer = requests.post(
        f"{server.rest_url}/faults", json={"method": method, "fault": fault, "calls": calls}, timeout=10
    )
    answer.raise_for_status()


def listed(jobs: Client) -> int:
    """Return how many jobs there are."""
    return len(list(jobs.list_custom_jobs(parent=PARENT, retry=None)))


def create(jobs: Client, **options: Any) -> None:  # noqa: ANN401  # options of a call
    """Create a job, without the client's own retries."""
    jobs.create_custom_job(parent=PARENT, custom_job=JOB, retry=None, **options)


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        ("UNAVAILABLE", exceptions.ServiceUnavailable),
        ("RESOURCE_EXHAUSTED", exceptions.TooManyRequests),
        ("INTERNAL", exceptions.InternalServerError),
        ("PERMISSION_DENIED", exceptions.Forbidden),
    ],
)
def test_a_call_fails_as_its_header_orders(
    jobs: Client, code: str, raised: type[exceptions.GoogleAPICallError]
) -> None:
    """A request that orders a status gets it, and nothing is done."""
    with pytest.raises(raised):
        create(jobs, metadata=[(HEADER, f"fail={code}")])

    assert listed(jobs) == 0


def test_orders_hit_requests_without_a_header(faulty: Server, jobs: Client) -> None:
    """An order of the admin page applies to the next calls of its method only."""
    order(faulty, "CreateCustomJob", "fail=UNAVAILABLE", calls=2)
    for _ in range(2):
        with pytest.raises(exceptions.ServiceUnavailable):
            create(jobs)

    create(jobs)

    assert listed(jobs) == 1


def test_a_lost_reply_is_a_call_that_acted(faulty: Server, jobs: Client) -> None:
    """The client sees a lost connection, and the job exists."""
    order(faulty, "CreateCustomJob", "lose-reply")
    with pytest.raises((exceptions.ServiceUnavailable, requests.exceptions.ChunkedEncodingError)):
        create(jobs)

    assert listed(jobs) == 1


def test_garbage_is_a_call_that_acted(faulty: Server, jobs: Client) -> None:
    """The client cannot read the reply, and the job exists."""
    order(faulty, "CreateCustomJob", "garbage")
    with pytest.raises((exceptions.InternalServerError, ValueError)):
        create(jobs)

    assert listed(jobs) == 1


def test_a_hanging_call_does_nothing(faulty: Server, jobs: Client) -> None:
    """The client's own time-out ends the call; nothing was done."""
    order(faulty, "CreateCustomJob", "hang=5")
    with pytest.raises((exceptions.DeadlineExceeded, requests.exceptions.Timeout)):
        create(jobs, timeout=0.3)

    assert listed(jobs) == 0


def test_a_delayed_call_is_answered_late(faulty: Server, jobs: Client) -> None:
    """A delay changes the time of an answer and nothing else."""
    order(faulty, "CreateCustomJob", "delay=0.3")
    began = time.monotonic()

    create(jobs)

    assert time.monotonic() - began >= 0.3


def test_a_pattern_orders_for_many_methods(faulty: Server, jobs: Client) -> None:
    """A method may be named by a pattern."""
    order(faulty, "List*", "fail=UNAVAILABLE")

    with pytest.raises(exceptions.ServiceUnavailable):
        listed(jobs)


def test_orders_can_be_listed_and_forgotten(faulty: Server) -> None:
    """GET shows what is left, DELETE forgets it."""
    order(faulty, "GetCustomJob", "hang", calls=3)
    url = f"{faulty.rest_url}/faults"
    before = requests.get(url, timeout=10).json()

    after = requests.delete(url, timeout=10).json()

    assert before == {"faults": [{"method": "GetCustomJob", "fault": "hang=600", "calls": 3}]}
    assert after == {"faults": []}


@pytest.mark.parametrize(
    "order", ["explode", "fail=SOON", "delay=-1", "delay=", "garbage=1", "hang=1e9", "delay=nan"]
)
def test_an_order_that_means_nothing_is_refused(faulty: Server, order: str) -> None:
    """A fault that is misspelt is an error with the forms that exist."""
    answer = requests.post(
        f"{faulty.rest_url}/faults", json={"method": "GetCustomJob", "fault": order}, timeout=10
    )

    assert answer.status_code == 400
    assert "is not a fault" in answer.json()["error"]["message"]


def test_faults_are_off_unless_asked_for(server: Server, transport: str) -> None:
    """Without the flag the header has no effect and the admin page does not exist."""
    client = connect(aiplatform_v1.JobServiceClient, server, transport)
    create(client, metadata=[(HEADER, "fail=UNAVAILABLE")])
    page = requests.post(f"{server.rest_url}/faults", json={}, timeout=10)

    assert (listed(client), page.status_code) == (1, 404)


def test_a_call_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """The end of the server releases calls that hang."""
    with running_server(tmp_path, faults=True) as running:
        client = connect(aiplatform_v1.JobServiceClient, running, "grpc")
        order(running, "CreateCustomJob", "hang")
        calling = threading.Thread(target=_ignoring_errors, args=(client,), daemon=True)
        calling.start()
    calling.join(60)

    assert not calling.is_alive()


def _ignoring_errors(client: Client) -> None:
    try:
        create(client)
    except exceptions.GoogleAPICallError:
        return
