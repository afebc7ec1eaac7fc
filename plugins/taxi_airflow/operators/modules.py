"""Upload the user modules and the compile request to addresses that follow from their content."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.runs import run_of
from taxi_ml import naming
from taxi_ml.gate.champion import Champion
from taxi_ml.pipeline.modules_check import ModuleError, read_modules
from taxi_ml.pipeline.parameters import RunParameters
from taxi_ml.pipeline.request import CompileRequest
from vertex_airflow.labels import job_id
from vertex_airflow.operators.connected import ConnectedOperator, is_empty, is_true

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class UploadModulesOperator(ConnectedOperator):
    """Check the modules, and upload them and the schema unless they are there; returns the digest of all.

    A syntax error or a missing function fails the task without a retry, with file and line.

    :param folder: local folder of the modules
    :param schema: local file of the reviewed schema
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "folder", "schema")
    ui_color = "#ceead6"

    def __init__(
        self,
        *,
        folder: str,
        schema: str,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.schema = schema

    def execute(self, context: Context) -> str:
        """Check and upload."""
        try:
            modules = read_modules(Path(self.folder), Path(self.schema))
        except ModuleError as error:
            raise AirflowFailException(str(error)) from error
        store = self.store()
        target = naming.modules_uri(run_of(context).settings, modules.digest)
        for name, content in modules.files.items():
            written = store.write_once(f"{target}/{name}", content)
            self.log.info("%s %s/%s", "Uploaded" if written else "Kept", target, name)
        return modules.digest


class WriteRequestOperator(ConnectedOperator):
    """Write the request to the compiler, and this run's values for the parameters of the compiled pipeline.

    Returns ``{"compiled", "parameters"}``: the ``gs://`` folder of request.json and pipeline.json, which does
    not depend on the month, and the address of the values, which belong to this run alone.

    :param modules_digest: what `UploadModulesOperator` returned
    :param rows: the trips of each split, as JSON; see `CheckRowsOperator`
    :param champion_name: resource name of the version in production; empty: there is none
    :param champion_uri: ``gs://…`` folder of its SavedModel; empty: the run compares with no model
    :param anchor_name: resource name of an earlier version to compare with too; empty: there is none
    :param anchor_uri: ``gs://…`` folder of its SavedModel
    :param members: ``gs://…`` folders of earlier models, separated by spaces, to average the new one with
    :param enable_cache: whether components may take their outputs from the cache
    """

    template_fields: Sequence[str] = (
        *ConnectedOperator.template_fields,
        "modules_digest",
        "rows",
        "champion_name",
        "champion_uri",
        "anchor_name",
        "anchor_uri",
        "members",
        "enable_cache",
    )
    ui_color = "#ceead6"

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        modules_digest: str,
        rows: str,
        champion_name: str = "",
        champion_uri: str = "",
        anchor_name: str = "",
        anchor_uri: str = "",
        members: str = "",
        enable_cache: bool | str = True,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.modules_digest = modules_digest
        self.rows = rows
        self.champion_name = champion_name
        self.champion_uri = champion_uri
        self.anchor_name = anchor_name
        self.anchor_uri = anchor_uri
        self.members = members
        self.enable_cache = enable_cache

    def execute(self, context: Context) -> dict[str, str]:
        """Write request.json beside where pipeline.json will be, and the parameters into the run's folder."""
        run = run_of(context)
        settings = run.size(self.rows).applied_to(run.settings)
        champion = _model(self.champion_name, self.champion_uri)
        cached = is_true(self.enable_cache)
        request = CompileRequest.of(
            settings,
            modules_digest=self.modules_digest,
            compares=champion is not None,
            enable_cache=cached,
        )
        parameters = RunParameters.of(
            settings,
            run.window,
            champion=champion,
            anchor=_model(self.anchor_name, self.anchor_uri),
            members=() if is_empty(self.members) else tuple(self.members.split()),
            cache_day=datetime.now(UTC).date() if cached else None,
            override=run.override,
        )
        folder = naming.compile_uri(settings, self.modules_digest, request.digest)
        values = naming.parameters_uri(settings, job_id(self.dag_id, str(context["dag_run"].run_id)))
        store = self.store()
        store.write(f"{folder}/request.json", request.to_json().encode())
        store.write(values, json.dumps(parameters.values(request), indent=2, sort_keys=True).encode())
        return {"compiled": folder, "parameters": values}


def _model(name: str, uri: str) -> Champion | None:
    return None if is_empty(name) or is_empty(uri) else Champion(name=name, uri=uri.rstrip("/"))
