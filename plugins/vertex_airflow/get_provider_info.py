"""Metadata that Airflow reads from an installed provider, by the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return what ``airflow providers`` lists, by Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "vertex-airflow",
        "name": "Vertex AI",
        "description": "Vertex AI jobs that are never duplicated or orphaned, and safe promotion of models",
        "extra-links": ["vertex_airflow.links.VertexLink"],
    }
