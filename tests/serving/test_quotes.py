"""Quotes over HTTP, from a server in this process with a taximeter for a model."""

from __future__ import annotations

import http.client
import io
import json
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from taxi_ml.modules import averages, domains, intervals
from taxi_ml.modules.averages import PairAverages
from taxi_ml.modules.domains import Domain
from taxi_ml.modules.intervals import Band, Intervals
from taxi_ml.serving.instances import ContractError, InstanceContract
from taxi_ml.serving.quotes import QuoteBook
from taxi_ml.serving.server import PredictionServer
from taxi_ml.serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NUMBERS = (*averages.NAMES, intervals.FEATURE)
CONTRACT = InstanceContract.parse(
    json.dumps(
        {
            "features": [
                *({"name": name, "type": "integer", "missing": None} for name in averages.AREAS),
                *({"name": name, "type": "number", "missing": -1.0} for name in NUMBERS),
            ],
            "signature": "serving_default",
            "prediction": "fare",
        }
    )
)
TABLE = PairAverages(
    np.array([[8, 32], [8, 76]]), np.array([[600, 660, 2.5, 2.75], [1800, -1, 15, -1]], np.float32)
)
BANDS = (Band(start=-np.inf, rows=20, low=-9.0, high=9.0), Band(start=0.0, rows=90, low=-1.5, high=2.5))
DOMAIN = Domain(
    numbers={"rawDistance": (0.0, 40_000.0), "historical_tripDuration": (60.0, 7200.0)},
    categories={"pickup_census_tract": frozenset({0, 8}), "dropoff_census_tract": frozenset({0, 32, 76})},
    least_fare=3.25,
)
TRIP = {"pickup_census_tract": 8, "dropoff_census_tract": 32, "rawDistance": 4000}


class Meter:
    """A model: 3.25 USD, 0.01 USD a second and 0.001 USD a metre; an unknown number costs nothing."""

    contract = CONTRACT

    def __init__(self, quotes: QuoteBook) -> None:
        self.quotes = quotes

    def predict(self, rows: Sequence[Mapping[str, float]]) -> list[float]:
        """Return a fare in USD for each row."""
        return [
            3.25 + 0.01 * max(row["historical_tripDuration"], 0) + 0.001 * max(row["rawDistance"], 0)
            for row in rows
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a model, with everything that lies beside it."""
    (tmp_path / averages.FILE).parent.mkdir()
    (tmp_path / averages.FILE).write_bytes(TABLE.content)
    (tmp_path / intervals.FILE).write_text(json.dumps(Intervals(bands=BANDS).content))
    (tmp_path / domains.FILE).write_text(json.dumps(DOMAIN.content))
    return tmp_path


@pytest.fixture
def server() -> Iterator[PredictionServer]:
    """A server that listens, without a model yet."""
    settings = ServingSettings(
        storage_uri="unused", host="127.0.0.1", port=0, health_route="/health", predict_route="/predict"
    )
    with PredictionServer(settings) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def ask(server: PredictionServer, *instances: Mapping[str, Any], **parameters: bool) -> list[Any]:
    """Return the predictions for instances."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    body = {"instances": instances, **({"parameters": parameters} if parameters else {})}
    try:
        connection.request("POST", "/predict", json.dumps(body))
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    predictions: list[Any] = answer["predictions"]
    return predictions


def test_quote_needs_no_history(server: PredictionServer, folder: Path) -> None:
    """A request without averages gets those of its pair, and its prediction is still a number."""
    server.model = Meter(QuoteBook.load(folder, CONTRACT))
    explicit = TRIP | dict(zip(averages.NAMES, (600, 660, 2.5, 2.75), strict=True))

    assert ask(server, TRIP, TRIP | dict.fromkeys(averages.NAMES), explicit) == [13.25, 13.25, 13.25]


def test_details_say_range_domain_and_what_was_looked_up(server: PredictionServer, folder: Path) -> None:
    """With details a prediction is an object; averages over no trips stay unknown."""
    server.model = Meter(QuoteBook.load(folder, CONTRACT))
    far = TRIP | {"dropoff_census_tract": 76, "rawDistance": None}

    assert ask(server, TRIP, far, details=True) == [
        {"fare": 13.25, "low": 11.75, "high": 15.75, "out_of_domain": [], "looked_up": list(averages.NAMES)},
        {
            "fare": 21.25,
            "low": 12.25,
            "high": 30.25,
            "out_of_domain": [],
            "looked_up": ["historical_tripDuration", "historical_tripDistance"],
        },
    ]


def test_history_of_the_request_comes_first(server: PredictionServer, folder: Path) -> None:
    """One average in the request is a history, in which those that are null are unknown."""
    server.model = Meter(QuoteBook.load(folder, CONTRACT))
    (quote,) = ask(server, TRIP | {"histOneWeek_tripDuration": 60.0}, details=True)

    assert (quote["fare"], quote["looked_up"]) == (7.25, [])


def test_low_end_is_a_fare(server: PredictionServer, folder: Path) -> None:
    """A range never begins below the lowest fare of the training year."""
    server.model = Meter(QuoteBook.load(folder, CONTRACT))
    (quote,) = ask(server, TRIP | {"dropoff_census_tract": 0, "rawDistance": 0}, details=True)

    assert quote == {"fare": 3.25, "low": 3.25, "high": 5.75, "out_of_domain": [], "looked_up": []}


def test_features_beyond_the_training_rows_are_named(server: PredictionServer, folder: Path) -> None:
    """Numbers outside of the range, and areas that the network cannot tell apart, are out of the domain."""
    server.model = Meter(QuoteBook.load(folder, CONTRACT))
    asked = TRIP | {"pickup_census_tract": 9, "rawDistance": 50_000, "historical_tripDuration": 3}
    (quote,) = ask(server, asked, details=True)

    assert quote["out_of_domain"] == ["rawDistance", "historical_tripDuration", "pickup_census_tract"]


def test_model_without_anything_beside_it_still_answers(server: PredictionServer, tmp_path: Path) -> None:
    """A model that an earlier version trained has no range and no table."""
    server.model = Meter(QuoteBook.load(tmp_path, CONTRACT))

    assert ask(server, TRIP) == [7.25]
    assert ask(server, TRIP, details=True) == [
        {"fare": 7.25, "low": None, "high": None, "out_of_domain": [], "looked_up": []}
    ]


@pytest.mark.parametrize("name", [averages.FILE, intervals.FILE, domains.FILE])
@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"PK\x03\x04"])
def test_unreadable_file_beside_the_model_is_refused(folder: Path, name: str, content: bytes) -> None:
    """A server whose quotes would lack what the model was promoted with does not start."""
    (folder / name).write_bytes(content)

    with pytest.raises(ContractError, match=name.rpartition("/")[2]):
        QuoteBook.load(folder, CONTRACT)


def test_files_of_other_features_are_refused(folder: Path) -> None:
    """A domain of features that instances do not have is that of another model."""
    (folder / domains.FILE).write_text(json.dumps(DOMAIN.content | {"numbers": {"hour": [0, 23]}}))

    with pytest.raises(ContractError, match=r"domain.json .* is about \['hour'\]"):
        QuoteBook.load(folder, CONTRACT)


def test_eight_hundred_areas_fit() -> None:
    """A table of every pair of 800 census tracts finds each of them, and its file is below 16 MB."""
    random = np.random.default_rng(5)
    tracts = 17_031_000_000 + random.choice(1_000_000, 800, replace=False)
    pairs = np.stack(np.meshgrid(tracts, tracts), axis=-1).reshape(-1, 2)
    values = random.uniform(1, 5000, (len(pairs), 4)).astype(np.float32)
    content = PairAverages(pairs, values).content

    assert len(content) < 16_000_000
    assert (PairAverages.load(io.BytesIO(content)).find(pairs) == values).all()


@pytest.mark.parametrize("pair", [(32, 8), (8, 33), (9, 32), (99, 99), (0, 0), (-5, 8), (2**62, 2**62)])
def test_unknown_pair_has_no_averages(pair: tuple[int, int]) -> None:
    """A pair without trips in the history is unknown, wherever its areas would be sorted."""
    assert TABLE.find(np.array([pair])).tolist() == [[-1.0] * 4]


def test_pair_that_is_there_twice_is_refused() -> None:
    """Files of two exports side by side are not a table."""
    rows = "pickup_census_tract,dropoff_census_tract," + ",".join(averages.NAMES) + "\n8,32,1.0,1.0,1.0,1.0\n"

    with pytest.raises(ValueError, match="twice"):
        PairAverages.read([io.StringIO(rows), io.StringIO(rows)])
