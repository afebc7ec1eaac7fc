from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taxi_ml.replay.plan import Plan, PlanError, PlannedMonth
from taxi_ml.replay.stored import (
    BASELINE,
    Stored,
    StoredError,
    end_of,
    load,
    pack,
    pack_fault,
    pack_predictions,
    pack_rows,
    unpack,
    unpack_predictions,
    unpack_rows,
    write_index,
)
from taxi_ml.storage import Storage
from tests.taxi_ml.replays import fault, stored, window

if TYPE_CHECKING:
    from pathlib import Path

MONTHS = stored((1.0, 0.8, 1.5), rows=50)
SHORT = {window(0): np.zeros(3), window(1): np.zeros(50)}
EMPTY = replace(MONTHS.months[1].rows, fares=np.zeros(0))


def write(months: Stored, folder: Path, baselines: tuple[str, ...]) -> None:
    """Write stored predictions at the addresses that the folder's documentation names."""
    for place, month in enumerate(months.months):
        for name in ("rows", "runs", f"predictions/{month.id}"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "rows" / f"{month.id}.npz").write_bytes(pack_rows(month.rows))
        (folder / "runs" / f"{month.id}.json").write_text(month.judged.report.to_json())
        models = [window(number) for number in range(place + 1)]
        for model in [*models, *({BASELINE} if month.id in baselines else ())]:
            content = pack_predictions(month.judged.predictions[model])
            (folder / "predictions" / month.id / f"{model}.npz").write_bytes(content)
    write_index(Storage(), str(folder), [month.id for month in months.months][::-1], baselines)


def test_everything_of_a_month_is_read_from_its_address(tmp_path: Path) -> None:
    """Fares, days, distances and slices, the models up to the month's own, and the baseline where it is."""
    write(MONTHS, tmp_path, (window(1),))

    read = load(Storage(), f"{tmp_path}/")

    for place, (ours, theirs) in enumerate(zip(MONTHS.months, read.months, strict=True)):
        names = {window(number) for number in range(place + 1)} | ({BASELINE} if place == 1 else set())
        assert theirs.judged.report == ours.judged.report
        assert set(theirs.predictions) == set(theirs.judged.predictions) == names
        for name in names:
            assert theirs.predictions[name] == pytest.approx(ours.predictions[name], abs=1e-5)
        assert theirs.rows.fares == pytest.approx(ours.rows.fares, abs=1e-4)
        assert theirs.rows.metres == pytest.approx(ours.rows.metres, rel=1e-6)
        assert theirs.rows.days.tolist() == ours.rows.days.tolist()
        assert {name: each.tolist() for name, each in theirs.rows.slicing.items()} == {
            name: each.tolist() for name, each in ours.rows.slicing.items()
        }
        assert theirs.rows.fares.dtype == theirs.predictions[window(0)].dtype == np.float64
    index = json.loads((tmp_path / "index.json").read_text())
    assert index == {
        "schema_version": 1,
        "months": [window(0), window(1), window(2)],
        "baselines": [window(1)],
    }


def test_a_fault_is_read_from_its_address(tmp_path: Path) -> None:
    """What its gate saw, and what its model predicts in each later month."""
    write(MONTHS, tmp_path, ())
    each = fault(MONTHS, 1, usd=2.0)
    folder = tmp_path / "faults" / each.month
    folder.mkdir(parents=True)
    (folder / "too high.npz").write_bytes(pack_fault(each.judged.rows, each.judged.predictions, each.later))
    (folder / "too high.json").write_text(each.judged.report.to_json())

    (read,) = load(Storage(), str(tmp_path)).faults

    assert (read.name, read.month, read.judged.report) == ("too high", window(1), each.judged.report)
    assert set(read.judged.predictions) == set(each.judged.predictions)
    assert read.judged.predictions[window(1)] == pytest.approx(each.judged.predictions[window(1)], abs=1e-4)
    assert read.judged.rows.metres == pytest.approx(each.judged.rows.metres, rel=1e-6)
    assert set(read.later) == {window(2)}
    assert read.later[window(2)] == pytest.approx(each.later[window(2)], abs=1e-4)


def test_a_fault_changes_its_month_and_its_models_later_predictions_only() -> None:
    """Users of the broken month make the real trips, which the gate does not see."""
    each = fault(MONTHS, 1, usd=2.0)

    before, broken, after = MONTHS.with_fault(each).months

    assert before == MONTHS.months[0]
    assert broken.judged is each.judged
    assert broken.predictions is MONTHS.months[1].predictions
    assert after.predictions[window(1)] is each.later[window(2)]
    assert after.judged.predictions == after.predictions
    for kept in (window(0), window(2), BASELINE):
        assert after.predictions[kept] is MONTHS.months[2].judged.predictions[kept]


@pytest.mark.parametrize(
    ("months", "problem"),
    [
        (
            (MONTHS.months[0], replace(MONTHS.months[1], rows=MONTHS.months[0].judged.rows, predictions={})),
            f"{window(1)} has 50 rows and 0 predictions of the model of {window(0)}; score it again",
        ),
        (
            (MONTHS.months[0], replace(MONTHS.months[1], predictions=SHORT)),
            f"{window(1)} has 50 rows and 3 predictions of the model of {window(0)}; score it again",
        ),
        (
            (MONTHS.months[0], replace(MONTHS.months[1], rows=EMPTY)),
            f"{window(1)} has no test rows; leave the month out",
        ),
        (
            (MONTHS.months[0], MONTHS.months[0]),
            rf"needs two months or more in order; these are \['{window(0)}', '{window(0)}'\]",
        ),
    ],
)
def test_what_is_missing_is_named(months: tuple[object, ...], problem: str) -> None:
    """The error has the month, the numbers and the model."""
    with pytest.raises(StoredError, match=problem):
        Stored(months=months)  # type: ignore[arg-type]  # parametrized


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        (None, "score the months first, see docs/replay.md"),
        ("{}", "does not hold stored predictions: KeyError"),
        ('{"schema_version": 9}', "is of version 9, not 1"),
    ],
)
def test_another_folder_is_refused(tmp_path: Path, index: str | None, problem: str) -> None:
    """The error says what the folder lacks."""
    if index is not None:
        (tmp_path / "index.json").write_text(index)

    with pytest.raises(StoredError, match=problem):
        load(Storage(), str(tmp_path))


def test_months_are_cut_at_both_ends() -> None:
    """Both ends are included, as a month or as a whole id."""
    months = stored((1.0, 1.0, 1.0, 1.0), rows=10)

    def kept(first: str, last: str) -> list[str]:
        return [month.id for month in months.between(first, last).months]

    broken = replace(months, faults=(fault(months, 0, usd=1.0), fault(months, 3, usd=1.0)))
    assert [each.month for each in broken.between("2015-02", "2015-03").faults] == []
    assert [each.month for each in broken.between("2015-02", "2015-04").faults] == [window(3)]
    assert kept("", "9999") == [month.id for month in months.months]
    assert kept("2015-02", "2015-03") == kept(window(1), window(2)) == [window(1), window(2)]


def test_the_end_of_a_month_is_the_first_day_of_its_window_id() -> None:
    """2016-01_train24_test1 tests on December 2015."""
    assert end_of(window(12)).isoformat() == "2016-01-01"


def test_numbers_survive_without_pickles() -> None:
    """Cents survive up to 100,000 USD; an array of objects is refused."""
    fares = np.array([0.01, 99_999.99, -1.5])

    assert unpack_predictions(pack_predictions(fares)) == pytest.approx(fares, abs=0.005)
    assert unpack_rows(pack_rows(MONTHS.months[0].rows)).days.dtype == np.int64
    packed = unpack(pack_fault(MONTHS.months[0].rows, {"a": fares}, {"b": fares}))
    small = [packed[name].dtype for name in ("fares", "metres", "model.a", "later.b")]
    assert [unpack(pack_predictions(fares))["fares"].dtype, *small] == [np.float32] * 5
    assert unpack(pack({"a": np.array(["x"])}))["a"].tolist() == ["x"]
    with pytest.raises(ValueError, match="allow_pickle"):
        pack({"a": np.array([{}], object)})
    pickled = io.BytesIO()
    np.savez_compressed(pickled, a=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(pickled.getvalue())


def test_a_plan_names_what_is_wrong_with_it() -> None:
    """Version, field and months are in the message."""
    one = PlannedMonth(window=window(0), report="r", examples="e")
    with pytest.raises(PlanError, match="the plan is of version 2, not 1"):
        Plan.parse('{"schema_version": 2}')
    with pytest.raises(PlanError, match="not a plan of a replay: KeyError"):
        Plan.parse("{}")
    with pytest.raises(PlanError, match=rf"these are \['{window(0)}'\]"):
        Plan.of([one])


def test_a_plans_digest_names_its_folder() -> None:
    """Sixteen hexadecimal digits, of everything that the plan says."""
    months = [PlannedMonth(window=window(number), report=f"r/{number}", examples="e") for number in (0, 1)]
    plan = Plan.of(months)

    assert Plan.parse(plan.to_json()) == plan
    assert plan.to_json().startswith(
        '{\n  "months": [\n    {\n      "examples": "e",\n      "report": "r/0",'
    )
    assert len(plan.id) == len(f"{int(plan.id, 16):016x}") == 16
    assert plan.id != Plan.of([replace(months[0], report="r/2"), months[1]]).id
