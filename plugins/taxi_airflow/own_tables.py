"""The optional columns that a user's own table lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taxi_ml.sql import columns

if TYPE_CHECKING:
    from taxi_ml.settings import Settings


def absent_columns(client: Any, settings: Settings) -> frozenset[str]:  # noqa: ANN401  # google-cloud-bigquery has no types
    """Look up which optional columns `source_table` lacks; the public table has them all.

    :param client: a `google.cloud.bigquery.Client`
    """
    if not settings.source_table:
        return frozenset()
    table = client.get_table(settings.source_table)
    return columns.OPTIONAL - {field.name for field in table.schema}
