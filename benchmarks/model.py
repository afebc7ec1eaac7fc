"""The product's fare model against boosted trees and simpler models, on the same exported trips.

Every window's trips come from the product's SQL on the local BigQuery; the pipeline environment trains on
them. The model's settings were chosen on test months up to January 2015, so the windows here end later.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fare_models.errors import BASELINE, Errors, pooled, ratio_interval
from benchmarks.fare_models.exports import exported, in_pipeline_environment, months

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taxi_ml.settings import Settings
from taxi_ml.sizing import LEAST_STEPS

PRODUCT = "product"


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, train, and print errors and ratios."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory(prefix="bench-model-") as folder:
        ends = months(options.first, options.windows)
        with exported(ends, Path(folder)) as exports:
            folders = {window: Path(folder, window) for window in exports.folders}
            for window, data in exports.folders.items():
                _ask(exports.settings, data, folders[window], search_only=options.search)
        in_pipeline_environment("benchmarks.fare_models.score", *folders.values())
        if not options.search:
            _print({window: _errors(asked) for window, asked in folders.items()})
        _print_chosen({window: (asked / "chosen.json").read_text() for window, asked in folders.items()})
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--first", type=date.fromisoformat, default=date(2015, 4, 1), help="end of the first window"
    )
    parser.add_argument("--windows", type=int, default=9, help="how many consecutive months")
    parser.add_argument("--search", action="store_true", help="only say what the Tuner chooses")
    return parser.parse_args(arguments)


def _ask(settings: Settings, data: Path, folder: Path, *, search_only: bool) -> None:
    """Write the request of a window: its trips and the training options of a run with these settings."""
    folder.mkdir()
    request: dict[str, Any] = {
        "data": str(data),
        "search_only": search_only,
        "steps": settings.train_steps or LEAST_STEPS,
        "options": {
            "batch_size": settings.batch_size,
            "seed": settings.seed,
            "tuner_trials": settings.tuner_trials,
            "tuner_steps": settings.tuner_steps,
            "tuner_minutes": 30.0,
        },
    }
    (folder / "request.json").write_text(json.dumps(request))


def _errors(folder: Path) -> dict[str, Errors]:
    found = json.loads((folder / "errors.json").read_text())
    return {name: Errors(errors) for name, errors in found.items()}


def _line(name: str, result: dict[str, Errors]) -> str:
    product, baseline = result[PRODUCT], result[BASELINE]
    ratios = f"{product.rmse / baseline.rmse:6.3f} {product.mae / baseline.mae:6.3f}"
    cells = "  ".join(f"{model} {errors.rmse:5.2f} {errors.mae:5.2f}" for model, errors in result.items())
    return f"{name:24} {ratios}   {cells}"


def _print(results: Mapping[str, dict[str, Errors]]) -> None:
    models = next(iter(results.values()))
    overall = {model: pooled([result[model] for result in results.values()]) for model in models}
    print(f"\n{'':24}   RMSE    MAE   of {PRODUCT} / {BASELINE}; then RMSE and MAE in USD")
    for window, result in results.items():
        print(_line(window, result))
    print(_line(f"pooled, {overall[PRODUCT].count} trips", overall))
    for metric, power in (("RMSE", 2), ("MAE", 1)):
        low, high = ratio_interval(overall[PRODUCT], overall[BASELINE], power)
        print(f"pooled {metric}, {PRODUCT} / {BASELINE}: 95 % interval {low:.3f} to {high:.3f}")


def _print_chosen(chosen: Mapping[str, str]) -> None:
    for window, values in chosen.items():
        print(f"{window:24} the Tuner chose {values}")


if __name__ == "__main__":
    sys.exit(main())
