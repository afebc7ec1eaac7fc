"""Undo a promotion that was not completed: its traffic, aliases and deployed model."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vertex_airflow import endpoints, model_registry
from vertex_airflow.operators.connected import check_given, is_empty, is_true
from vertex_airflow.operators.deploy import EndpointOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from vertex_airflow.baseline import Baseline
    from vertex_airflow.endpoints import LiveEndpoint
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.names import ModelName

_MOVED = frozenset({model_registry.CHAMPION, model_registry.DEFAULT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """A run's model is no longer deployed, or never was; `endpoint` is what is left, if there is one."""

    endpoint: LiveEndpoint | None

    @property
    def serving(self) -> ModelName | None:
        """The version with most of the traffic."""
        return self.endpoint.busiest if self.endpoint is not None else None


class RollBackOperator(EndpointOperator[Withdrawn]):
    """Take this run's model out of service unless its promotion is complete.

    A teardown: Airflow runs it after a success, a failure, and when a person marks the run failed. It
    changes the share of its own model only, takes its aliases back to the version that serves, undeploys
    it, and then **fails**, so that no run whose promotion was undone ends as a success. It skips where
    there is nothing to undo.

    :param declined: whether the run has decided not to promote
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "declined")
    # The run's own deployment may still be in progress: nothing cancels it when its worker is lost.
    doubts_first_try = True

    def __init__(
        self,
        *,
        declined: bool | str = False,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.declined = declined

    def scope(self, hook: VertexHook) -> str | None:
        """Return the endpoint; None without a model: the run may have ended before it had a region."""
        if is_empty(self.model):
            return None
        check_given(region=self.region, endpoint_name=self.endpoint_name)
        return super().scope(hook)

    def find(self, hook: VertexHook, context: Context) -> Withdrawn | None:
        """Return None while this run's model is deployed and not promoted.

        Raises:
            AirflowSkipException: where there is nothing to undo.
            AirflowFailException: where the run was ended before it had a model.

        """
        if is_empty(self.model):
            self._end_without_model(context)
        endpoint = self.endpoint(hook)
        own = endpoint.deployment_of(self.version) if endpoint else None
        if own is None:
            return Withdrawn(endpoint=endpoint)
        if endpoints.is_promoted(hook, own, self.version):
            raise AirflowSkipException(f"{self.version} is promoted: there is nothing to roll back")
        return None

    def may_be_under_way(self, state: Withdrawn | None) -> bool:
        """Return whether a deployment may be in progress: on an endpoint that does not have the model yet."""
        return state is not None and state.endpoint is not None

    def start(self, hook: VertexHook, context: Context) -> str | None:  # noqa: ARG002
        """Take the model's traffic away, where it has some, and undeploy it."""
        own = self.deployment(hook)
        if own is not None and own.share:
            known = self._known()
            endpoints.give_back(hook, self.endpoint_name, self.version, known.split if known else {})
            own = self.deployment(hook)
        # Vertex AI does not undeploy a model that got traffic again in the meantime: look again.
        return endpoints.undeploy(hook, own.endpoint, own.id) if own and not own.share else None

    def apply(self, hook: VertexHook, context: Context, state: Withdrawn) -> NoReturn:  # noqa: ARG002
        """Take `champion` and `default` to the version that serves, and the promotion's others away.

        Raises:
            AirflowFailException: once everything is undone.

        """
        moved = model_registry.aliases_of(hook, self.version) & _MOVED
        if moved and (successor := self._successor(state)) is not None:
            model_registry.give_aliases(hook, successor, *sorted(moved))
        served = model_registry.served_alias(self.version)
        model_registry.take_aliases(
            hook, self.version, model_registry.CHAMPION, model_registry.CHALLENGER, served
        )
        raise AirflowFailException(
            f"{self.version} is not promoted; {state.serving or 'nothing'} serves on endpoint "
            f"{self.endpoint_name!r}"
        )

    def undo(self, context: Context) -> None:
        """Undo a promotion outside of a task, without deferring."""
        self.deferrable = False
        self._context = context
        self._advance(self.access.hook(), context, steps=0)

    def _known(self) -> Baseline | None:
        """Return what served before, or None if the record is lost: traffic must go back even then."""
        try:
            return self.baseline()
        except AirflowFailException as error:
            self.log.warning("%s", error)
            return None

    def _end_without_model(self, context: Context) -> NoReturn:
        if is_true(self.declined):
            raise AirflowSkipException("this run decided not to promote: there is nothing to roll back")
        run_id = str(context["run_id"])
        states = context["ti"].get_task_states(dag_id=self.dag_id, run_ids=[run_id]).get(run_id, {})
        if "upstream_failed" in states.values():
            raise AirflowSkipException("this run registered no model: there is nothing to roll back")
        # Airflow skips what has not begun, and counts a run whose last tasks were skipped as a success.
        raise AirflowFailException("this run was ended before it registered a model; nothing was promoted")

    def _successor(self, state: Withdrawn) -> ModelName | None:
        """Return the version of this model that serves, or served before; an alias cannot leave its model."""
        known = self._known()
        before = known.champion.name if known and known.champion else None
        candidates = (state.serving, before)
        return next((each for each in candidates if each and each.is_model(self.version)), None)


def roll_back_when_timed_out(context: Context) -> None:
    """Do what the DAG's RollBackOperators would do: Airflow skips every task of a run that timed out.

    The `on_failure_callback` of a DAG, which Airflow calls in the DAG processor.
    """
    if context.get("reason") != "timed_out" or "ti" not in context:
        return
    for task in context["dag"].tasks:
        if isinstance(task, RollBackOperator):
            # Rendering changes a task, and this process shares the DAG between all of its runs.
            undoing = copy(task)
            undoing.render_template_fields(context)
            try:
                undoing.undo(context)
            except (AirflowFailException, AirflowSkipException) as end:
                undoing.log.info("%s", end)
