"""Move an endpoint's traffic to a deployed model once it has answered test requests."""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow import endpoints, model_registry, traffic
from vertex_airflow.endpoints import Deployment
from vertex_airflow.operators.deploy import EndpointOperator
from vertex_airflow.operators.waiting import KILL_BOUND
from vertex_airflow.polling import ErrorKind, Polling, classify

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import Context
    from google.cloud.aiplatform_v1 import PredictResponse

    from vertex_airflow.baseline import Baseline
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore

Instances: TypeAlias = Sequence[Mapping[str, object]]

_PREDICT_TIMEOUT = 60.0
_ANSWERS = 3
_INSTANCES = 3
# The pause after a request that was answered, by whichever model: 2 % of the time spent so far, at most 1 s.
# So a model with 10 % of the traffic is reached within seconds once its share takes effect, whenever that is.
_PAUSE_SHARE = 0.02
_LONGEST_BETWEEN_ANSWERS = 1.0
_PAUSE_WHEN_KILLED = 0.2


def read_json_lines(store: ObjectStore, uri: str) -> Instances:
    """Return the first instances of a file with one JSON object per line, as batch predictions take them."""
    with store.open(uri) as lines:
        return [json.loads(line) for line in islice(TextIOWrapper(lines, encoding="utf-8"), _INSTANCES)]


class TrafficOperator(EndpointOperator[Deployment]):
    """Base of what changes the traffic of this run's deployed model, which must be there."""

    def find(self, hook: VertexHook, context: Context) -> Deployment | None:  # noqa: ARG002
        """Return this run's deployment."""
        return self.deployment(hook)

    def start(self, hook: VertexHook, context: Context) -> str:  # noqa: ARG002
        """Start nothing: deploying is another task's.

        Raises:
            AirflowFailException: in any case, naming that task.

        """
        raise AirflowFailException(
            f"{self.version} is not deployed on endpoint {self.endpoint_name!r}; clear the deploy task"
        )

    def cancel(self, hook: VertexHook) -> None:
        """Cancel nothing: an operation that this task waits for belongs to another run."""


class SmokePredictOperator(TrafficOperator):
    """Give the new deployed model a small share of the traffic until it has answered three times.

    Predict can address only an endpoint, not one of its deployed models: a share of the traffic is the way
    to reach it. However the task ends, killed or not, the share goes back to those that it was taken from,
    so that between two tasks a model has all of the traffic or none of it. A wrong answer fails the task
    without a retry. Returns ``{"endpoint", "deployed_model"}``.

    :param instances_uri: ``gs://…`` address of the instances to send, as `read_instances` takes it
    :param largest: largest prediction that is believable
    :param smallest: smallest prediction that is believable
    :param share: percent of the traffic; an endpoint without traffic gives all of it
    :param ask_for: seconds in which it has to answer; a change of traffic takes effect within minutes
    :param shortest_pause: shortest time between two requests, in seconds
    :param longest_pause: longest time between two requests, after some that failed
    :param read_instances: reads the instances; the default takes a file with one JSON object per line
    """

    template_fields: Sequence[str] = (
        *TrafficOperator.template_fields,
        "instances_uri",
        "largest",
        "smallest",
        "share",
        "ask_for",
        "shortest_pause",
        "longest_pause",
    )

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        instances_uri: str,
        largest: float | str,
        smallest: float | str = 0,
        share: int | str = 10,
        ask_for: float | str = 300.0,
        shortest_pause: float | str = 0.1,
        longest_pause: float | str = 5.0,
        read_instances: Callable[[ObjectStore, str], Instances] = read_json_lines,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.instances_uri = instances_uri
        self.largest = largest
        self.smallest = smallest
        self.share = share
        self.ask_for = ask_for
        self.shortest_pause = shortest_pause
        self.longest_pause = longest_pause
        self.read_instances = read_instances
        self._lender: Baseline | None = None

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:  # noqa: ARG002
        """Let the new model answer, and check its predictions."""
        if endpoints.is_promoted(hook, state, self.version):
            self._ask_until_answered(hook, state)
        else:
            self._borrow_and_ask(hook, state)
        return state.names

    def cancel(self, hook: VertexHook) -> None:
        """Give the share back where this process may have taken it."""
        deadline = time.monotonic() + KILL_BOUND
        while self._lender is not None:
            try:
                endpoints.give_back(hook, self.endpoint_name, self.version, self._lender.split)
            except Exception as error:
                verdict = classify(error)
                if verdict not in {ErrorKind.TRANSIENT, ErrorKind.CONFLICT} or time.monotonic() >= deadline:
                    raise
                # Not self._sleep(), which raises in a task that was killed.
                time.sleep(_PAUSE_WHEN_KILLED)
            else:
                return

    def _borrow_and_ask(self, hook: VertexHook, own: Deployment) -> None:
        baseline = self.baseline()
        if not own.share:
            self.check_unchanged(own.endpoint, own.id, baseline)
        # From here on a kill gives the share back: the call that takes it may act before it answers.
        self._lender = baseline
        try:
            self.stop_if_killed()
            if not own.share:
                split = traffic.with_share(own.endpoint.split, own.id, int(self.share))
                endpoints.set_traffic(hook, own.endpoint, split)
            self._ask_until_answered(hook, own)
        finally:
            # Only SIGKILL skips this; the next try, or the roll-back, then gives the share back.
            endpoints.give_back(hook, self.endpoint_name, self.version, baseline.split)

    def _ask_until_answered(self, hook: VertexHook, own: Deployment) -> None:
        """Send requests until the new model has answered: its share takes effect after some time."""
        instances = _values(self.read_instances(self.store(), self.instances_uri))
        if not instances:
            raise AirflowFailException(f"{self.instances_uri} holds no instances to send")
        bound = float(self.ask_for)
        polling = Polling(
            shortest=float(self.shortest_pause), longest=float(self.longest_pause), share=_PAUSE_SHARE
        )
        dice = random.SystemRandom()
        began = time.monotonic()
        age, asked, answers, failures, last = 0.0, 0, 0, 0, "none"
        while age < bound:
            self.stop_if_killed()
            asked += 1
            # A request that begins just before the bound still gets a second to be answered.
            timeout = max(1.0, min(_PREDICT_TIMEOUT, bound - age))
            try:
                answer = hook.predictions.predict(
                    endpoint=own.endpoint.name, instances=instances, timeout=timeout
                )
            except Exception as error:
                if classify(error) is not ErrorKind.TRANSIENT:
                    raise
                failures, last = failures + 1, f"{type(error).__name__}: {error}"
                self.log.warning("Request %d failed: %s", asked, last)
            else:
                failures = 0
                answers += self._is_answered(answer, own.id, len(instances))
            if answers >= _ANSWERS:
                return
            age = time.monotonic() - began
            steady = min(_LONGEST_BETWEEN_ANSWERS, polling.interval(age=age, dice=dice))
            self._sleep(polling.back_off(failures=failures, dice=dice) if failures else steady)
            age = time.monotonic() - began
        raise AirflowFailException(
            f"{own.id} answered {answers} of {asked} requests in {age:.0f} s with {self.share} % of the "
            f"traffic; it takes {_ANSWERS} answers. Last error: {last}"
        )

    def _is_answered(self, answer: PredictResponse, deployed: str, count: int) -> bool:
        """Return whether the new model answered; raise unless all its predictions are believable."""
        if answer.deployed_model_id != deployed:
            return False
        smallest, largest = float(self.smallest), float(self.largest)
        predictions: Sequence[object] = answer.predictions
        numbers = [each if isinstance(each, int | float) else math.nan for each in predictions]
        self.log.info("%s predicts %s", deployed, ", ".join(f"{number:.4g}" for number in numbers))
        believable = all(math.isfinite(number) and smallest <= number <= largest for number in numbers)
        if len(numbers) != count or not believable:
            raise AirflowFailException(
                f"deployed model {deployed} predicted {numbers} for {count} instances; every prediction must "
                f"be a number between {self.smallest} and {self.largest}"
            )
        return True


class ShiftTrafficOperator(TrafficOperator):
    """Give the new deployed model all traffic, then its version the aliases `champion` and `default`.

    It also gets an alias that it keeps when the next one replaces it (`model_registry.served_alias`).
    Fails if the champion that the version was compared with no longer serves, or a model that the run does
    not know does. Returns ``{"endpoint", "deployed_model"}``.
    """

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:  # noqa: ARG002
        """Move what has not moved yet."""
        if not state.has_all_traffic:
            self.check_unchanged(state.endpoint, state.id, self.baseline())
            endpoints.set_traffic(hook, state.endpoint, {state.id: traffic.WHOLE})
        aliases = (model_registry.CHAMPION, model_registry.DEFAULT, model_registry.served_alias(self.version))
        model_registry.give_aliases(hook, self.version, *aliases)
        return state.names


def _values(instances: Sequence[Mapping[str, object]]) -> list[Any]:
    """Return instances as the JSON values of protobuf that Predict takes."""
    from google.protobuf import json_format, struct_pb2  # noqa: PLC0415  # not at parse time

    return [json_format.ParseDict(dict(instance), struct_pb2.Value()) for instance in instances]
