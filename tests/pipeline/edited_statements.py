"""Print the BigQuery jobs of a copy of the product: `python -m edited_statements DATASET BUCKET`.

Runs in the folder of the copy, so that `taxi_ml` is the copy.
"""

from __future__ import annotations

import json
import sys
from datetime import date

from taxi_ml import sql
from taxi_ml.modules.features import INPUTS
from taxi_ml.settings import Settings
from taxi_ml.splits import Split
from taxi_ml.sql import columns
from taxi_ml.sql.ranges import ranges
from taxi_ml.window import Window

WINDOW = Window(end=date(2015, 3, 1), train_months=6, test_months=1)


def main(dataset: str, bucket: str) -> None:
    """Print jobs in the order in which the DAG runs them, and what else depends on the columns."""
    settings = Settings(
        project="taxi-local", bucket=bucket, pipeline_image="image:1", dataset=dataset, history_months=6
    )
    own_table = settings.with_overrides(source_table=f"taxi-local.{dataset}.given")
    statements = {
        "create_schema": sql.create_schema(settings),
        "build_dataset": sql.build_dataset(settings, WINDOW),
        **{split.value: sql.export_split(settings, WINDOW, split) for split in Split},
    }
    found = {
        "jobs": {name: each.job_configuration(settings, {}) for name, each in statements.items()},
        "from_own_table": sql.build_dataset(own_table, WINDOW).sql,
        "required_of_own_table": sorted(columns.source(own_table)[1]),
        "ranges": ranges(settings, WINDOW),
        "inputs": INPUTS,
    }
    print(json.dumps(found))  # noqa: T201  # its answer


if __name__ == "__main__":
    main(*sys.argv[1:])
