"""Golden requests: instances with the predictions that a deployed model must give them.

A model that was evaluated in one place and serves in another may answer differently there: its image
preprocesses instances otherwise, its files were damaged, its machine computes otherwise. Nothing but its
answers to known instances shows that.

The interface, for an operator or anything else that has a hook::

    check = GoldenCheck(rows=rows, answers=10, bound=300.0)
    try:
        result = check.ask(hook, endpoint_name, deployed_model_id, sleep=self._sleep)
    except NoAnswerError as error:  # not reached in time, or every request failed: nothing is known
        ...
    if result.problem:  # it answers differently; the message names the row
        ...
    store.write(uri, result.to_json(champion=deployed_model_id_of_the_champion))

The model must have a share of the endpoint's traffic: Predict can address only an endpoint. The others on the
endpoint get the same requests meanwhile, so that their latencies can be compared.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vertex_airflow.polling import ErrorKind, Polling, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore

TOLERANCE: Final = 1e-4
"""The largest relative difference of two predictions that count as the same."""
SMALLEST: Final = 0.01
"""Predictions that are nearer to 0 than this are compared as if they were this far away."""
SCHEMA_VERSION: Final = 1

MOST_BYTES: Final = 1_000_000
"""The largest size of a request's rows, as JSON: more rows are sent in several; Vertex AI takes 1.5 MB."""
_PREDICT_TIMEOUT: Final = 60.0
# As many answers are enough if there is no time for all: each may come from another replica.
_LEAST_ANSWERS: Final = 3
# The pause after a request that was answered by another model: 2 % of the time spent so far, at most 1 s. So
# a model with 10 % of the traffic is reached within seconds once its share takes effect, whenever that is.
_PAUSE_SHARE: Final = 0.02
_LONGEST_BETWEEN_ANSWERS: Final = 1.0
_BAD_REQUEST: Final = 400


class NoAnswerError(Exception):
    """The deployed model did not answer the golden requests often enough to know anything about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenRow:
    """An instance as callers send it, the prediction for it, and why the row was chosen, for messages."""

    instance: Mapping[str, object]
    expected: float
    why: tuple[str, ...] = ()

    def difference(self, predicted: float) -> float:
        """Return the relative difference to the expected prediction; infinite if it is not a number."""
        distance = abs(predicted - self.expected)
        return distance / max(abs(self.expected), SMALLEST) if math.isfinite(distance) else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenResult:
    """The answers of a deployed model to all rows.

    `largest_difference` is relative, and infinite for an answer that is not a number; `worst_row` is its
    index, `differing` the number of rows whose difference is above the tolerance. `latencies` are the seconds
    of the answered requests, by the deployed model that answered. `problem` is empty if no row differs.
    """

    deployed_model: str
    rows: int
    differing: int
    largest_difference: float
    worst_row: int
    latencies: Mapping[str, tuple[float, ...]]
    problem: str

    def to_json(self, *, champion: str | None) -> bytes:
        """Return golden_check.json; `champion` is the deployed model to compare the latency with, if any."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "deployed_model": self.deployed_model,
            "rows": self.rows,
            "differing": self.differing,
            "largest_difference": self.largest_difference if math.isfinite(self.largest_difference) else None,
            "problem": self.problem,
            "latency": {
                "challenger": latency(self.latencies.get(self.deployed_model, ())),
                "champion": latency(self.latencies.get(champion or "", ())),
            },
        }
        return json.dumps(document, indent=2).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """Sends rows to an endpoint until one of its deployed models has answered them, and compares.

    The pauses, in seconds, are those until its first answer, and after requests that failed. After that
    answer requests follow one another without a pause, so that they are over soon.

    :param answers: times that the model is to answer every row; more give a better latency
    :param bound: seconds in which it has to; a change of traffic takes effect within minutes
    """

    rows: Sequence[GoldenRow]
    answers: int = 10
    bound: float = 300.0
    shortest_pause: float = 0.1
    longest_pause: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a check that would prove nothing.

        Raises:
            ValueError: without rows.

        """
        if not self.rows:
            raise ValueError("there are no golden rows to send to the deployed model")

    def ask(
        self,
        hook: VertexHook,
        endpoint: str,
        deployed_model: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> GoldenResult:
        """Return the answers of a deployed model; a model that answers differently is not asked again.

        :param endpoint: resource name of the endpoint
        :param deployed_model: id of the deployed model
        :param sleep: sleeps some seconds; what it raises ends the check

        Raises:
            NoAnswerError: if the model does not answer in time, or refuses a row.

        """
        asking = _Asking(check=self, deployed_model=deployed_model)
        began = time.monotonic()
        age = 0.0
        while age < self.bound and not (asking.is_complete or asking.is_refused):
            sleep(0)
            # A request that begins just before the bound still gets a second to be answered.
            asking.request(hook, endpoint, timeout=max(1.0, min(_PREDICT_TIMEOUT, self.bound - age)))
            age = time.monotonic() - began
            sleep(asking.pause(age))
            age = time.monotonic() - began
        asking.check_answered(age)
        return asking.result()


def read_json_lines(store: ObjectStore, uri: str) -> list[GoldenRow]:
    """Return the rows of a file with one JSON object ``{"instance", "prediction"}`` per line.

    Raises:
        ValueError: naming the line that is anything else.

    """
    rows = []
    for number, line in enumerate(store.read(uri).decode().splitlines(), start=1):
        try:
            row = json.loads(line)
            rows.append(GoldenRow(instance=dict(row["instance"]), expected=float(row["prediction"])))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'line {number} is not {{"instance": {{…}}, "prediction": …}}: {error!r}'
            ) from error
    return rows


def latency(seconds: Sequence[float]) -> dict[str, float | int] | None:
    """Return the median and the 95th percentile of some requests (by nearest rank), and how many there were.

    None for none.
    """
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p95 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
    return {"p50": p50, "p95": p95, "requests": len(ordered)}


@dataclass(slots=True, kw_only=True)
class _Asking:
    """What has been answered so far."""

    check: GoldenCheck
    deployed_model: str
    batches: list[range] = field(init=False)
    answers: list[int] = field(init=False)
    predicted: dict[int, float] = field(default_factory=dict)
    differences: dict[int, float] = field(default_factory=dict)
    latencies: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    asked: int = 0
    failures: int = 0
    last: str = "none"
    refusal: str = ""
    miscounted: str = ""

    def __post_init__(self) -> None:
        self.batches = list(_batches(self.check.rows))
        self.answers = [0] * len(self.batches)

    @property
    def is_complete(self) -> bool:
        """True if every row is answered often enough; one that is answered differently is not asked again."""
        return min(self.answers) >= (1 if self.differing else self.check.answers)

    @property
    def is_refused(self) -> bool:
        """True if the model refuses a request. The error does not say so, but others answer the same one."""
        return bool(self.refusal and self.latencies and not any(self.answers))

    @property
    def differing(self) -> int:
        """The number of rows that are answered differently."""
        return sum(each > TOLERANCE for each in self.differences.values())

    def request(self, hook: VertexHook, endpoint: str, *, timeout: float) -> None:
        """Send the rows that have been answered the fewest times."""
        place = min(range(len(self.batches)), key=self.answers.__getitem__)
        rows = self.batches[place]
        instances = _values([self.check.rows[index].instance for index in rows])
        self.asked += 1
        began = time.monotonic()
        try:
            answer = hook.predictions.predict(endpoint=endpoint, instances=instances, timeout=timeout)
        except Exception as error:  # noqa: BLE001  # _failed() raises those that do not pass
            self._failed(error)
            return
        self.failures = 0
        # The first request opens the connection as well.
        took = [time.monotonic() - began] if self.asked > 1 else []
        self.latencies[answer.deployed_model_id].extend(took)
        if answer.deployed_model_id == self.deployed_model:
            self.answers[place] += 1
            self._compare(rows, list(answer.predictions))

    def pause(self, age: float) -> float:
        """Return how long to wait before the next request, `age` seconds after the first."""
        polling = Polling(
            shortest=self.check.shortest_pause, longest=self.check.longest_pause, share=_PAUSE_SHARE
        )
        dice = random.SystemRandom()
        if self.failures:
            return polling.back_off(failures=self.failures, dice=dice)
        if any(self.answers):
            return 0.0
        return min(_LONGEST_BETWEEN_ANSWERS, polling.interval(age=age, dice=dice))

    def check_answered(self, age: float) -> None:
        """Raise NoAnswerError unless every row is answered often enough."""
        enough = min(_LEAST_ANSWERS, self.check.answers)
        if self.is_complete or min(self.answers) >= enough:
            return
        raise NoAnswerError(
            f"deployed model {self.deployed_model} answered {sum(self.answers)} of {self.asked} requests in "
            f"{age:.0f} s; it takes {enough * len(self.batches)} answers. Last error: "
            f"{self.refusal or self.last}"
        )

    def result(self) -> GoldenResult:
        """Return the comparison of what was answered."""
        worst = max(self.differences, key=lambda index: (self.differences[index], -index))
        return GoldenResult(
            deployed_model=self.deployed_model,
            rows=len(self.check.rows),
            differing=self.differing,
            largest_difference=self.differences[worst],
            worst_row=worst,
            latencies={each: tuple(seconds) for each, seconds in self.latencies.items() if seconds},
            problem=self._problem(worst) if self.differing else "",
        )

    def _failed(self, error: Exception) -> None:
        if getattr(error, "code", None) == _BAD_REQUEST and classify(error) is ErrorKind.INVALID:
            self.refusal = str(error)
        elif classify(error) is not ErrorKind.TRANSIENT:
            raise error
        self.failures += 1
        self.last = f"{type(error).__name__}: {error}"

    def _compare(self, rows: range, predictions: Sequence[object]) -> None:
        if len(predictions) != len(rows):
            self.miscounted = f" ({len(predictions)} predictions for {len(rows)} instances)"
            predictions = [math.nan] * len(rows)
        for index, each in zip(rows, predictions, strict=True):
            predicted = float(each) if isinstance(each, int | float) else math.nan
            difference = self.check.rows[index].difference(predicted)
            if difference >= self.differences.get(index, 0.0):
                self.predicted[index], self.differences[index] = predicted, difference

    def _problem(self, worst: int) -> str:
        row, rows = self.check.rows[worst], self.check.rows
        expected = sorted(each.expected for each in rows)
        permuted = all(
            abs(given - wanted) <= TOLERANCE * max(abs(wanted), SMALLEST)
            for given, wanted in zip(sorted(self.predicted.values()), expected, strict=True)
        )
        return (
            f"deployed model {self.deployed_model} answers {self.differing} of {len(rows)} golden requests "
            f"differently from the model that was evaluated, by up to {self.differences[worst]:.3g} of the "
            f"prediction ({TOLERANCE:g} is allowed)"
            f"{'; the answers are the right ones in another order' if permuted else ''}. The largest "
            f"difference is row {worst} ({', '.join(row.why) or 'no reason given'}): expected "
            f"{row.expected:.6g}, got {self.predicted[worst]:.6g}{self.miscounted} "
            f"for {json.dumps(dict(row.instance))}"
        )


def _batches(rows: Sequence[GoldenRow]) -> Iterator[range]:
    """Yield the places of rows that fit into one request each."""
    began, size = 0, 0
    for index, row in enumerate(rows):
        needed = len(json.dumps(dict(row.instance))) + 2
        if size and size + needed > MOST_BYTES:
            yield range(began, index)
            began, size = index, 0
        size += needed
    yield range(began, len(rows))


def _values(instances: Sequence[Mapping[str, object]]) -> list[Any]:
    """Return instances as the JSON values of protobuf that Predict takes."""
    from google.protobuf import json_format, struct_pb2  # noqa: PLC0415  # not at parse time

    return [json_format.ParseDict(dict(instance), struct_pb2.Value()) for instance in instances]
