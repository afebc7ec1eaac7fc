"""Print the deviations of exported trips from the reviewed schema; for the pipeline environment.

`python -m tests.pipeline.schema_objections FOLDER…` prints a JSON object of lists by folder.
"""

from __future__ import annotations

import json
import sys

from taxi_ml.evaluation import schemas
from taxi_ml.schema import objections
from tests.pipeline.requests import SCHEMA


def main() -> None:
    """Compare each export with the repository's schema."""
    reviewed = schemas.parse(SCHEMA.read_bytes())
    found = {folder: list(objections(folder, reviewed)) for folder in sys.argv[1:]}
    print(json.dumps(found))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
