"""Move an endpoint's traffic to a deployed model once it has answered test requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow import endpoints, golden, model_registry, traffic
from vertex_airflow.endpoints import Deployment
from vertex_airflow.golden import GoldenCheck, NoAnswerError
from vertex_airflow.operators.connected import is_empty
from vertex_airflow.operators.deploy import EndpointOperator
from vertex_airflow.operators.waiting import KILL_BOUND
from vertex_airflow.polling import ErrorKind, classify
from vertex_airflow.rollout import Rollout, State, parse_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import Context

    from vertex_airflow.baseline import Baseline
    from vertex_airflow.golden import GoldenRow
    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.objects import ObjectStore

_PAUSE_WHEN_KILLED = 0.2


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
    """Give the new deployed model a small share of the traffic until it has answered the golden requests.

    Predict can address only an endpoint, not one of its deployed models: a share of the traffic is the way
    to reach it. However the task ends, killed or not, the share goes back to those that it was taken from,
    so that between two tasks a model has all of the traffic or none of it. A prediction that differs from the
    evaluated model's fails the task without a retry. Returns ``{"endpoint", "deployed_model"}``.

    :param golden_uri: ``gs://…`` address of the golden rows, as `read_golden` takes it
    :param check_uri: ``gs://…`` object to write the comparison to, with both models' latency; empty: none
    :param share: percent of the traffic; an endpoint without traffic gives all of it
    :param answers: times that it has to answer; see `vertex_airflow.golden.GoldenCheck`
    :param ask_for: seconds in which it has to answer; a change of traffic takes effect within minutes
    :param shortest_pause: shortest time between two requests until it answers, in seconds
    :param longest_pause: longest time between two requests, after some that failed
    :param read_golden: reads the rows; the default takes a file with one JSON object
        ``{"instance", "prediction"}`` per line
    """

    template_fields: Sequence[str] = (
        *TrafficOperator.template_fields,
        "golden_uri",
        "check_uri",
        "share",
        "answers",
        "ask_for",
        "shortest_pause",
        "longest_pause",
    )

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        golden_uri: str,
        check_uri: str = "",
        share: int | str = 10,
        answers: int | str = 10,
        ask_for: float | str = 300.0,
        shortest_pause: float | str = 0.1,
        longest_pause: float | str = 5.0,
        read_golden: Callable[[ObjectStore, str], Sequence[GoldenRow]] = golden.read_json_lines,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.golden_uri = golden_uri
        self.check_uri = check_uri
        self.share = share
        self.answers = answers
        self.ask_for = ask_for
        self.shortest_pause = shortest_pause
        self.longest_pause = longest_pause
        self.read_golden = read_golden
        self._lender: Baseline | None = None

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:  # noqa: ARG002
        """Let the new model answer, and check its predictions."""
        if endpoints.is_promoted(hook, state, self.version):
            # Its record stands: the champion that it was compared with may be gone.
            self._ask(hook, state, check_uri="")
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

    def _golden_check(self) -> GoldenCheck:
        if is_empty(self.golden_uri):
            raise AirflowFailException("golden_uri is empty: no golden requests were kept; start a new run")
        try:
            return GoldenCheck(
                rows=self.read_golden(self.store(), self.golden_uri),
                answers=int(self.answers),
                bound=float(self.ask_for),
                shortest_pause=float(self.shortest_pause),
                longest_pause=float(self.longest_pause),
            )
        except ValueError as error:
            raise AirflowFailException(f"{self.golden_uri}: {error}") from error

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
            self._ask(hook, own, check_uri=self.check_uri)
        finally:
            # Only SIGKILL skips this; the next try, or the roll-back, then gives the share back.
            endpoints.give_back(hook, self.endpoint_name, self.version, baseline.split)

    def _ask(self, hook: VertexHook, own: Deployment, *, check_uri: str) -> None:
        """Let the new model answer, once its share has taken effect, and keep the comparison."""
        try:
            result = self._golden_check().ask(hook, own.endpoint.name, own.id, sleep=self._sleep)
        except NoAnswerError as error:
            raise AirflowFailException(f"with {self.share} % of the traffic, {error}") from error
        if not is_empty(check_uri):
            champion = traffic.busiest({**own.endpoint.split, own.id: 0})
            self.store().write(check_uri, result.to_json(champion=champion))
        if result.problem:
            raise AirflowFailException(result.problem)
        self.log.info(
            "%s answers %d golden requests as the evaluated model; the largest difference is %.1e",
            own.id,
            result.rows,
            result.largest_difference,
        )


class ShiftTrafficOperator(TrafficOperator):
    """Give the new deployed model all traffic, then its version the aliases `champion` and `default`.

    It also gets an alias that it keeps when the next one replaces it (`model_registry.served_alias`).
    Fails if the champion that the version was compared with no longer serves, or a model that the run does
    not know does. Returns ``{"endpoint", "deployed_model"}``.

    :param rollout_uri: ``gs://…`` object to write when this was, and instead of which version; empty: none
    """

    template_fields: Sequence[str] = (*TrafficOperator.template_fields, "rollout_uri")

    def __init__(
        self,
        *,
        rollout_uri: str = "",
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.rollout_uri = rollout_uri

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:  # noqa: ARG002
        """Move what has not moved yet."""
        if not state.has_all_traffic:
            self.check_unchanged(state.endpoint, state.id, self.baseline())
            endpoints.set_traffic(hook, state.endpoint, {state.id: traffic.WHOLE})
        aliases = (model_registry.CHAMPION, model_registry.DEFAULT, model_registry.served_alias(self.version))
        model_registry.give_aliases(hook, self.version, *aliases)
        if not is_empty(self.rollout_uri):
            self._record(state)
        return state.names

    def _record(self, own: Deployment) -> None:
        """Write the roll-out, unless an earlier try has."""
        store, deployed_at = self.store(), own.endpoint.deployed_at[own.id]
        if store.exists(self.rollout_uri) and Rollout.from_json(store.read(self.rollout_uri)).is_of(
            own.id, deployed_at
        ):
            return
        champion, now = self.baseline().champion, time.time()
        rollout = Rollout(
            endpoint=own.endpoint.name,
            deployed_model=own.id,
            deployed_at=deployed_at,
            model=str(self.version),
            champion=str(champion.name) if champion else "",
            plan=parse_plan(str(traffic.WHOLE)),
        )
        done = rollout.begin(traffic.WHOLE, now=now).over(State.DONE, now=now)
        store.write(self.rollout_uri, done.to_json())
