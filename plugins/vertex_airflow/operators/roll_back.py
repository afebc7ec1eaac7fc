"""Undo a promotion that did not end: traffic, aliases and the deployed model."""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vertex_airflow import registry, traffic
from vertex_airflow.operators.deploy import EndpointOperator, undeploy
from vertex_airflow.operators.promote import give_back
from vertex_airflow.rendered import is_empty, is_true

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from vertex_airflow.baseline import Baseline
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.names import ModelName

_MOVED = frozenset({registry.CHAMPION, registry.DEFAULT})


class RollBackOperator(EndpointOperator):
    """Take this run's model out of service unless its promotion has ended.

    A teardown: Airflow runs it after a success, a failure, and when a person marks the run failed. It
    changes the share of its own model only, takes its aliases back to the version that serves, undeploys
    it, and then **fails**, so that no run whose promotion was undone ends as a success. It skips where
    there is nothing to undo.

    :param declined: whether the run has decided not to promote
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "declined")
    # A deployment of the run's own may go on that was not cancelled: its worker was lost a moment ago.
    doubts_first_try = True

    def __init__(
        self,
        *,
        declined: bool | str = False,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.declined = declined

    def find(self, hook: VertexHook, context: Context) -> dict[str, Any] | None:
        """Return None while this run's model is deployed and not promoted.

        Raises:
            AirflowSkipException: where there is nothing to undo.
            AirflowFailException: when all is undone.

        """
        if is_empty(self.model):
            self._end_without_model(context)
        endpoint = registry.find_endpoint(hook, self.endpoint_name)
        if endpoint is not None and registry.is_promoted(hook, endpoint, self.version):
            raise AirflowSkipException(f"{self.version} is promoted: there is nothing to roll back")
        if endpoint is not None and endpoint.deployment_of(self.version):
            self.doubt.end()
            return None
        if endpoint is not None and self.doubt.holds(now=time.monotonic()):
            return None
        self._settle_aliases(hook, endpoint)
        busiest = traffic.busiest(endpoint.split) if endpoint else None
        serving = endpoint.deployed[busiest] if endpoint and busiest else "nothing"
        raise AirflowFailException(
            f"{self.version} is not promoted; {serving} serves on endpoint {self.endpoint_name!r}"
        )

    def start(self, hook: VertexHook, context: Context) -> str | None:  # noqa: ARG002
        """Take the traffic away where there is some, else undeploy."""
        endpoint = registry.find_endpoint(hook, self.endpoint_name)
        own = endpoint.deployment_of(self.version) if endpoint else None
        if endpoint is None or own is None:
            return None
        if endpoint.split.get(own):
            give_back(hook, self.endpoint_name, self.version, self._known())
            return None
        return undeploy(hook, endpoint, own)

    def undo(self, context: Context) -> None:
        """Undo a promotion outside of a task, without deferring."""
        self.deferrable = False
        self._context = context
        self._advance(self.access.hook(), context, steps=0)

    def _known(self) -> Baseline | None:
        """Return what served before, or None where nobody knows: traffic must go back all the same."""
        try:
            return self.baseline()
        except AirflowFailException as error:
            self.log.warning("%s", error)
            return None

    def _end_without_model(self, context: Context) -> None:
        if is_true(self.declined):
            raise AirflowSkipException("this run decided not to promote: there is nothing to roll back")
        run_id = str(context["run_id"])
        states = context["ti"].get_task_states(dag_id=self.dag_id, run_ids=[run_id]).get(run_id, {})
        if "upstream_failed" in states.values():
            raise AirflowSkipException("this run registered no model: there is nothing to roll back")
        # Airflow skips what has not begun, and takes a run whose last tasks were skipped for a success.
        raise AirflowFailException("this run was ended before it registered a model; nothing was promoted")

    def _settle_aliases(self, hook: VertexHook, endpoint: registry.LiveEndpoint | None) -> None:
        """Take `champion` and `default` to the version that serves, and `challenger` away."""
        moved = registry.aliases_of(hook, self.version) & _MOVED
        serving = self._serving(endpoint)
        if moved and serving is not None:
            registry.give_aliases(hook, serving, *sorted(moved))
        registry.take_aliases(hook, self.version, registry.CHAMPION, registry.CHALLENGER)

    def _serving(self, endpoint: registry.LiveEndpoint | None) -> ModelName | None:
        """Return the version of this model that serves, or served before; an alias cannot leave its model."""
        busiest = traffic.busiest(endpoint.split) if endpoint else None
        known = self._known()
        names = [endpoint.deployed[busiest]] if endpoint and busiest else []
        names += [known.champion.name] if known and known.champion else []
        return next((name for name in names if name.is_model(self.version)), None)


def roll_back_when_timed_out(context: Context) -> None:
    """Do what the DAG's RollBackOperators would do: Airflow skips every task of a run that timed out.

    The `on_failure_callback` of a DAG, which Airflow calls in the DAG processor.
    """
    if context.get("reason") != "timed_out" or "ti" not in context:
        return
    for task in context["dag"].tasks:
        if isinstance(task, RollBackOperator):
            undoing = copy(task)
            undoing.render_template_fields(context)
            try:
                undoing.undo(context)
            except (AirflowFailException, AirflowSkipException) as end:
                undoing.log.info("%s", end)
