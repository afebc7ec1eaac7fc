"""Register what Airflow must know by name: the links of our operators."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from taxi_airflow.links import BigQueryJobLink, ModelCardLink, ReplayLink
from vertex_airflow.links import VertexLink


class TaxiPlugin(AirflowPlugin):
    """Make the links of deserialized DAGs known to the web server."""

    name = "taxi_airflow"
    operator_extra_links = [VertexLink(), ModelCardLink(), ReplayLink(), BigQueryJobLink()]  # noqa: RUF012  # AirflowPlugin declares an instance variable
