"""Stored predictions: every month's test rows, and the fares that each month's model predicts for them.

A folder has `rows/<month>.npz`, `predictions/<month>/<model>.npz`, `runs/<month>.json` and, written last,
`index.json`. A month and a model have the id of the window that they belong to, such as
2015-07_train24_test1; the model `baseline` is that of a month's own report.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from taxi_ml.gate.report import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from taxi_ml.gate.report import Report
    from taxi_ml.storage import Storage

    Numbers = NDArray[np.float64]

SCHEMA_VERSION: Final = 1
BASELINE: Final = "baseline"
_INDEX: Final = "index.json"
_SLICE: Final = "slice."
_MODEL: Final = "model."
_LATER: Final = "later."


class StoredError(ValueError):
    """A folder does not hold stored predictions of this version, or they contradict themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A month's test rows, arrays of shape [rows].

    `fares` are USD, `days` are days since 1970-01-01, `metres` the straight distance, negative if unknown,
    and `slicing` the values of each column to slice by.
    """

    fares: Numbers
    days: NDArray[np.int64]
    metres: Numbers
    slicing: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the gate of a month's run looks at: rows, predictions for them by model, and the run's report."""

    rows: Rows
    predictions: Mapping[str, Numbers]
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A month's trips as users make them, and predictions in USD by model, each of shape [rows].

    `predictions` has the month's own model, those of all months before it, and the baseline if its run
    trained one. `judged` has the same rows, unless the month's export was broken.
    """

    id: str
    rows: Rows
    predictions: Mapping[str, Numbers]
    judged: Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A month whose run went wrong: what its gate saw, and what its model predicts later, by month."""

    name: str
    month: str
    judged: Judged
    later: Mapping[str, Numbers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Consecutive months, the oldest first, and faults that some of them could have had."""

    months: tuple[Month, ...]
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Check that every month can be judged.

        Raises:
            StoredError: naming the month that lacks rows or a model's predictions, or that is out of order.

        """
        names = [month.id for month in self.months]
        if len(names) < 2 or names != sorted(set(names)):  # noqa: PLR2004  # one month has no following one
            raise StoredError(f"a replay needs two months or more in order; these are {names}")
        for index, month in enumerate(self.months):
            count = len(month.rows.fares)
            if not count:
                raise StoredError(f"{month.id} has no test rows; leave the month out")
            for name in names[: index + 1]:
                found = month.predictions.get(name)
                if found is None or len(found) != count:
                    raise StoredError(
                        f"{month.id} has {count} rows and {0 if found is None else len(found)} predictions "
                        f"of the model of {name}; score it again"
                    )

    def between(self, first: str, last: str) -> Stored:
        """Return the months from `first` to `last`, both included; ids may be cut, such as 2015-01."""
        months = tuple(month for month in self.months if first <= month.id and month.id[: len(last)] <= last)
        kept = {month.id for month in months}
        return Stored(months=months, faults=tuple(fault for fault in self.faults if fault.month in kept))

    def with_fault(self, fault: Fault) -> Stored:
        """Return the months as they would be with this fault."""
        return replace(self, months=tuple(_faulty(month, fault) for month in self.months))


def _faulty(month: Month, fault: Fault) -> Month:
    if month.id == fault.month:
        return replace(month, judged=fault.judged)
    if month.id not in fault.later:
        return month
    predictions = {**month.predictions, fault.month: fault.later[month.id]}
    return replace(month, predictions=predictions, judged=replace(month.judged, predictions=predictions))


def end_of(month: str) -> date:
    """Return the first day after a month's test rows, from its id."""
    year, number = month[:7].split("-")
    return date(int(year), int(number), 1)


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays as a compressed .npz, without pickles."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a .npz."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def rows_uri(folder: str, month: str) -> str:
    """Return where a month's rows are."""
    return f"{folder}/rows/{month}.npz"


def predictions_uri(folder: str, month: str, model: str) -> str:
    """Return where a model's predictions for a month's rows are."""
    return f"{folder}/predictions/{month}/{model}.npz"


def report_uri(folder: str, month: str) -> str:
    """Return where the report of a month's run is."""
    return f"{folder}/runs/{month}.json"


def fault_uri(folder: str, month: str, name: str) -> str:
    """Return where a fault's arrays and report are, without `.npz` and `.json`."""
    return f"{folder}/faults/{month}/{name}"


def pack_rows(rows: Rows) -> bytes:
    """Return the content of `rows_uri`."""
    return pack(_arrays(rows))


def _arrays(rows: Rows) -> dict[str, NDArray[Any]]:
    arrays = {"fares": rows.fares.astype(np.float32), "days": rows.days.astype(np.int32)}
    slices = {f"{_SLICE}{name}": values for name, values in rows.slicing.items()}
    return {**arrays, "metres": rows.metres.astype(np.float32), **slices}


def unpack_rows(content: bytes) -> Rows:
    """Return the rows that `pack_rows` wrote."""
    return _rows(unpack(content))


def _rows(arrays: Mapping[str, NDArray[Any]]) -> Rows:
    return Rows(
        fares=arrays["fares"].astype(np.float64),
        days=arrays["days"].astype(np.int64),
        metres=arrays["metres"].astype(np.float64),
        slicing={
            name.removeprefix(_SLICE): values for name, values in arrays.items() if name.startswith(_SLICE)
        },
    )


def pack_predictions(fares: Numbers) -> bytes:
    """Return the content of `predictions_uri`; cents survive in float32 up to 100,000 USD."""
    return pack({"fares": fares.astype(np.float32)})


def pack_fault(judged: Rows, predictions: Mapping[str, Numbers], later: Mapping[str, Numbers]) -> bytes:
    """Return the arrays of a fault: see `Fault` and `Judged`."""
    by_model = {f"{_MODEL}{name}": fares.astype(np.float32) for name, fares in predictions.items()}
    by_month = {f"{_LATER}{name}": fares.astype(np.float32) for name, fares in later.items()}
    return pack({**_arrays(judged), **by_model, **by_month})


def _fault(storage: Storage, folder: str, month: str, name: str) -> Fault:
    arrays = unpack(storage.read(f"{fault_uri(folder, month, name)}.npz"))
    report = parse(storage.read(f"{fault_uri(folder, month, name)}.json"))

    def under(prefix: str) -> dict[str, Numbers]:
        return {
            key.removeprefix(prefix): values.astype(np.float64)
            for key, values in arrays.items()
            if key.startswith(prefix)
        }

    judged = Judged(rows=_rows(arrays), predictions=under(_MODEL), report=report)
    return Fault(name=name, month=month, judged=judged, later=under(_LATER))


def unpack_predictions(content: bytes) -> Numbers:
    """Return the predictions that `pack_predictions` wrote."""
    return unpack(content)["fares"].astype(np.float64)


def write_index(storage: Storage, folder: str, months: Sequence[str], baselines: Sequence[str]) -> None:
    """Write index.json, which says that everything else is there; `baselines` are months that have one."""
    document = {"schema_version": SCHEMA_VERSION, "months": sorted(months), "baselines": sorted(baselines)}
    storage.write(f"{folder}/{_INDEX}", json.dumps(document, indent=2).encode())


def load(storage: Storage, folder: str) -> Stored:
    """Read stored predictions from a local or gs:// folder.

    Raises:
        StoredError: if there are none, of another version, or incomplete.

    """
    folder = folder.rstrip("/")
    try:
        index = json.loads(storage.read(f"{folder}/{_INDEX}"))
        if index["schema_version"] != SCHEMA_VERSION:
            raise StoredError(f"{folder} is of version {index['schema_version']}, not {SCHEMA_VERSION}")
        names = index["months"]
        return Stored(
            months=tuple(
                _month(storage, folder, name, names[: place + 1], has_baseline=name in index["baselines"])
                for place, name in enumerate(names)
            ),
            faults=tuple(
                _fault(storage, folder, *name.removesuffix(".npz").split("/"))
                for name in sorted(storage.files(f"{folder}/faults"))
                if name.endswith(".npz")
            ),
        )
    except FileNotFoundError as error:
        raise StoredError(f"{error}: score the months first, see docs/replay.md") from error
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise StoredError(f"{folder} does not hold stored predictions: {error!r}") from error


def _month(storage: Storage, folder: str, name: str, models: Sequence[str], *, has_baseline: bool) -> Month:
    wanted = [*models, BASELINE] if has_baseline else models
    judged = Judged(
        rows=unpack_rows(storage.read(rows_uri(folder, name))),
        predictions={
            model: unpack_predictions(storage.read(predictions_uri(folder, name, model))) for model in wanted
        },
        report=parse(storage.read(report_uri(folder, name))),
    )
    return Month(id=name, rows=judged.rows, predictions=judged.predictions, judged=judged)
