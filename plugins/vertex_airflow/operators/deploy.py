"""Record what an endpoint serves, deploy a version beside it, and undeploy what that one replaced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow import endpoints
from vertex_airflow.baseline import Baseline
from vertex_airflow.endpoints import Deployment, LiveEndpoint
from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.labels import deployment_id
from vertex_airflow.names import ModelName
from vertex_airflow.operators.connected import check_given
from vertex_airflow.operators.operation import State, VertexOperationOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook


class RecordBaselineOperator(VertexOperationOperator[Baseline]):
    """Record what an endpoint serves, once per DAG run; the operators that promote replace nothing else.

    Another try, and a run that was cleared, return what was recorded. Returns ``{"name":
    "…/models/<id>@<n>", "uri": "gs://…"}`` of the model with most of the traffic. Both are empty if
    nothing serves: the endpoint's traffic says so, not an alias.

    :param endpoint_name: display name of the endpoint
    :param baseline_uri: ``gs://…`` object to record what serves in, of this run's own
    """

    template_fields: Sequence[str] = (
        *VertexOperationOperator.template_fields,
        "endpoint_name",
        "baseline_uri",
    )

    def __init__(
        self,
        *,
        endpoint_name: str,
        baseline_uri: str,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_name = endpoint_name
        self.baseline_uri = baseline_uri

    def find(self, hook: VertexHook, context: Context) -> Baseline:  # noqa: ARG002
        """Look at the endpoint's live traffic, unless the run has done so before."""
        check_given(baseline_uri=self.baseline_uri)
        store = self.store()
        if store.exists(self.baseline_uri):
            return Baseline.recorded(store, self.baseline_uri)
        return self.look(hook)

    def look(self, hook: VertexHook) -> Baseline:
        """Return what is recorded; a subclass may add an anchor and members."""
        return Baseline.live(hook, self.endpoint_name)

    def apply(self, hook: VertexHook, context: Context, state: Baseline) -> dict[str, Any]:
        """Record what serves, unless a subclass refuses it."""
        returned = self.returned(context, state)
        store = self.store()
        store.write_once(self.baseline_uri, state.to_json(), content_type="application/json")
        recorded = Baseline.recorded(store, self.baseline_uri)
        # Another try may have been first, and have seen something else.
        return returned if recorded == state else self.apply(hook, context, recorded)

    def returned(self, context: Context, baseline: Baseline) -> dict[str, Any]:  # noqa: ARG002  # for others
        """Return the value for XCom; a subclass raises here if nothing is to be recorded."""
        champion = baseline.champion
        return {"name": str(champion.name) if champion else "", "uri": champion.uri if champion else ""}


class EndpointOperator(VertexOperationOperator[State]):
    """Base of the operators that work on one endpoint, found by its display name.

    :param endpoint_name: display name of the endpoint, and its id when it is made
    :param model: the version that this run promotes, ``…/models/<id>@<n>``
    :param baseline_uri: ``gs://…`` object in which `RecordBaselineOperator` recorded what served before
    """

    template_fields: Sequence[str] = (
        *VertexOperationOperator.template_fields,
        "endpoint_name",
        "model",
        "baseline_uri",
    )

    def __init__(
        self,
        *,
        endpoint_name: str,
        model: str,
        baseline_uri: str,
        **kwargs: Any,  # noqa: ANN401  # WaitingOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.endpoint_name = endpoint_name
        self.model = model
        self.baseline_uri = baseline_uri

    def baseline(self) -> Baseline:
        """Return what served before the run.

        Raises:
            AirflowFailException: if it was never recorded, or has been deleted.

        """
        check_given(baseline_uri=self.baseline_uri)
        return Baseline.recorded(self.store(), self.baseline_uri)

    def check_unchanged(self, endpoint: LiveEndpoint | None, own: str | None, baseline: Baseline) -> None:
        """Stop if somebody else has changed what serves since the run began.

        Raises:
            AirflowFailException: saying what serves now, and what this run was compared with.

        """
        objection = baseline.objection(endpoint, own)
        if objection is None:
            return
        champion = baseline.champion
        compared = f"was compared with {champion.name}" if champion else "found nothing that served"
        raise AirflowFailException(
            f"{self.model} {compared}, but on endpoint {self.endpoint_name!r} {objection}; "
            "start a new run, which compares with what serves now"
        )

    @property
    def version(self) -> ModelName:
        """The version that this run promotes."""
        check_given(model=self.model)
        return ModelName.parse(self.model)

    def scope(self, hook: VertexHook) -> str | None:
        """Return the endpoint: a deployment of an earlier try may still be going on."""
        endpoint = self.endpoint(hook)
        return endpoint.name if endpoint else f"{hook.location}/endpoints/{self.endpoint_name}"

    def endpoint(self, hook: VertexHook) -> LiveEndpoint | None:
        """Return the endpoint as it is now."""
        return endpoints.find_endpoint(hook, self.endpoint_name)

    def deployment(self, hook: VertexHook) -> Deployment | None:
        """Return this run's deployed model on the endpoint as it is now."""
        return endpoints.find_deployment(hook, self.endpoint_name, self.version)


class DeployModelOperator(EndpointOperator[Deployment]):
    """Deploy the version at 0 % traffic, on an endpoint that is made if there is none.

    Returns ``{"endpoint", "deployed_model"}``. The deployed model's id stands for the version, so that
    Vertex AI refuses a second one. Nothing is deployed if the champion that the version was compared with
    no longer serves.

    :param machine_type: such as ``n1-standard-2``
    :param service_account: e-mail address of the account that serves; empty: the project's
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "machine_type", "service_account")

    def __init__(
        self,
        *,
        machine_type: str,
        service_account: str = "",
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.machine_type = machine_type
        self.service_account = service_account

    def find(self, hook: VertexHook, context: Context) -> Deployment | None:  # noqa: ARG002
        """Return this version's deployment."""
        return self.deployment(hook)

    def apply(self, hook: VertexHook, context: Context, state: Deployment) -> dict[str, Any]:  # noqa: ARG002
        """Return the endpoint and the deployed model."""
        return state.names

    def start(self, hook: VertexHook, context: Context) -> str:  # noqa: ARG002
        """Make the endpoint, or deploy the version on it."""
        endpoint = self.endpoint(hook)
        self.check_unchanged(endpoint, None, self.baseline())
        if endpoint is None:
            created = hook.endpoints.create_endpoint(
                {
                    "parent": hook.location,
                    "endpoint": {"display_name": self.endpoint_name},
                    "endpoint_id": self.endpoint_name,
                },
                timeout=CALL_TIMEOUT,
            )
            return str(created.operation.name)
        deployment = hook.endpoints.deploy_model(
            {"endpoint": endpoint.name, "deployed_model": self._deployed_model()}, timeout=CALL_TIMEOUT
        )
        return str(deployment.operation.name)

    def _deployed_model(self) -> dict[str, Any]:
        version = self.version
        return {
            "id": deployment_id(version.location, version.id, str(version.version)),
            "model": str(version),
            "display_name": f"{version.id}-v{version.version}",
            "service_account": self.service_account,
            "dedicated_resources": {
                "machine_spec": {"machine_type": self.machine_type},
                "min_replica_count": 1,
                "max_replica_count": 1,
            },
        }


class UndeployOthersOperator(EndpointOperator[LiveEndpoint]):
    """Undeploy the versions of this model that the run replaced, and those that ended runs have left.

    The former served before the run and have no traffic now. The latter have none either, and were deployed
    longer ago than any promotion takes: a run that ends between its shift and this task leaves one. Neither
    another model nor a version that another run has just deployed is touched. Returns ``{"endpoint"}``.

    :param left_after: seconds after its deployment from which a version without traffic counts as left behind
    """

    template_fields: Sequence[str] = (*EndpointOperator.template_fields, "left_after")

    def __init__(
        self,
        *,
        left_after: float | str = 2 * 24 * 3600.0,
        **kwargs: Any,  # noqa: ANN401  # EndpointOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.left_after = left_after

    def find(self, hook: VertexHook, context: Context) -> LiveEndpoint | None:  # noqa: ARG002
        """Return the endpoint, or None while something is deployed on it that should not be."""
        endpoint = self.endpoint(hook)
        return None if endpoint is None or self._idle(endpoint) else endpoint

    def apply(self, hook: VertexHook, context: Context, state: LiveEndpoint) -> dict[str, Any]:  # noqa: ARG002
        """Return the endpoint."""
        return {"endpoint": state.name}

    def start(self, hook: VertexHook, context: Context) -> str | None:  # noqa: ARG002
        """Undeploy the next one."""
        endpoint = self.endpoint(hook)
        idle = self._idle(endpoint) if endpoint else []
        return endpoints.undeploy(hook, endpoint, idle[0]) if endpoint and idle else None

    def _idle(self, endpoint: LiveEndpoint) -> list[str]:
        own = endpoint.deployment_of(self.version)
        replaced = endpoint.still_deployed(self.baseline().split)
        long_ago = time.time() - float(self.left_after)
        return sorted(
            each
            for each, version in endpoint.deployed.items()
            if not (own and each == own.id)
            and not endpoint.split.get(each)
            and version.is_model(self.version)
            and (each in replaced or endpoint.deployed_at[each] < long_ago)
        )
