"""The results of a demo run, read as any client would: from Cloud Storage, the registry and the endpoint."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import requests
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Blob, Client
from pyarrow import parquet

from local_gcp.errors import LocalCloudError
from local_gcp.layout import PROJECT, REGION
from taxi_ml.gate import kept
from taxi_ml.gate import report as reports
from taxi_ml.gate.decision import Verdict
from taxi_ml.modules import averages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from taxi_ml.gate.decision import Decision
    from taxi_ml.gate.metrics import Difference, Interval, Metrics
    from taxi_ml.gate.reasons import Reason
    from taxi_ml.gate.report import Report

_TIMEOUT_SECONDS: Final = 60
# Columns of the dataset that a customer does not send: the trip's key, the label, and what is looked up.
_NOT_SENT: Final = frozenset({"trip_id", "fare", *averages.NAMES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A fare that the endpoint predicted for a real trip with its 90 % range, and what was paid, in USD.

    A model that an earlier version trained has no range.
    """

    predicted: float
    low: float | None
    high: float | None
    paid: float
    features: Mapping[str, float]

    def describe(self) -> str:
        """Return the fares with the trip's distance and hour."""
        kilometres, hour = self.features["rawDistance"] / 1000, self.features["TripStartHour"]
        trip = f"for {kilometres:.1f} km in a straight line, at {hour:.0f}:00"
        low, high = (_or_unknown(end, ".2f") for end in (self.low, self.high))
        predicted = f"{self.predicted:.2f} USD predicted ({low} to {high})"
        return f"{predicted}, {self.paid:.2f} USD paid, {trip}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The decision, the report behind it, the models that serve now and a quote from the endpoint."""

    decision: Decision
    report: Report
    decision_uri: str
    endpoint: str
    served: str
    quote: Quote | None
    airflow_url: str

    def describe(self) -> str:
        """Return a summary of the run for a person, as lines of text."""
        report = self.report
        chosen = f"{report.tuner.best} of {report.tuner.trials} trials" if report.tuner else "off"
        lines = [
            "",
            f"window     {report.window}",
            f"rows       train {report.rows.train}, eval {report.rows.eval}, test {report.rows.test}",
            f"tuner      {chosen}",
            f"challenger {_metrics(report.challenger.metrics)}",
            f"champion   {_metrics(report.champion.metrics) if report.champion else 'none served before'}",
            f"difference {_difference(report.difference)}",
            f"decision   {self.decision.verdict}",
            *(f"           {_reason(reason)}" for reason in self.decision.reasons),
            *self._unchanged(),
            f"serves     {self.served}",
            f"endpoint   {self.endpoint}",
            f"quote      {self.quote.describe() if self.quote else 'no model serves'}",
            f"details    {self.decision_uri}",
            f"Airflow    {self.airflow_url}",
            "",
        ]
        return "\n".join(lines)

    def _unchanged(self) -> Iterator[str]:
        if self.decision.verdict is Verdict.UNCHANGED:
            yield "           the champion answers every test trip alike, so that no version was made"


def _metrics(found: Metrics) -> str:
    rmse, mae = _usd(found.rmse, ".3f"), _usd(found.mae, ".3f")
    return f"RMSE {rmse}, MAE {mae} on {found.count} test trips"


def _difference(found: Difference | None) -> str:
    """Return challenger minus champion, each with its 95 % confidence interval."""
    if found is None:
        return "nothing to compare with"
    return f"RMSE {_interval(found.rmse)}, MAE {_interval(found.mae)}"


def _interval(found: Interval) -> str:
    low, high = (_or_unknown(end, "+.3f") for end in (found.low, found.high))
    return f"{_usd(found.estimate, '+.3f')} ({low} to {high})"


def _usd(amount: float | None, form: str) -> str:
    return f"{_or_unknown(amount, form)} USD"


def _or_unknown(amount: float | None, form: str) -> str:
    return "unknown" if amount is None else format(amount, form)


def _reason(reason: Reason) -> str:
    where = f" in {reason.slice}" if reason.slice else ""
    seen = f"{reason.observed:.4g}" if isinstance(reason.observed, float) else reason.observed or "nothing"
    return f"{reason.code}: {reason.metric}{where} is {seen}; required {reason.required}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads results of a run from the local cloud's Cloud Storage and Vertex AI."""

    environment: Mapping[str, str]
    vertex_url: str

    def text(self, uri: str) -> str:
        """Return the content of the object gs://bucket/name as a string."""
        blob = Blob.from_uri(uri, client=self._storage())
        return str(blob.download_as_text())

    def test_trip(self, window: str) -> dict[str, float]:
        """Return the first trip of the window's test split that covers a distance.

        Raises:
            LocalCloudError: there is none.

        """
        bucket = self.environment["TAXI_BUCKET"].removeprefix("gs://")
        for blob in self._storage().list_blobs(bucket, prefix=f"data/{window}/test/"):
            for trip in _trips(str(blob.name), blob.download_as_bytes()):
                if trip["rawDistance"] > 0:
                    return trip
        raise LocalCloudError(f"no trip with a distance in gs://{bucket}/data/{window}/test/")

    def endpoint(self) -> dict[str, Any] | None:
        """Return the project's endpoint with the most deployed models, or None if there is none."""
        url = f"{self.vertex_url}/v1/projects/{PROJECT}/locations/{REGION}/endpoints"
        response = requests.get(url, timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        endpoints: list[dict[str, Any]] = response.json().get("endpoints", [])
        return max(endpoints, key=lambda found: len(found.get("deployedModels", [])), default=None)

    def quote(self, endpoint: str, trip: Mapping[str, float]) -> Quote:
        """Request the fare of an exported trip from the endpoint, which looks up the history of its areas."""
        # In an export a negative number stands for a missing value; a request leaves it out.
        features = {name: value for name, value in trip.items() if name not in _NOT_SENT and value >= 0}
        response = requests.post(
            f"{self.vertex_url}/v1/{endpoint}:predict",
            json={"instances": [features], "parameters": {"details": True}},
            timeout=_TIMEOUT_SECONDS,
        )
        response.raise_for_status()
        (found,) = response.json()["predictions"]
        return Quote(
            predicted=found["fare"],
            low=found["low"],
            high=found["high"],
            paid=trip["fare"],
            features=features,
        )

    def _storage(self) -> Client:
        return Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
            client_options={"api_endpoint": self.environment["STORAGE_EMULATOR_HOST"]},
        )


def read_results(reader: Reader, gate: Mapping[str, str], *, airflow_url: str) -> Results:
    """Read a run's report and decision by the URIs that its gate returned, and request a fare.

    Raises:
        ReportError: the report is not one that this gate reads.
        DecisionError: the decision is not one that this gate reads.

    """
    decision, report = kept.parse(reader.text(gate["decision"])), reports.parse(reader.text(gate["report"]))
    endpoint = reader.endpoint()
    serving = _serving(endpoint) if endpoint else None
    quote = reader.quote(endpoint["name"], reader.test_trip(report.window)) if endpoint and serving else None
    return Results(
        decision=decision,
        report=report,
        decision_uri=gate["decision"],
        endpoint=endpoint["name"] if endpoint else "none",
        served=serving or "nothing",
        quote=quote,
        airflow_url=airflow_url,
    )


def _trips(name: str, content: bytes) -> Iterator[dict[str, float]]:
    """Read an exported file, CSV or Parquet by its name; yield each trip's columns without its id."""
    rows: Iterable[dict[str, Any]] = (
        parquet.read_table(pa.BufferReader(content)).to_pylist()
        if name.endswith(".parquet")
        else csv.DictReader(io.StringIO(content.decode()))
    )
    for row in rows:
        cells = {column: str(cell) for column, cell in row.items() if column != "trip_id"}
        # Integers stay integers: the model's signature tells them apart.
        yield {
            column: int(cell) if cell.lstrip("-").isdigit() else float(cell) for column, cell in cells.items()
        }


def _serving(endpoint: Mapping[str, Any]) -> str | None:
    """Return model, version and traffic share of each deployed model, or None if there is none."""
    split = endpoint.get("trafficSplit", {})
    shares = [
        f"{model['model']}@{model.get('modelVersionId', '?')} with {split.get(model['id'], 0)} % of traffic"
        for model in endpoint.get("deployedModels", [])
    ]
    return ", ".join(shares) or None
