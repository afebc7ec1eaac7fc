"""What came of a demo run, read where anybody would: from Cloud Storage, the registry and the endpoint."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client
from pyarrow import parquet

from local_gcp.layout import PROJECT, REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_SECONDS: Final = 60
# Columns of the dataset that are not features: which trip it was, and what is to be predicted.
_NOT_FEATURES: Final = frozenset({"trip_id", "fare"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A fare that the endpoint predicted for a real trip, beside what was paid, in USD."""

    predicted: float
    paid: float
    features: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The decision, the report behind it, what serves now and a quote from it."""

    decision: Mapping[str, Any]
    report: Mapping[str, Any]
    decision_uri: str
    endpoint: str
    served: str
    quote: Quote | None
    airflow_url: str

    def describe(self) -> str:
        """Return what a person wants to know after the run, as lines of text."""
        rows, tuner = self.report["rows"], self.report["tuner"]
        chosen = f"{tuner['best']} of {tuner['trials']} trials" if tuner else "off"
        lines = [
            "",
            f"window     {self.report['window']}",
            f"rows       train {rows['train']}, eval {rows['eval']}, test {rows['test']}",
            f"tuner      {chosen}",
            f"challenger {_metrics(self.report['challenger'])}",
            f"champion   {_metrics(self.report['champion'])}",
            f"difference {_difference(self.report['difference'])}",
            f"decision   {self.decision['verdict']}",
            *(f"           {reason}" for reason in map(_reason, self.decision["reasons"])),
            f"serves     {self.served}",
            f"endpoint   {self.endpoint}",
            f"quote      {_quote(self.quote)}",
            f"details    {self.decision_uri}",
            f"Airflow    {self.airflow_url}",
            "",
        ]
        return "\n".join(lines)


def _metrics(model: Mapping[str, Any] | None) -> str:
    if model is None:
        return "none served before"
    metrics = model["metrics"]
    rmse, mae = (_usd(metrics[name], ".3f") for name in ("rmse", "mae"))
    return f"RMSE {rmse} USD, MAE {mae} USD on {metrics['count']} test trips"


def _difference(found: Mapping[str, Any] | None) -> str:
    """Return challenger minus champion, each with its interval of 95 %."""
    if found is None:
        return "nothing to compare with"
    return ", ".join(f"{name.upper()} {_interval(found[name])}" for name in ("rmse", "mae"))


def _interval(found: Mapping[str, float | None]) -> str:
    estimate, low, high = (_usd(found[name], "+.3f") for name in ("estimate", "low", "high"))
    return f"{estimate} USD ({low} to {high})"


def _usd(amount: float | None, form: str) -> str:
    """Return an amount, or a word for one that could not be computed."""
    return "unknown" if amount is None else format(amount, form)


def _reason(reason: Mapping[str, Any]) -> str:
    where = f" in {reason['slice']}" if reason["slice"] else ""
    observed = reason["observed"]
    seen = f"{observed:.4g}" if isinstance(observed, float) else observed or "nothing"
    return f"{reason['code']}: {reason['metric']}{where} is {seen}; required {reason['required']}"


def _quote(quote: Quote | None) -> str:
    if quote is None:
        return "no model serves"
    metres, hour = quote.features["rawDistance"], quote.features["TripStartHour"]
    trip = f"for {metres / 1000:.1f} km as the crow flies at {hour:.0f} o'clock"
    return f"{quote.predicted:.2f} USD predicted, {quote.paid:.2f} USD paid, {trip}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads results of a run from the local cloud's Cloud Storage and Vertex AI."""

    environment: Mapping[str, str]
    vertex_url: str

    def text(self, uri: str) -> str:
        """Return the text of an object, gs://bucket/name."""
        blob = Blob.from_uri(uri, client=self._storage())
        return str(blob.download_as_text())

    def test_trip(self, window: str) -> dict[str, float]:
        """Return the first trip of the window's test split that covers a distance."""
        bucket = self.environment["TAXI_BUCKET"].removeprefix("gs://")
        for blob in self._storage().list_blobs(bucket, prefix=f"data/{window}/test/"):
            for row in _rows(str(blob.name), blob.download_as_bytes()):
                trip = {name: _number(str(value)) for name, value in row.items() if name != "trip_id"}
                if trip["rawDistance"] > 0:
                    return trip
        raise LookupError(f"no trip with a distance in gs://{bucket}/data/{window}/test/")

    def endpoint(self) -> dict[str, Any] | None:
        """Return the project's endpoint with most deployed models, None without one."""
        endpoints = self._get(f"projects/{PROJECT}/locations/{REGION}/endpoints").get("endpoints", [])
        return max(endpoints, key=lambda found: len(found.get("deployedModels", [])), default=None)

    def quote(self, endpoint: str, trip: Mapping[str, float]) -> Quote:
        """Ask the endpoint for the fare of a trip, as it stands in an export."""
        # An export writes what is absent as a negative number, a request leaves it out.
        features = {name: value for name, value in trip.items() if name not in _NOT_FEATURES and value >= 0}
        response = requests.post(
            f"{self.vertex_url}/v1/{endpoint}:predict",
            json={"instances": [features]},
            timeout=_TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        return Quote(predicted=float(response.json()["predictions"][0]), paid=trip["fare"], features=features)

    def _get(self, path: str) -> dict[str, Any]:
        response = requests.get(f"{self.vertex_url}/v1/{path}", timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def _storage(self) -> Client:
        return Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": self.environment["STORAGE_EMULATOR_HOST"]},
        )


def read_results(reader: Reader, gate: Mapping[str, str], *, airflow_url: str) -> Results:
    """Read what a run has decided, where its gate task says, and ask the endpoint for a fare."""
    decision, report = json.loads(reader.text(gate["decision"])), json.loads(reader.text(gate["report"]))
    endpoint = reader.endpoint()
    serving = _serving(endpoint) if endpoint else None
    quote = (
        reader.quote(endpoint["name"], reader.test_trip(report["window"])) if endpoint and serving else None
    )
    return Results(
        decision=decision,
        report=report,
        decision_uri=gate["decision"],
        endpoint=endpoint["name"] if endpoint else "none",
        served=serving or "nothing",
        quote=quote,
        airflow_url=airflow_url,
    )


def _rows(name: str, content: bytes) -> list[dict[str, Any]]:
    """Read an exported file, CSV or Parquet by its name."""
    if name.endswith(".parquet"):
        rows: list[dict[str, Any]] = parquet.read_table(pa.BufferReader(content)).to_pylist()
        return rows
    return list(csv.DictReader(io.StringIO(content.decode())))


def _number(text: str) -> float:
    """Read a cell as the number that it is: a whole one stays whole, as the endpoint wants it."""
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _serving(endpoint: Mapping[str, Any]) -> str | None:
    """Return model, version and share of the traffic for each deployed model, None without any."""
    split = endpoint.get("trafficSplit", {})
    shares = [
        f"{model['model']}@{model.get('modelVersionId', '?')} with {split.get(model['id'], 0)} % of traffic"
        for model in endpoint.get("deployedModels", [])
    ]
    return ", ".join(shares) or None
