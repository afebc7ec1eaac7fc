"""The product's fare model against boosted trees and simpler guesses, on the same exported trips.

Every window's trips come from the product's SQL on the local BigQuery; the pipeline environment trains on
them.
The model's settings were chosen on test months up to January 2015, so the windows here end later.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from google.auth.credentials import AnonymousCredentials  # noqa: E402  # after the path
from google.cloud import bigquery  # noqa: E402  # as above

from benchmarks.fare_models.errors import BASELINE, Errors, pooled  # noqa: E402  # as above
from local_gcp.layout import PROJECT, Layout  # noqa: E402  # as above
from local_gcp.services import CLOUD  # noqa: E402  # as above
from local_gcp.stack import Stack  # noqa: E402  # as above
from taxi_ml import naming, sql  # noqa: E402  # as above
from taxi_ml.settings import Settings, Window  # noqa: E402  # as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PRODUCT = "product"


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, train, and print errors and ratios."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-model-") as folder:
        stack = Stack(Layout(state=Path(folder, "cloud").resolve()), declarations=CLOUD)
        try:
            stack.up(("bigquery", "gcs"))
            settings = Settings.from_environment(stack.client_environment())
            windows = [_exported(stack, settings, end) for end in _ends(options.first, options.windows)]
            data = Path(folder, "cloud", "gcs", settings.bucket.removeprefix("gs://"), "data").resolve()
            results = [_scored(settings, data / window, Path(folder, window)) for window in windows]
        finally:
            stack.down()
    _print(windows, results)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--first", type=date.fromisoformat, default=date(2015, 4, 1), help="end of the first window"
    )
    parser.add_argument("--windows", type=int, default=9, help="how many consecutive months")
    return parser.parse_args(arguments)


def _ends(first: date, count: int) -> Iterator[date]:
    for month in range(first.month - 1, first.month - 1 + count):
        yield date(first.year + month // 12, month % 12 + 1, 1)


def _exported(stack: Stack, settings: Settings, end: date) -> str:
    """Build and export a window as the DAG does; return its id."""
    window = Window.ending(end, train_months=settings.train_months, test_months=settings.test_months)
    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),  # type: ignore[no-untyped-call]  # google.auth has none
        client_options={"api_endpoint": stack.client_environment()["BIGQUERY_EMULATOR_HOST"]},
    )
    exports = [sql.export_split(settings, window, split) for split in naming.Split]
    for statement in (sql.create_schema(settings), sql.build_dataset(settings, window), *exports):
        configuration: Any = bigquery.QueryJobConfig.from_api_repr(statement.job_configuration(settings, {}))
        client.query_and_wait(statement.sql, job_config=configuration)
    return window.id


def _scored(settings: Settings, data: Path, folder: Path) -> dict[str, Errors]:
    """Train all models on a window in the pipeline environment; return their errors on its test rows."""
    folder.mkdir()
    request: dict[str, Any] = {
        "data": str(data),
        "steps": settings.train_steps,
        "options": {
            "batch_size": settings.batch_size,
            "seed": settings.seed,
            "tuner_trials": settings.tuner_trials,
            "tuner_steps": settings.tuner_steps,
            "tuner_minutes": 30.0,
        },
    }
    (folder / "request.json").write_text(json.dumps(request))
    with (folder / "log").open("wb") as log:
        outcome = subprocess.run(
            [REPOSITORY / ".pipeline/bin/python", "-m", "benchmarks.fare_models.score", folder],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=False,
            stdout=log,
            stderr=log,
        )
    if outcome.returncode:
        sys.exit(f"{data.name}: training failed\n{(folder / 'log').read_text()[-4000:]}")
    found = json.loads((folder / "errors.json").read_text())
    result = {name: Errors(errors) for name, errors in found.items()}
    print(_line(data.name, result), flush=True)
    return result


def _line(name: str, result: dict[str, Errors]) -> str:
    product, baseline = result[PRODUCT], result[BASELINE]
    ratios = f"{product.rmse / baseline.rmse:6.3f} {product.mae / baseline.mae:6.3f}"
    cells = "  ".join(f"{model} {errors.rmse:5.2f} {errors.mae:5.2f}" for model, errors in result.items())
    return f"{name:24} {ratios}   {cells}"


def _print(windows: Sequence[str], results: Sequence[dict[str, Errors]]) -> None:
    overall = {model: pooled([result[model] for result in results]) for model in results[0]}
    print(f"\n{'':24}   RMSE    MAE   of {PRODUCT} / {BASELINE}; then RMSE and MAE in USD")
    for window, result in zip(windows, results, strict=True):
        print(_line(window, result))
    print(_line(f"pooled, {overall[PRODUCT].count} trips", overall))


if __name__ == "__main__":
    sys.exit(main())
