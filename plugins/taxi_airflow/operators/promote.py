"""Move an endpoint's traffic to a deployed model, after it has answered, and back."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from taxi_airflow import registry, traffic
from taxi_airflow.operators.deploy import EndpointOperator, undeploy
from taxi_airflow.smoke import read_instances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from taxi_airflow.hooks.vertex import VertexHook

_PREDICT_TIMEOUT = 60.0
_MOST_QUESTIONS = 200
_ANSWERS = 3


class TrafficOperator(EndpointOperator):
    """Base of what changes the traffic of this run's deployed model, which must be there."""

    def live(self, hook: VertexHook) -> tuple[registry.LiveEndpoint, str]:
        """Return the endpoint as it is now, and the id of this run's deployed model.

        Raises:
            AirflowFailException: when either is missing.

        """
        endpoint = registry.find_endpoint(hook, self.endpoint_name)
        if endpoint is None:
            raise AirflowFailException(
                f"endpoint {self.endpoint_name!r} does not exist; clear the deploy task"
            )
        deployed = endpoint.deployment_of(self.version)
        if deployed is None:
            raise AirflowFailException(
                f"{self.version} is not deployed on {endpoint.name}; clear the deploy task"
            )
        return endpoint, deployed

    def start(self, hook: VertexHook, context: Context) -> str | None:
        """Nothing is left to start: `find` does the whole change, which is immediate."""
        raise NotImplementedError


class SmokePredictOperator(TrafficOperator):
    """Give the new deployed model a small share of the traffic, and ask until it has answered three times.

    Predict cannot address one deployed model of an endpoint, only the endpoint: a share of the traffic is
    the way to reach it. The share stays until the traffic is shifted or rolled back. A wrong answer fails
    the task for good. Returns ``{"endpoint", "deployed_model"}``.

    :param instances_uri: ``gs://…/trips_*.csv`` or ``.parquet`` with trips to ask fares for
    :param largest: largest fare that is believable, in USD
    :param share: percent of the traffic; an endpoint without traffic gives all of it
    """

    template_fields: Sequence[str] = (*TrafficOperator.template_fields, "instances_uri", "largest", "share")

    def __init__(
        self,
        *,
        instances_uri: str,
        largest: float | str,
        share: int | str = 10,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.instances_uri = instances_uri
        self.largest = largest
        self.share = share

    def find(self, hook: VertexHook, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Let the new model answer, and check what it says."""
        endpoint, deployed = self.live(hook)
        if not endpoint.split.get(deployed):
            registry.set_traffic(
                hook, endpoint, traffic.with_share(endpoint.split, deployed, int(self.share))
            )
        instances = read_instances(self.store(), self.instances_uri)
        answers = 0
        for _ in range(_MOST_QUESTIONS):
            self.stop_if_killed()
            answers += self._ask(hook, endpoint.name, deployed, instances)
            if answers >= _ANSWERS:
                return {"endpoint": endpoint.name, "deployed_model": deployed}
        raise AirflowFailException(
            f"{deployed} answered {answers} of {_MOST_QUESTIONS} questions with {self.share} % of the traffic"
        )

    def _ask(
        self, hook: VertexHook, endpoint: str, deployed: str, instances: Sequence[Mapping[str, object]]
    ) -> bool:
        """Return whether the new model answered; raise when what it said is no fare."""
        answer = hook.predictions.predict(
            endpoint=endpoint, instances=_values(instances), timeout=_PREDICT_TIMEOUT
        )
        if answer.deployed_model_id != deployed:
            return False
        fares = [_fare(prediction) for prediction in answer.predictions]
        self.log.info("%s answers %s USD", deployed, ", ".join(f"{fare:.2f}" for fare in fares))
        if len(fares) != len(instances) or not all(self._believable(fare) for fare in fares):
            raise AirflowFailException(
                f"deployed model {deployed} answered {fares} to {len(instances)} trips; every fare must be "
                f"a number between 0 and {self.largest} USD"
            )
        return True

    def _believable(self, fare: float) -> bool:
        return math.isfinite(fare) and 0 <= fare <= float(self.largest)


class ShiftTrafficOperator(TrafficOperator):
    """Give the new deployed model all traffic, and make its version the champion.

    Returns ``{"endpoint", "deployed_model"}``.
    """

    def find(self, hook: VertexHook, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Move the traffic where it has not moved yet."""
        endpoint, deployed = self.live(hook)
        if endpoint.split != {deployed: traffic.WHOLE}:
            registry.set_traffic(hook, endpoint, {deployed: traffic.WHOLE})
        registry.move_alias(hook, self.version, registry.CHAMPION)
        return {"endpoint": endpoint.name, "deployed_model": deployed}


class RollBackOperator(EndpointOperator):
    """Give the traffic back to what served before, and undeploy this run's model.

    Where nothing served before, the endpoint is left without traffic. A run that failed before it had a
    model skips. Returns ``{"endpoint"}``.

    :param before: JSON of the traffic split before this run, as the deploy task returned it; null: the live
        one without this run's model
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "before")

    def __init__(
        self,
        *,
        before: str = "null",
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.before = before

    def find(self, hook: VertexHook, context: Context) -> dict[str, Any] | None:  # noqa: ARG002
        """Return the endpoint when this run's model is gone; skip where none was registered."""
        if not self.model:
            raise AirflowSkipException("this run registered no model: there is nothing to roll back")
        endpoint = registry.find_endpoint(hook, self.endpoint_name)
        if endpoint is None:
            return {"endpoint": self.endpoint_name}
        return None if endpoint.deployment_of(self.version) else {"endpoint": endpoint.name}

    def start(self, hook: VertexHook, context: Context) -> str | None:  # noqa: ARG002
        """Move the traffic back where it is not, else undeploy."""
        endpoint = registry.find_endpoint(hook, self.endpoint_name)
        own = endpoint.deployment_of(self.version) if endpoint else None
        if endpoint is None or own is None:
            return None
        if endpoint.split.get(own):
            registry.set_traffic(hook, endpoint, self._split(endpoint, own))
            return None
        return undeploy(hook, endpoint, own)

    def _split(self, endpoint: registry.LiveEndpoint, own: str) -> dict[str, int]:
        before: dict[str, int] = json.loads(self.before) or {}
        alive = {each: share for each, share in before.items() if each in endpoint.deployed}
        return traffic.without(alive or endpoint.split, own)


def _values(instances: Sequence[Mapping[str, object]]) -> list[Any]:
    """Return instances as the JSON values of protobuf that Predict takes."""
    from google.protobuf import json_format, struct_pb2  # noqa: PLC0415  # not at parse time

    return [json_format.ParseDict(dict(instance), struct_pb2.Value()) for instance in instances]


def _fare(prediction: object) -> float:
    """Return the fare in USD, or NaN for what is no number."""
    return float(prediction) if isinstance(prediction, int | float) else math.nan
