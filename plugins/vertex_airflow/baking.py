"""A step of a roll-out while it is held: look at it, and give its traffic back when its task is killed."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from vertex_airflow import endpoints, traffic
from vertex_airflow.guards import Bake, Guards, WithoutMetrics
from vertex_airflow.names import ModelName
from vertex_airflow.polling import ErrorKind, classify
from vertex_airflow.rollout import Rollout, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vertex_airflow.endpoints import Deployment
    from vertex_airflow.guards import Assessment
    from vertex_airflow.hooks.monitoring import MonitoringHook
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore

_LOG = logging.getLogger(__name__)
_PAUSE_WHEN_KILLED = 0.2
# Seconds by which a time in the document may differ from the one that was written.
_RESOLUTION = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Baking:
    """A share of the traffic, in percent, that a version holds for some seconds since `began`.

    :param endpoint_name: the endpoint's display name
    :param version: ``…/models/<id>@<n>``
    :param rollout_uri: ``gs://…`` object with the roll-out's document
    :param before: the split before the run
    """

    endpoint_name: str
    version: str
    rollout_uri: str
    before: Mapping[str, int]
    percent: int
    began: float
    seconds: float
    guards: Guards

    def look(self, hook: VertexHook, monitoring: MonitoringHook) -> Assessment | None:
        """Return what the guards say now, or None if the endpoint is not as this step left it."""
        own = endpoints.find_deployment(hook, self.endpoint_name, ModelName.parse(self.version))
        if own is None or own.share != self.percent:
            return None
        return self.assess(monitoring, own)

    def assess(self, monitoring: MonitoringHook, own: Deployment) -> Assessment:
        """Return what the guards say now; transient errors are raised until the longest wait is over."""
        now = time.time()
        champion = traffic.busiest({**own.endpoint.split, own.id: 0})
        if champion is None:
            return self.guards.unreadable("nothing else serves to compare with")
        try:
            points = monitoring.points(own.endpoint.name, (own.id, champion), began=self.began, until=now)
        except Exception as error:
            bound = self.seconds + self.guards.metrics_delay + self.guards.longest_wait
            if classify(error) is ErrorKind.TRANSIENT and now < self.began + bound:
                raise
            return self.guards.unreadable(f"{type(error).__name__}: {error}")
        step = Bake(began=self.began, seconds=self.seconds)
        return self.guards.assess(points, own.id, champion, step=step, now=now)

    def interrupt(self, hook: VertexHook, store: ObjectStore, *, bound: float) -> None:
        """Give the share back, trying again for `bound` seconds, and note first that the step has ended.

        A next try repeats a step that has ended so. If it has begun it already, the traffic is that try's.
        """
        try:
            if not self._end(store):
                return
        except Exception:  # noqa: BLE001  # the traffic must go back in any case
            _LOG.exception("%s could not be written; giving the traffic back", self.rollout_uri)
        deadline = time.monotonic() + bound
        while True:
            try:
                version = ModelName.parse(self.version)
                endpoints.give_back(hook, self.endpoint_name, version, self.before)
            except Exception as error:
                passing = classify(error) in {ErrorKind.TRANSIENT, ErrorKind.CONFLICT}
                if not passing or time.monotonic() >= deadline:
                    raise
                time.sleep(_PAUSE_WHEN_KILLED)
            else:
                return

    def _end(self, store: ObjectStore) -> bool:
        """End the step in the document; return False if another try has begun another one."""
        found = store.read_version(self.rollout_uri)
        if found is None:
            return True
        rollout, generation = Rollout.from_json(found[0]), found[1]
        current = rollout.current
        if rollout.state is not State.RUNNING or current is None:
            return True
        if current.began > self.began + _RESOLUTION:
            return False
        ended = rollout.end(now=time.time())
        replaced = store.replace(
            self.rollout_uri, ended.to_json(), generation=generation, content_type="application/json"
        )
        return replaced is not None or self._end(store)

    def to_json(self) -> dict[str, Any]:
        """Return the arguments of a trigger."""
        guards = {**asdict(self.guards), "without_metrics": self.guards.without_metrics.value}
        return {**asdict(self), "before": dict(self.before), "guards": guards}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the step that `to_json` wrote."""
        guards = dict(document["guards"])
        guards["without_metrics"] = WithoutMetrics(guards["without_metrics"])
        return cls(**{**document, "guards": Guards(**guards)})
