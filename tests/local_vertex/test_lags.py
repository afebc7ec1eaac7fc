"""A service whose replicas lag behind, through the official clients over gRPC and REST."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from google.api_core import exceptions

from local_vertex.__main__ import main
from local_vertex.domain.past import Lags, Past, Row
from tests.local_vertex.servers import PARENT, connect, running_server
from tests.local_vertex.test_all_lists import KINDS
from tests.local_vertex.test_endpoints import deploy
from tests.local_vertex.test_models import model
from tests.local_vertex.test_predictions import instances

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.local_vertex.servers import Client, Server

LAG = 10.0


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        """Return the time that was set."""
        return self.now

    def catch_up(self) -> None:
        """Let replicas that lag behind catch up."""
        self.now += LAG


@dataclass
class Shelf:
    """Rows that change, and their past."""

    clock: Clock = field(default_factory=Clock)
    rows: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Keep ten seconds."""
        self.past = Past(10, self.clock)

    def put(self, name: str, body: bytes | None) -> None:
        """Add, replace or, with None, delete a row."""
        self.past.note("Kind", name, self.rows.get(name))
        if body is None:
            del self.rows[name]
        else:
            position = self.rows[name].position if name in self.rows else len(self.rows)
            self.rows[name] = Row(position=position, name=name, parent="p", body=body)

    def shown(self, age: float) -> list[bytes]:
        """Return the bodies as they were."""
        return [row.body for row in self.past.rows("Kind", self.rows.values(), age=age)]


@pytest.fixture
def shelf() -> Shelf:
    """Return rows that changed at the seconds 1 to 4, looked at in second 5."""
    shelf = Shelf()
    for second, (name, body) in enumerate([("a", b"a1"), ("b", b"b1"), ("a", b"a2"), ("b", None)], start=1):
        shelf.clock.now = second
        shelf.put(name, body)
    shelf.clock.now = 5
    return shelf


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, [b"a2"]),
        (1, [b"a2"]),
        (1.5, [b"b1", b"a2"]),
        (2.5, [b"b1", b"a1"]),
        (3.5, [b"a1"]),
        (4.5, []),
    ],
)
def test_the_past_is_what_there_was(shelf: Shelf, age: float, expected: list[bytes]) -> None:
    """New rows are missing, deleted ones there, and changed ones unchanged, the newest row first."""
    assert shelf.shown(age) == expected


def test_the_past_is_forgotten(shelf: Shelf) -> None:
    """States older than the longest lag are dropped."""
    shelf.clock.now = 13.5
    shelf.put("c", b"c1")

    assert shelf.shown(9.7) == [b"b1", b"a2"]


@pytest.fixture
def clock() -> Clock:
    """Return the clock by which `server` lags behind."""
    return Clock(now=100.0)


@pytest.fixture
def server(tmp_path: Path, clock: Clock) -> Iterator[Server]:
    """Return a server whose lists and traffic lag behind until the clock is moved."""
    with running_server(tmp_path, lags=Lags(lists=LAG, traffic=LAG), clock=clock) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_stale_list_does_not_show_what_is_new(server: Server, kind: str, transport: str) -> None:
    """A new resource can be read by its name, and is not in any list yet."""
    client_type, create, rpc = KINDS[kind]
    client = connect(client_type, server, transport)
    made = create(client, display_name="fare")
    name = getattr(made, "name", None) or made.model
    get = getattr(client, rpc.removesuffix("s").replace("list_", "get_"))

    assert (get(name=name).display_name, list(getattr(client, rpc)(parent=PARENT))) == ("fare", [])


def test_a_stale_list_of_operations(endpoints: Client) -> None:
    """An operation is found by its name before a list shows it."""
    made = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"})

    listed = endpoints.list_operations({"name": made.result(timeout=5).name})

    found = endpoints.get_operation({"name": made.operation.name})
    assert (found.done, list(listed.operations)) == (True, [])


def test_a_stale_list_catches_up(endpoints: Client, clock: Clock) -> None:
    """A new resource appears in the list after a while, and a deleted one leaves it after a while."""
    made = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"}).result(timeout=5)
    shown = []
    clock.catch_up()
    shown.append([each.name for each in endpoints.list_endpoints(parent=PARENT)])
    endpoints.delete_endpoint(name=made.name).result(timeout=5)
    shown.append([each.name for each in endpoints.list_endpoints(parent=PARENT)])
    clock.catch_up()

    shown.append([each.name for each in endpoints.list_endpoints(parent=PARENT)])

    assert shown == [[made.name], [made.name], []]


@dataclass(frozen=True)
class Serving:
    """An endpoint with two deployed models, and who answers on it."""

    endpoints: Client
    prediction: Client
    name: str
    ids: list[str]

    def give(self, deployed: str) -> None:
        """Give a deployed model all traffic."""
        self.endpoints.update_endpoint(
            endpoint={"name": self.name, "traffic_split": {deployed: 100}},
            update_mask={"paths": ["traffic_split"]},
        )

    def ask(self) -> str:
        """Send a request, and return the id of the deployed model that answers."""
        answer = self.prediction.predict(endpoint=self.name, instances=instances(1))
        return str(answer.deployed_model_id)


@pytest.fixture
def serving(endpoints: Client, models: Client, prediction: Client) -> Serving:
    """Deploy two models without traffic."""
    made = endpoints.create_endpoint(parent=PARENT, endpoint={"display_name": "fare"})
    name = str(made.result(timeout=5).name)
    version = models.upload_model(parent=PARENT, model=model()).result(timeout=5).model
    ids = [deploy(endpoints, name, version) for _ in range(2)]
    return Serving(endpoints, prediction, name, ids)


def test_a_first_split_takes_effect_late(serving: Serving, clock: Clock) -> None:
    """Just after its first split, an endpoint answers that it has none, in the service's words."""
    serving.give(serving.ids[0])

    with pytest.raises(exceptions.BadRequest, match=r"endpoints/\d+ doesn't have traffic_split"):
        serving.ask()

    clock.catch_up()
    assert serving.ask() == serving.ids[0]


def test_a_changed_split_takes_effect_late(serving: Serving, clock: Clock) -> None:
    """The endpoint shows its new split at once, and is routed by the old one for a while."""
    first, second = serving.ids
    serving.give(first)
    clock.catch_up()
    serving.give(second)

    shown = dict(serving.endpoints.get_endpoint(name=serving.name).traffic_split)

    assert (shown, serving.ask()) == ({second: 100}, first)
    clock.catch_up()
    assert serving.ask() == second


def test_requests_for_a_model_that_is_undeployed_are_refused(serving: Serving, clock: Clock) -> None:
    """For a short time the old split still routes to a server that is gone."""
    first, second = serving.ids
    serving.give(first)
    clock.catch_up()
    serving.give(second)
    serving.endpoints.undeploy_model(endpoint=serving.name, deployed_model_id=first).result(timeout=5)

    with pytest.raises(exceptions.ServiceUnavailable, match="is undeployed"):
        serving.ask()


@pytest.mark.parametrize("option", ["--stale-lists", "--late-traffic"])
@pytest.mark.parametrize("value", ["-1", "soon", "inf", "nan"])
def test_a_lag_is_a_number_of_seconds(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is refused with the option's name."""
    with pytest.raises(SystemExit):
        main([f"{option}={value}"])

    assert option in capsys.readouterr().err
