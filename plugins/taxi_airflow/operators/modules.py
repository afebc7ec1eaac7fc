"""Put the user modules, and what is asked of the compiler, where their content says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.objects import ObjectStore
from taxi_airflow.runs import run_of
from taxi_ml import naming
from taxi_ml.pipeline.modules_check import ModuleError, read_modules
from taxi_ml.pipeline.request import Champion, CompileRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class UploadModulesOperator(BaseOperator):
    """Check the modules and upload those that are not there yet; returns their digest.

    A syntax error or a missing function fails the task for good, with file and line.

    :param folder: local folder of the modules
    """

    template_fields: Sequence[str] = ("folder", "gcp_conn_id", "impersonation_chain")
    ui_color = "#ceead6"

    def __init__(
        self,
        *,
        folder: str,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401  # BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.folder = folder
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> str:
        """Check and upload."""
        try:
            modules = read_modules(Path(self.folder))
        except ModuleError as error:
            raise AirflowFailException(str(error)) from error
        store = ObjectStore(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        target = naming.modules_uri(run_of(context).settings, modules.digest)
        for name, content in modules.files.items():
            written = store.write_once(f"{target}/{name}", content)
            self.log.info("%s %s/%s", "Uploaded" if written else "Kept", target, name)
        return modules.digest


class WriteRequestOperator(BaseOperator):
    """Write what the compiler is asked for; returns the ``gs://`` folder of request.json and pipeline.json.

    :param modules_digest: what `UploadModulesOperator` returned
    :param champion_name: resource name of the version that serves; empty: nothing serves
    :param champion_uri: ``gs://…`` folder of its SavedModel
    :param enable_cache: whether components may take their outputs from the cache
    """

    template_fields: Sequence[str] = (
        "modules_digest",
        "champion_name",
        "champion_uri",
        "enable_cache",
        "gcp_conn_id",
        "impersonation_chain",
    )
    ui_color = "#ceead6"

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        modules_digest: str,
        champion_name: str = "",
        champion_uri: str = "",
        enable_cache: bool | str = True,
        gcp_conn_id: str = "google_cloud_default",
        impersonation_chain: str | Sequence[str] | None = None,
        **kwargs: Any,  # noqa: ANN401  # BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.modules_digest = modules_digest
        self.champion_name = champion_name
        self.champion_uri = champion_uri
        self.enable_cache = enable_cache
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def execute(self, context: Context) -> str:
        """Write request.json beside where pipeline.json will be."""
        run = run_of(context)
        serving = self.champion_name not in {"", "None"}
        champion = Champion(name=self.champion_name, uri=self.champion_uri.rstrip("/")) if serving else None
        request = CompileRequest.of(
            run.settings,
            run.window,
            modules_digest=self.modules_digest,
            champion=champion,
            enable_cache=str(self.enable_cache).lower() == "true",
        )
        folder = naming.compile_uri(run.settings, self.modules_digest, request.digest)
        store = ObjectStore(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        store.write(f"{folder}/request.json", request.to_json().encode())
        return folder
