from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from taxi_ml.gate import policy
from taxi_ml.gate.decision import Verdict
from taxi_ml.replay import __main__ as command
from taxi_ml.replay.document import replay, summary
from taxi_ml.replay.page import render
from taxi_ml.replay.plan import Plan, PlanError, PlannedMonth
from taxi_ml.replay.policies import ALWAYS, MEAN_OF_3, NEVER, SHIPPED, standard
from taxi_ml.replay.power import power
from taxi_ml.replay.stored import (
    BASELINE,
    StoredError,
    load,
    pack_fault,
    pack_predictions,
    pack_rows,
    predictions_uri,
    report_uri,
    rows_uri,
    write_index,
)
from taxi_ml.storage import Storage
from tests.taxi_ml.replays import fault, stored, window

if TYPE_CHECKING:
    from pathlib import Path

    from taxi_ml.replay.document import Replay
    from taxi_ml.replay.stored import Stored

MONTHS = stored((1.0, 0.8, 1.5, 0.7))


def write(months: Stored, folder: str) -> None:
    """Write stored predictions as the scorer does."""
    storage = Storage()
    for place, month in enumerate(months.months):
        storage.write(rows_uri(folder, month.id), pack_rows(month.rows))
        storage.write(report_uri(folder, month.id), month.judged.report.to_json().encode())
        for model in [each.id for each in months.months[: place + 1]]:
            uri = predictions_uri(folder, month.id, model)
            storage.write(uri, pack_predictions(month.predictions[model]))
    for each in months.faults:
        content = pack_fault(each.judged.rows, each.judged.predictions, each.later)
        storage.write(f"{folder}/faults/{each.month}/{each.name}.npz", content)
        storage.write(f"{folder}/faults/{each.month}/{each.name}.json", each.judged.report.to_json().encode())
    write_index(storage, folder, [month.id for month in months.months], ())


@pytest.fixture(scope="module")
def found() -> Replay:
    """The replay of four months and a fault."""
    return replay(replace(MONTHS, faults=(fault(MONTHS, 2, usd=6.0),)), standard(), draws=2)


def test_what_was_stored_is_read(tmp_path: Path) -> None:
    """Rows, predictions, reports and faults survive, to the precision of float32."""
    months = replace(MONTHS, faults=(fault(MONTHS, 1, usd=2.0),))
    write(months, str(tmp_path))

    read = load(Storage(), f"{tmp_path}/")

    assert [month.id for month in read.months] == [month.id for month in months.months]
    for ours, theirs in zip(months.months, read.months, strict=True):
        assert theirs.judged.report == ours.judged.report
        assert theirs.rows.days.tolist() == ours.rows.days.tolist()
        assert theirs.predictions[window(0)] == pytest.approx(ours.predictions[window(0)], abs=1e-4)
        assert theirs.rows.slicing["distance_km"].tolist() == ours.rows.slicing["distance_km"].tolist()
    (before,), (after,) = months.faults, read.faults
    assert (after.name, after.month, set(after.later)) == (before.name, before.month, set(before.later))
    assert after.judged.report == before.judged.report


@pytest.mark.parametrize(
    ("index", "problem"),
    [
        (None, "score the months first"),
        ("{}", "does not hold stored predictions"),
        ("[", "does not hold stored predictions"),
        ('{"schema_version": 9}', "is of version 9"),
    ],
)
def test_a_folder_without_stored_predictions_is_refused(
    tmp_path: Path, index: str | None, problem: str
) -> None:
    """The error says what the folder lacks."""
    if index is not None:
        (tmp_path / "index.json").write_text(index)

    with pytest.raises(StoredError, match=problem):
        load(Storage(), str(tmp_path))


def test_the_sentence_says_the_result_and_what_was_prevented(found: Replay) -> None:
    """The first sentence has the error of users, its difference from always, and the broken months."""
    assert re.match(
        r"Over the 3 months that follow a decision, users of the shipped policy would have met .* with "
        r"'always'.*: a mean absolute error of \d\.\d{3} USD \(.*95 % interval .*\); of 1 broken months it "
        r"rejects 1, and the median error after one is \d\.\d\d USD instead of \d\.\d\d\.$",
        found.sentence,
    )


def test_the_document_has_months_reasons_and_faults(found: Replay) -> None:
    """A rejection has its reasons, is counted by their codes, and the last month has no users."""
    document = json.loads(found.to_json())
    shipped = next(each for each in document["policies"] if each["name"] == SHIPPED)
    (broken,) = document["faults"]

    assert [month["verdict"] for month in shipped["months"]][:3] == [None, "promote", "reject"]
    assert shipped["months"][2]["reasons"]
    assert shipped["rejections"]["above_margin"] == sum(
        "above_margin" in "".join(month["reasons"]) for month in shipped["months"]
    )
    assert shipped["months"][-1]["mae"] is None
    assert (broken["verdicts"][SHIPPED], broken["verdicts"][ALWAYS]) == (Verdict.REJECT, Verdict.PROMOTE)
    assert broken["mae"][SHIPPED] < broken["mae"][ALWAYS]


def test_the_summary_lists_every_policy(found: Replay) -> None:
    """A person gets the sentence, one line for each policy, and one for each fault."""
    lines = summary(found.to_json()).splitlines()

    assert lines[0] == found.sentence
    assert [line.split()[0] for line in lines[3:9]] == [
        SHIPPED,
        MEAN_OF_3,
        ALWAYS,
        NEVER,
        "better-only",
        "hindsight",
    ]
    assert lines[9].startswith("too high")


def test_the_page_needs_nothing_else(found: Replay) -> None:
    """It has no script, refers to nothing outside, opens with the sentence, and escapes what it is given."""
    page = render(replace(found, sentence="<b>so & so</b>"))

    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=|url\(|@import", page)
    assert "&lt;b&gt;so &amp; so&lt;/b&gt;" in page
    assert page.index('class="lead"') < page.index("<table")


def test_equal_models_pass_and_worse_ones_do_not() -> None:
    """With many rows an equal model is promoted nearly always, one that is 2 % worse hardly ever."""
    few, many = power(MONTHS, policy.load(), sizes=(200, 40_000), draws=20)

    assert (few.rows, many.rows) == (200, 40_000)
    assert few.equal <= many.equal
    assert many.equal >= 0.9
    assert many.worse <= 0.2


def test_power_does_not_depend_on_the_runs_data() -> None:
    """Anomalies of the last run are not about the number of rows."""
    last = MONTHS.months[-1]
    unblessed = replace(last, judged=replace(last.judged, report=replace(last.judged.report, blessed=False)))
    months = replace(MONTHS, months=(*MONTHS.months[:-1], unblessed))

    assert power(months, policy.load(), sizes=(400,), draws=5) == power(
        MONTHS, policy.load(), sizes=(400,), draws=5
    )


def test_the_command_compares_a_policy_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints the table and writes document and page; an empty policy is left out."""
    write(MONTHS, str(tmp_path / "stored"))
    mine = tmp_path / "mine.toml"
    mine.write_text(policy.DEFAULT_PATH.read_text())

    own = ["--policy", str(mine), "--policy", "", "--draws", "2"]
    code = command.main(["--errors", str(tmp_path / "stored"), *own, "--out", str(tmp_path)])

    assert code == 0
    assert "\nmine " in capsys.readouterr().out
    document = json.loads((tmp_path / "replay.json").read_text())
    assert [each["name"] for each in document["policies"]][:2] == ["mine", SHIPPED]
    assert (tmp_path / "replay.html").read_text().startswith("<!doctype html>")


def test_the_command_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without predictions gives one line and an exit code."""
    assert command.main(["--errors", str(tmp_path)]) == 2
    assert "score the months first" in capsys.readouterr().err


def planned(*windows: str) -> list[PlannedMonth]:
    """Return planned months."""
    return [PlannedMonth(window=each, report=f"r/{each}", examples=f"e/{each}") for each in windows]


def test_a_plan_is_ordered_and_named_by_its_content() -> None:
    """The same runs in another order are the same plan, which survives being written."""
    one, other = Plan.of(planned(window(1), window(0))), Plan.of(planned(window(0), window(1)))

    assert one == other == Plan.parse(one.to_json())
    assert one.id == other.id != Plan.of(planned(window(0), window(2))).id


@pytest.mark.parametrize(
    "text", ["", "{}", '{"schema_version": 2}', '{"schema_version": 1, "months": [{"window": "a"}]}']
)
def test_a_string_that_is_not_a_plan_is_refused(text: str) -> None:
    """Whatever is missing, it is a PlanError."""
    with pytest.raises(PlanError):
        Plan.parse(text)


def test_a_plan_has_one_run_for_each_of_two_months() -> None:
    """One month has no following one, and two runs of a month contradict each other."""
    for windows in ([window(0)], [window(0), window(0)]):
        with pytest.raises(PlanError, match="one run for each of two months or more"):
            Plan.of(planned(*windows))


def test_numbers_of_a_page_are_finite(found: Replay) -> None:
    """No place of a drawing is NaN, even if all policies are equal."""
    same = tuple(
        replace(each, users=found.policies[1].users, months=found.policies[1].months)
        for each in found.policies
    )

    assert "nan" not in render(replace(found, policies=same)).lower().replace("finance", "")
    assert np.isfinite(float(re.findall(r'cx="([^"]+)"', render(found))[0]))


def test_a_mean_is_left_out_of_a_broken_month_without_a_baseline() -> None:
    """A mean is not judged by the comparison of the run's own model with the baseline; its cell is empty."""
    whole = fault(MONTHS, 2, usd=6.0)
    judged = {name: fares for name, fares in whole.judged.predictions.items() if name != BASELINE}
    cut = replace(whole, judged=replace(whole.judged, predictions=judged))

    with_it, without = (replay(replace(MONTHS, faults=(each,)), standard(), draws=0) for each in (whole, cut))

    assert MEAN_OF_3 in with_it.faults[0].mae
    assert with_it.faults[0].mae.keys() - without.faults[0].mae.keys() == {MEAN_OF_3}
    assert "not a number" not in render(without)
