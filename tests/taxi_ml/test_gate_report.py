"""Reading and writing report.json."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taxi_ml.gate import report
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import ReportError
from taxi_ml.gate.schema import Change, SchemaDifference
from tests.taxi_ml import reports
from tests.taxi_ml.reports import a_report, metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from taxi_ml.gate.report import Report


@given(reports.reports())
def test_report_survives_json(given_report: Report) -> None:
    """A report is read back as it was written, except for the order of anomalies."""
    back = report.parse(given_report.to_json())

    assert replace(back, anomalies=()) == replace(given_report, anomalies=())
    assert set(back.anomalies) == set(given_report.anomalies)


def test_number_that_is_not_finite_is_written_as_null() -> None:
    """JSON has no NaN: the report says null and reads it as missing."""
    broken = replace(
        a_report(with_champion=False),
        references=(),
        challenger=replace(a_report().challenger, metrics=metrics(float("nan"), 2.0)),
    )

    assert report.parse(broken.to_json()).challenger.metrics.rmse is None


def test_slice_without_interval_and_anomaly_without_kind_are_read() -> None:
    """The pipeline may leave out unknown fields."""
    document = json.loads(a_report().to_json())
    for part in document["slices"]:
        del part["difference"], part["baseline"], part["baseline_difference"]
    document["anomalies"]["test"] = [{"feature": "fare", "description": "too high"}]
    back = report.parse(json.dumps(document))

    part = back.slices[0]
    assert (part.difference, part.baseline, part.baseline_difference) == (None, None, None)
    assert back.anomalies[0].kind == ""


def test_report_without_drift_fit_and_schema_is_read() -> None:
    """A pipeline that knows none of the optional fields leaves them out."""
    document = json.loads(a_report().to_json())
    del document["drift"], document["skew"], document["fit"], document["schema"]
    del document["challenger"]["quotable"], document["champion"]["quotable"]
    back = report.parse(json.dumps(document))

    assert (back.drift, back.skew, back.fit, back.schema) == ((), (), None, ())
    assert back.challenger.quotable is None


def test_difference_from_the_schema_says_both_sides() -> None:
    """The log shows what the trips have and what was reviewed."""
    new = SchemaDifference(feature="tips", change=Change.NEW, reviewed="", inferred="FLOAT")
    gone = SchemaDifference(feature="fare", change=Change.MISSING, reviewed="FLOAT", inferred="")

    assert str(new) == "new tips: FLOAT in the trips, nothing in the reviewed schema"
    assert str(gone) == "missing fare: nothing in the trips, FLOAT in the reviewed schema"


def test_report_is_the_same_text_each_time() -> None:
    """Keys are sorted and lines are short, so that two reports can be compared with diff."""
    text = a_report().to_json()

    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True)


def _edited(edit: Callable[[dict[str, Any]], object]) -> str:
    document = copy.deepcopy(json.loads(a_report().to_json()))
    edit(document)
    return json.dumps(document)


BAD = {
    "older version": (
        lambda d: d.update(schema_version=1),
        "schema_version is 1; this gate reads 2; run the pipeline again",
    ),
    "no version": (lambda d: d.pop("schema_version"), "report has no schema_version"),
    "no slices": (lambda d: d.pop("slices"), "report has no slices"),
    "no champion": (lambda d: d.pop("champion"), "report has no champion"),
    "NaN": (lambda d: d["challenger"]["metrics"].update(rmse=float("nan")), "contains NaN"),
    "infinity": (lambda d: d["difference"]["mae"].update(high=float("inf")), "contains Infinity"),
    "fraction for count": (
        lambda d: d["rows"].update(test=1.5),
        r"report.rows.test is 1.5; it must be a whole number$",
    ),
    "negative number of rows": (
        lambda d: d["rows"].update(eval=-1),
        r"report.rows.eval is -1; it must be a whole number, 0 or more$",
    ),
    "number for flag": (lambda d: d.update(blessed=1), r"blessed is 1; it must be true, false or null$"),
    "object for text": (
        lambda d: d["challenger"].update(uri={}),
        r"report.challenger.uri is an object; it must be a string$",
    ),
    "object for list": (
        lambda d: d.update(slices={}),
        r"report.slices is an object; it must be a list of objects$",
    ),
    "text for numbers": (lambda d: d["fit"].update(edges="0"), r"is '0'; it must be a list of numbers$"),
    "no residuals of the champion": (
        lambda d: d["fit"].pop("champion_residuals"),
        "^report.fit has no champion_residuals$",
    ),
    "no metric": (lambda d: d["challenger"]["metrics"].pop("mae"), "report.challenger.metrics has no mae"),
    "unknown metric": (
        lambda d: d["champion"]["metrics"].update(r2=0.5),
        "report.champion.metrics has unknown fields: r2",
    ),
    "unknown field": (lambda d: d.update(extra=1), "report has unknown fields: extra"),
    "unknown fields": (lambda d: d.update(b=1, a=1), "report has unknown fields: a, b$"),
    "text for number": (
        lambda d: d["slices"][1]["challenger"].update(mae="2"),
        r"report.slices\[1\].challenger.mae is '2'; it must be a finite number",
    ),
    "truth for number": (
        lambda d: d["challenger"]["metrics"].update(rmse=True),
        "rmse is True; it must be a finite number",
    ),
    "truth for count": (lambda d: d["rows"].update(test=True), "report.rows.test is True"),
    "negative count": (lambda d: d["rows"].update(train=-1), "report.rows.train is -1"),
    "list for object": (lambda d: d.update(rows=[]), "report.rows is a list; it must be an object"),
    "null for text": (lambda d: d["challenger"].update(uri=None), "report.challenger.uri is null"),
    "text for flag": (lambda d: d.update(blessed="yes"), "report.blessed is 'yes'"),
    "unknown split": (
        lambda d: d["anomalies"].update(holdout=[]),
        "report.anomalies has unknown fields: holdout",
    ),
    "unknown split of drift": (
        lambda d: d["drift"][0].update(split="holdout"),
        r"report.drift\[0\].split is 'holdout'; it must be one of train, eval, test",
    ),
    "text in a list": (
        lambda d: d["fit"].update(edges=[0, "2"]),
        r"report.fit.edges\[1\] is '2'; it must be a finite number",
    ),
    "unknown measure": (lambda d: d["drift"][0].update(measure="l2"), "one of linf, jensen_shannon"),
    "other rows": (
        lambda d: d["champion"]["metrics"].update(count=399),
        "^report: the challenger was scored on 400 rows and the champion on 399",
    ),
    "other test rows": (
        lambda d: d["rows"].update(test=399),
        "scored on 400 rows but the test split has 399",
    ),
    "itself": (
        lambda d: d["champion"].update(uri=reports.CHALLENGER + "/"),
        "are the same model, .*, but report.unchanged is false",
    ),
    "unchanged without a champion": (
        lambda d: d.update(champion=None, difference=None, unchanged=True),
        "^report.unchanged is given but report.champion is null",
    ),
    "two anchors": (
        lambda d: d["references"].append(d["references"][1]),
        "^report.references has more than one anchor; give one of each role$",
    ),
    "unknown role": (
        lambda d: d["references"][0].update(role="friend"),
        r"report.references\[0\].role is 'friend'; it must be one of baseline, anchor$",
    ),
    "other rows of a reference": (
        lambda d: d["references"][1]["metrics"].update(count=399),
        "^report: the challenger was scored on 400 rows and the anchor on 399; compare scores on the same",
    ),
    "wrong difference of a reference": (
        lambda d: d["references"][0]["difference"]["mae"].update(estimate=0.5),
        "^report: the difference in mae from the baseline is given as 0.5, but 2.4 - 2.6 is -0.2$",
    ),
    "wrong clipped difference": (
        lambda d: d["difference"]["clipped_rmse"].update(estimate=0.5),
        "^report: the difference in clipped_rmse from the champion is given as 0.5, but 4.4 - 4.5 is -0.1$",
    ),
    "wrong difference from the baseline in a slice": (
        lambda d: d["slices"][1].update(baseline_difference=d["difference"]),
        "^slice [^ ]+=8: the difference in rmse from the baseline is given as -0.1, but 4 - 4 is 0",
    ),
    "negative standard error": (
        lambda d: d["difference"]["mae"].update(error=-0.1),
        r"report.difference.mae.error is -0.1; it must be 0 or more$",
    ),
    "wrong difference": (
        lambda d: d["difference"]["rmse"].update(estimate=0.5),
        "^report: the difference in rmse from the champion is given as 0.5, but 4.4 - 4.5 is -0.1",
    ),
    "wrong difference beside a missing one": (
        lambda d: (
            d["difference"]["rmse"].update(estimate=None),
            d["difference"]["mae"].update(estimate=0.5),
        ),
        "^report: the difference in mae from the champion is given as 0.5, but 2.4 - 2.45 is -0.05",
    ),
    "other rows in a slice": (
        lambda d: d["slices"][1]["champion"].update(count=79),
        "^slice [^ ]+=8: the challenger was scored on 80 rows and the champion on 79",
    ),
    "wrong difference in a slice": (
        lambda d: d["slices"][1].update(difference=d["difference"]),
        "^slice [^ ]+=8: the difference in rmse from the champion is given as -0.1, but 4 - 4 is 0",
    ),
    "one-sided difference": (
        lambda d: d.update(champion=None),
        "^report.difference is given but report.champion is null",
    ),
}


@pytest.mark.parametrize(("edit", "problem"), BAD.values(), ids=BAD.keys())
def test_bad_report_is_an_error_that_names_it(edit: Callable[[dict[str, Any]], object], problem: str) -> None:
    """Every malformed report is refused with the place of the error."""
    with pytest.raises(ReportError, match=problem):
        report.parse(_edited(edit))


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d["challenger"]["metrics"].update(rmse=-1.0), "rmse is -1.0; it must be 0 or more"),
        (lambda d: d["slices"][0]["challenger"].update(mae=-5e-324), "mae is -5e-324; it must be 0 or more"),
        (lambda d: d["drift"][0].update(distance=-0.5), "distance is -0.5; it must be 0 or more"),
        (lambda d: d["difference"]["mae"].update(low=10**400), "low is 1000*; it must be a finite number"),
        (lambda d: d["tuner"]["best"].update(depth=10**400), "depth is 1000*; it must be a finite number"),
        (lambda d: d["rows"].update(train=2**63), "train is 9223372036854775808; it must be at most"),
        (lambda d: d["challenger"].update(uri="\ud800"), "not valid JSON.*surrogates not allowed"),
    ],
)
def test_impossible_value_is_an_error_that_names_it(
    edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    """Errors are not negative, numbers fit a double, counts fit 64 bits, and strings are Unicode."""
    with pytest.raises(ReportError, match=problem):
        report.parse(_edited(edit))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"[" * 100_000, "cannot be read: .* nested too deeply"),
        (b'{"a":' * 100_000, "cannot be read: .* nested too deeply"),
        (b"\xff\xfe\xfd", "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b'{"schema_version": 1e999}', "schema_version is inf"),
    ],
)
def test_text_of_no_report_is_an_error(text: bytes, problem: str) -> None:
    """Bytes that no parser of JSON takes are refused as any other report that cannot be read."""
    with pytest.raises(ReportError, match=problem):
        report.parse(text)


def test_diverged_model_has_a_report() -> None:
    """Means that are not finite are null in the bands of fares too, and are read."""
    broken = a_report(with_champion=False)
    fit = reports.a_fit(with_champion=False)
    bands = tuple(replace(band, challenger=float("nan")) for band in fit.bands)
    back = report.parse(replace(broken, fit=replace(fit, bands=bands)).to_json())

    assert back.fit is not None
    assert [band.challenger for band in back.fit.bands] == [None, None]


@given(st.data())
def test_truncated_report_is_an_error(data: st.DataObject) -> None:
    """A truncated report is refused."""
    text = a_report().to_json()
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(ReportError, match="truncated"):
        report.parse(text[:end])


def test_report_of_another_window_is_an_error() -> None:
    """A run reads the report of its own window only."""
    with pytest.raises(ReportError, match="'2015-07_train24_test1'; this run's window is '2015-08"):
        report.parse(a_report().to_json(), window="2015-08_train24_test1")


def test_document_that_is_no_object_is_an_error() -> None:
    """JSON of another kind is named as it is."""
    with pytest.raises(ReportError, match="report is a list; it must be an object"):
        report.parse("[]")


def test_same_folder_is_read_as_unchanged() -> None:
    """A run that trained the model which serves has a report, with both under one address."""
    document = json.loads(a_report().to_json())
    document["champion"]["uri"] = document["challenger"]["uri"]
    document["unchanged"] = True

    assert report.parse(json.dumps(document)).unchanged


def test_references_are_found_by_their_role() -> None:
    """The report gives each reference, and None for one that it lacks."""
    baseline, anchor = a_report().references
    given_report = replace(a_report(), references=(anchor,))

    assert (given_report.reference(Role.ANCHOR), given_report.reference(Role.BASELINE)) == (anchor, None)
    assert a_report().reference(Role.BASELINE) == baseline


def test_trials_are_read_as_they_were_written() -> None:
    """Each trial keeps its score, and the types of its hyperparameters."""
    document = json.loads(a_report().to_json())
    document["tuner"]["history"] = [{"depth": 2, "activation": "gelu", "score": 4.2}]
    tuner = report.parse(json.dumps(document)).tuner

    assert tuner is not None
    assert tuner.history[0].score == 4.2
    assert tuner.history[0].hyperparameters == {"depth": 2, "activation": "gelu"}
    assert isinstance(tuner.history[0].hyperparameters["depth"], int)


def test_hyperparameter_that_is_no_scalar_is_named() -> None:
    """A trial with a list for a value is refused by the name of the hyperparameter."""
    document = json.loads(a_report().to_json())
    document["tuner"]["history"] = [{"depth": [2], "score": 4.2}]

    with pytest.raises(ReportError, match=r"history\[0\].depth is a list; it must be a finite number"):
        report.parse(json.dumps(document))
