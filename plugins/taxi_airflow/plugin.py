"""Register what Airflow must know by name: the links of our operators, and the pages of the runs."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from taxi_airflow.links import BigQueryJobLink, ModelCardLink, ReplayLink
from taxi_airflow.page.mounted import MountedPage
from vertex_airflow.links import VertexLink

_PREFIX = "taxi"


class TaxiPlugin(AirflowPlugin):
    """Make the links of deserialized DAGs, and the pages, known to the web server.

    The addresses of the pages are relative: Airflow resolves them below its own base URL.
    """

    name = "taxi_airflow"
    operator_extra_links = [VertexLink(), ModelCardLink(), ReplayLink(), BigQueryJobLink()]  # noqa: RUF012  # AirflowPlugin declares an instance variable
    fastapi_apps = [{"name": "Taxi fares", "app": MountedPage(), "url_prefix": f"/{_PREFIX}"}]  # noqa: RUF012  # as above
    external_views = [  # noqa: RUF012  # as above
        {
            "name": "Model",
            "href": f"{_PREFIX}/dags/{{DAG_ID}}/runs/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "taxi-model",
        },
        {
            "name": "Taxi track record",
            "href": f"{_PREFIX}/dags/taxi_training",
            "destination": "nav",
            "category": "browse",
            "url_route": "taxi-track-record",
        },
    ]
