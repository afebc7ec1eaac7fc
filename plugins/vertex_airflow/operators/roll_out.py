"""Move an endpoint's traffic to a deployed model step by step, as long as its metrics are good."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow import endpoints, traffic
from vertex_airflow.baking import Baking
from vertex_airflow.guards import Guards, Verdict, WithoutMetrics
from vertex_airflow.operators.connected import check_given
from vertex_airflow.operators.promote import ShiftTrafficOperator
from vertex_airflow.operators.waiting import KILL_BOUND
from vertex_airflow.rollout import PlanError, Rollout, State, parse_plan
from vertex_airflow.triggers.handover import WAITING_TRY
from vertex_airflow.triggers.roll_out import RollOutTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from vertex_airflow.baseline import Baseline
    from vertex_airflow.endpoints import Deployment
    from vertex_airflow.guards import Assessment
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.rollout import Step


class RollOutOperator(ShiftTrafficOperator):
    """Give the new deployed model a rising share of the traffic, and all of it once every step has passed.

    A step passes when its time is over, and Cloud Monitoring has shown enough requests, few errors, and a
    95th percentile of the latencies near that of the model that serves beside it. A breach gives the traffic
    back and fails the task without a retry. Missing metrics never pass: the step waits, then goes back.

    The state is the endpoint, and the document at `rollout_uri`, which is written after the endpoint: a try
    that follows a lost one goes on with the step that the endpoint has. If a person ends the task, the
    traffic goes back; if it is cleared afterwards, or its worker was stopped, the step is repeated. At the
    end it does what `ShiftTrafficOperator` does.

    :param plan: percentages and times, such as ``10:15m 50:15m 100``; ``100`` is all traffic at once
    :param rollout_uri: ``gs://…`` object for the roll-out's document, of this run's own
    :param max_error_rate: errors allowed, as a fraction of the requests
    :param max_latency_ratio: the new model's 95th percentile divided by that of the other one
    :param min_requests: requests of each model without which a step only waits
    :param metrics_delay: age in seconds at which metrics are complete
    :param longest_wait: seconds that a step waits for requests after its own time
    :param without_metrics: what happens then: ``roll_back``, or ``wait`` for a person
    """

    template_fields: Sequence[str] = (
        *ShiftTrafficOperator.template_fields,
        "plan",
        "rollout_uri",
        "max_error_rate",
        "max_latency_ratio",
        "min_requests",
        "metrics_delay",
        "longest_wait",
        "without_metrics",
    )

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        plan: str,
        rollout_uri: str,
        max_error_rate: float | str = 0.01,
        max_latency_ratio: float | str = 1.5,
        min_requests: int | str = 100,
        metrics_delay: float | str = 300.0,
        longest_wait: float | str = 6 * 3600.0,
        without_metrics: str = "roll_back",
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.rollout_uri = rollout_uri
        self.max_error_rate = max_error_rate
        self.max_latency_ratio = max_latency_ratio
        self.min_requests = min_requests
        self.metrics_delay = metrics_delay
        self.longest_wait = longest_wait
        self.without_metrics = without_metrics
        # What a kill gives back; None while there is nothing.
        self._held: Baking | None = None
        self._generation = 0

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:
        """Go on from where the endpoint and the document are."""
        steps, _ = self._steps(), self._guards()
        baseline = self.baseline()
        rollout = self._read(state, baseline, steps)
        if rollout.state is State.ROLLED_BACK:
            self._give_back(hook, baseline, rollout.reason)
        if rollout.steps and rollout.state is State.RUNNING:
            self._held = self._baking(rollout, baseline)
        if not state.has_all_traffic and (objection := baseline.objection(state.endpoint, state.id)):
            reason = (
                f"on endpoint {self.endpoint_name!r} {objection}; start a new run, which compares with what "
                "serves now"
            )
            self._roll_back(hook, baseline, rollout, reason)
        if state.has_all_traffic or baseline.champion is None:
            return self._complete(hook, context, state, rollout)
        current = rollout.current
        if current is None:
            return self._move(hook, context, state, rollout, rollout.plan[0].percent)
        if current.ended is not None:
            return self._move(hook, context, state, rollout, current.percent)
        if state.share == current.percent:
            return self._hold(hook, context, state, rollout)
        following = rollout.after(current.percent).percent
        if state.share != following:
            reason = f"somebody else gave it {state.share} % of the traffic; its step has {current.percent} %"
            self._roll_back(hook, baseline, rollout, reason)
        # An earlier try ended between the change of the traffic and its record.
        return self._move(hook, context, state, rollout, following)

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002  # Airflow's
        """Look again: the trigger has seen that there is something to do."""
        self._context = context
        return self._advance(self.access.hook(), context, steps=0)

    def cancel(self, hook: VertexHook) -> None:
        """Give back the share that is held; all of the traffic, which comes last, is not."""
        if self._held is not None:
            self._held.interrupt(hook, self.store(), bound=KILL_BOUND)

    def _move(
        self, hook: VertexHook, context: Context, own: Deployment, rollout: Rollout, percent: int
    ) -> dict[str, Any]:
        """Begin a step: change the traffic, then write it down."""
        if percent == traffic.WHOLE:
            return self._complete(hook, context, own, rollout)
        begun = rollout.begin(percent, now=time.time())
        baseline = self.baseline()
        # From here on a kill gives the share back: the call that takes it may act before it answers.
        self._held = self._baking(begun, baseline)
        self.stop_if_killed()
        if own.share != percent:
            earlier = own.endpoint.still_deployed(baseline.split)
            others = traffic.restored(own.endpoint.split, own.id, earlier)
            try:
                endpoints.set_traffic(hook, own.endpoint, traffic.with_share(others, own.id, percent))
            finally:
                if self._killed.is_set():
                    endpoints.give_back(hook, self.endpoint_name, self.version, baseline.split)
        self.stop_if_killed()
        self._write(begun)
        self.log.info("%s has %d %% of the traffic", self.version, percent)
        # Another look: the etag and the split have changed.
        own = self._again(hook)
        return self.apply(hook, context, own)

    def _again(self, hook: VertexHook) -> Deployment:
        own = self.deployment(hook)
        if own is None:
            raise AirflowFailException(f"{self.version} was undeployed from endpoint {self.endpoint_name!r}")
        return own

    def _hold(self, hook: VertexHook, context: Context, own: Deployment, rollout: Rollout) -> dict[str, Any]:
        """Go on to the next step, go back, or wait."""
        baseline = self.baseline()
        held = self._baking(rollout, baseline)
        said = self._ask(held, own)
        while said.verdict is Verdict.WAITING:
            if self.deferrable:
                self._defer(context, held)
            self._sleep(self.longest_poll)
            own = self._again(hook)
            if own.share != held.percent:
                return self.apply(hook, context, own)
            said = self._ask(held, own)
        noted = rollout.note(said.readings, said.requests)
        if said.verdict is Verdict.BREACHED:
            self._roll_back(hook, baseline, noted, f"with {held.percent} % of the traffic, {said.reason}")
        self.log.info("%d %% has passed: %s", held.percent, "; ".join(map(str, said.readings)))
        return self._move(hook, context, own, noted, rollout.after(held.percent).percent)

    def _ask(self, held: Baking, own: Deployment) -> Assessment:
        monitoring = self.access.monitoring()
        try:
            return held.assess(monitoring, own)
        finally:
            monitoring.close()

    def _defer(self, context: Context, held: Baking) -> None:
        self.stop_if_killed()
        task = context["ti"]
        task.xcom_push(key=WAITING_TRY, value=task.try_number)
        access = self.access
        self.defer(
            trigger=RollOutTrigger(
                baking=held.to_json(),
                region=access.region,
                gcp_conn_id=access.gcp_conn_id,
                impersonation_chain=access.impersonation_chain,
                poll=self.longest_poll,
                settle=self.settle,
                outage=self.outage,
            ),
            method_name="resume",
        )

    def _complete(
        self, hook: VertexHook, context: Context, own: Deployment, rollout: Rollout
    ) -> dict[str, Any]:
        """Give it all traffic and the aliases."""
        self._held = None
        self.stop_if_killed()
        returned = super().apply(hook, context, own)
        if rollout.state is State.RUNNING:
            now = time.time()
            self._write(rollout.begin(traffic.WHOLE, now=now).over(State.DONE, now=now))
        return returned

    def _roll_back(self, hook: VertexHook, baseline: Baseline, rollout: Rollout, reason: str) -> NoReturn:
        """Write the reason down, then give the traffic back."""
        self._write(rollout.over(State.ROLLED_BACK, reason, now=time.time()))
        self._give_back(hook, baseline, reason)

    def _give_back(self, hook: VertexHook, baseline: Baseline, reason: str) -> NoReturn:
        endpoints.give_back(hook, self.endpoint_name, self.version, baseline.split)
        self._held = None
        raise AirflowFailException(f"{self.version} was rolled back: {reason}")

    def _baking(self, rollout: Rollout, baseline: Baseline) -> Baking:
        current = rollout.steps[-1]
        return Baking(
            endpoint_name=self.endpoint_name,
            version=str(self.version),
            rollout_uri=self.rollout_uri,
            before=baseline.split,
            percent=current.percent,
            began=current.began,
            seconds=rollout.planned(current.percent).bake_seconds,
            guards=self._guards(),
        )

    def _read(self, own: Deployment, baseline: Baseline, steps: tuple[Step, ...]) -> Rollout:
        """Return this deployment's roll-out, with the plan that it began with, or a new one."""
        check_given(rollout_uri=self.rollout_uri)
        deployed_at = own.endpoint.deployed_at[own.id]
        found = self.store().read_version(self.rollout_uri)
        self._generation = found[1] if found else 0
        if found:
            try:
                rollout = Rollout.from_json(found[0])
            except ValueError as error:
                raise AirflowFailException(f"{self.rollout_uri}: {error}; delete the object") from error
            withdrawn = rollout.state is State.DONE and not own.has_all_traffic
            if rollout.is_of(own.id, deployed_at) and not withdrawn:
                return rollout
        return Rollout(
            endpoint=own.endpoint.name,
            deployed_model=own.id,
            deployed_at=deployed_at,
            model=str(self.version),
            champion=str(baseline.champion.name) if baseline.champion else "",
            plan=steps,
        )

    def _write(self, rollout: Rollout) -> None:
        """Replace the document that was read.

        Raises:
            google.api_core.exceptions.Aborted: if another try has written it, so that a look must follow.

        """
        from google.api_core.exceptions import Aborted  # noqa: PLC0415  # not at parse time

        generation = self.store().replace(
            self.rollout_uri,
            rollout.to_json(),
            generation=self._generation,
            content_type="application/json",
        )
        if generation is None:
            raise Aborted(  # type: ignore[no-untyped-call]  # google.api_core gives it no types
                f"{self.rollout_uri} is not what it was any more"
            )
        self._generation = generation

    def _steps(self) -> tuple[Step, ...]:
        try:
            return parse_plan(self.plan)
        except PlanError as error:
            raise AirflowFailException(f"plan: {error}") from error

    def _guards(self) -> Guards:
        try:
            return Guards(
                max_error_rate=float(self.max_error_rate),
                max_latency_ratio=float(self.max_latency_ratio),
                min_requests=int(self.min_requests),
                metrics_delay=float(self.metrics_delay),
                longest_wait=float(self.longest_wait),
                without_metrics=WithoutMetrics(self.without_metrics),
            )
        except ValueError as error:
            raise AirflowFailException(f"a bound of the roll-out is wrong: {error}") from error
