"""The scorer: `python -m taxi_ml.replay.score --plan P --out O` stores every model's predictions.

Each month's model predicts the test rows of its own run and of all later ones. What is stored already is left
as it is, so that a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import posixpath
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taxi_ml.evaluation import baseline, rows
from taxi_ml.evaluation.findings import SLICES, distance_bands, serving_model
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import ReportError, parse
from taxi_ml.modules.features import LABEL, TIMESTAMP
from taxi_ml.replay import stored
from taxi_ml.replay.contest import SEED
from taxi_ml.replay.plan import Plan, PlanError
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from taxi_ml.gate.report import Report
    from taxi_ml.replay.plan import PlannedMonth
    from taxi_ml.replay.stored import Numbers

    Model = Callable[[NDArray[Any]], Numbers]

_BATCH_ROWS: Final = 4096
_DAY_SECONDS: Final = 86_400
_LEARNED: Final = "Split-train"
_DISTANCE: Final = "rawDistance"
_COLUMNS: Final = {LABEL: float, TIMESTAMP: int, _DISTANCE: float, **dict.fromkeys(SLICES, int)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; return the process's exit code. A wrong plan or report gives one line on stderr."""
    options = _options(arguments)
    storage = Storage()
    try:
        plan = Plan.parse(storage.read(options.plan))
        with tempfile.TemporaryDirectory(prefix="replay-") as folder:
            Scorer(storage=storage, out=options.out.rstrip("/"), scratch=Path(folder)).score(plan)
    except (PlanError, ReportError, FileNotFoundError) as error:
        print(f"cannot score {options.plan}: {error}", file=sys.stderr)  # noqa: T201  # a command's answer
        return 2
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m taxi_ml.replay.score", description=__doc__)
    parser.add_argument("--plan", required=True, help="gs:// address or path of plan.json")
    parser.add_argument("--out", required=True, help="gs:// address or path of the folder to write")
    return parser.parse_args(arguments)


class Scorer:
    """Writes stored predictions; `scratch` is a local folder for one model and the test examples."""

    def __init__(self, *, storage: Storage, out: str, scratch: Path) -> None:
        self._storage, self._out, self._scratch = storage, out, scratch
        self._stored = set(storage.files(out))

    def score(self, plan: Plan) -> None:
        """Write what is missing, and the index last.

        Raises:
            ReportError: if a month's report is of another version or window.
            FileNotFoundError: if a report, a model or examples are gone.

        """
        for month in plan.months:
            content = self._storage.read(month.report)
            parse(content, window=month.window)
            if self._lacks(uri := stored.rows_uri(self._out, month.window)):
                self._storage.write(uri, stored.pack_rows(self._rows(self._examples(month))))
            if self._lacks(uri := stored.report_uri(self._out, month.window)):
                self._storage.write(uri, content)
        for place, month in enumerate(plan.months):
            self._predict(month, plan.months[place:])
        stored.write_index(
            self._storage,
            self._out,
            [month.window for month in plan.months],
            [month.window for month in plan.months if self._predict_baseline(month)],
        )

    def score_fault(self, name: str, broken: PlannedMonth, plan: Plan) -> None:
        """Write a fault of one of the plan's months; `broken` has its run's report and test examples.

        Raises:
            ReportError: if the report is of another version or window.
            FileNotFoundError: if the report, a model or examples are gone.

        """
        place = [month.window for month in plan.months].index(broken.window)
        earlier, later = plan.months[:place], plan.months[place + 1 :]
        content = self._storage.read(broken.report)
        model = self._model(parse(content, window=broken.window), f"{broken.window}-{name}")
        examples = self._local(broken.examples, f"examples-{broken.window}-{name}")
        models = {month.window: self._model_of(month) for month in earlier} | {broken.window: model}
        self._storage.write(
            f"{stored.fault_uri(self._out, broken.window, name)}.npz",
            stored.pack_fault(
                self._rows(examples),
                {window: _answers(each, examples) for window, each in models.items()},
                {month.window: _answers(model, self._examples(month)) for month in later},
            ),
        )
        self._storage.write(f"{stored.fault_uri(self._out, broken.window, name)}.json", content)

    def _lacks(self, uri: str) -> bool:
        return uri.removeprefix(f"{self._out}/") not in self._stored

    def _rows(self, examples: str) -> stored.Rows:
        parts = [rows.columns(batch, _COLUMNS) for batch in rows.batches(examples, _BATCH_ROWS)]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}
        return stored.Rows(
            fares=columns[LABEL],
            days=columns[TIMESTAMP] // _DAY_SECONDS,
            metres=columns[_DISTANCE],
            slicing={
                **{name: columns[name] for name in SLICES},
                "distance_km": distance_bands(columns[_DISTANCE]),
            },
        )

    def _predict(self, month: PlannedMonth, asked: Sequence[PlannedMonth]) -> None:
        """Load a month's model once, and write its predictions for each of the months that lack them."""
        missing = [
            (each, uri)
            for each in asked
            if self._lacks(uri := stored.predictions_uri(self._out, each.window, month.window))
        ]
        if not missing:
            return
        model = self._model_of(month)
        for each, uri in missing:
            self._storage.write(uri, stored.pack_predictions(_answers(model, self._examples(each))))
        print(f"{month.window}: predicted {len(missing)} months", flush=True)  # noqa: T201  # a job's log

    def _predict_baseline(self, month: PlannedMonth) -> bool:
        """Train the baseline of a month's report again, which is quick; return False if it has none."""
        if parse(self._storage.read(month.report)).reference(Role.BASELINE) is None:
            return False
        uri = stored.predictions_uri(self._out, month.window, stored.BASELINE)
        if self._lacks(uri):
            learned = self._local(
                f"{posixpath.dirname(month.examples)}/{_LEARNED}", f"learned-{month.window}"
            )
            trees = baseline.BoostedTrees.trained(
                rows.sample(learned, baseline.MOST_ROWS, seed=SEED), seed=SEED
            )
            self._storage.write(uri, stored.pack_predictions(_answers(trees.predict, self._examples(month))))
            shutil.rmtree(learned)
        return True

    def _model_of(self, month: PlannedMonth) -> Model:
        return self._model(parse(self._storage.read(month.report)), month.window)

    def _model(self, report: Report, name: str) -> Model:
        return serving_model(self._local(report.challenger.uri, f"model-{name}"))

    def _examples(self, month: PlannedMonth) -> str:
        return self._local(month.examples, f"examples-{month.window}")

    def _local(self, folder: str, name: str) -> str:
        """Return a local copy: TensorFlow's own client of Cloud Storage ignores every emulator."""
        target = self._scratch / name
        if not target.exists() and not self._storage.download(folder, target):
            raise FileNotFoundError(f"{folder} is empty or does not exist")
        return str(target)


def _answers(model: Model, examples: str) -> Numbers:
    return np.concatenate([model(batch) for batch in rows.batches(examples, _BATCH_ROWS)])


if __name__ == "__main__":
    sys.exit(main())
