"""The gate as a task: what it reads, decides once, and leaves on Cloud Storage."""

from __future__ import annotations

import json
import sys
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.operators.gate import GateOperator
from taxi_airflow.operators.validate import ValidateOperator
from taxi_airflow.runs import next_step, run_of
from taxi_ml.gate.anchor import skill
from taxi_ml.gate.metrics import Difference, Interval
from taxi_ml.gate.report import parse
from taxi_ml.promotion.golden import Golden
from tests.airflow.tasks import context, run_task
from tests.taxi_ml.reports import CHALLENGER, GOLDEN, a_report
from vertex_airflow.baseline import Baseline
from vertex_airflow.model_registry import RegisteredModel
from vertex_airflow.names import ModelName

if TYPE_CHECKING:
    from vertex_airflow.objects import ObjectStore

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("cloud")]
CHAMPION = ModelName.parse("projects/p/locations/l/models/m@3")
LATER = {"window": "2015-06_train1_test1"}
PUSHED = "gs://taxi-local/serving/2015-02_train12_test1/1420070400"
PARAMS = {"window_end": "2015-02-01", "train_months": 12}
WINDOW = "2015-02_train12_test1"
SIZING = "train 9,000 trips, sampled to 4,000 (44.4 %)"
REPORT = json.loads(replace(a_report(), window=WINDOW).to_json())


def gate(store: ObjectStore, job: str, report: dict[str, Any], running: Any = None) -> Any:  # noqa: ANN401  # XCom's
    """Let the gate judge a report of a job."""
    return judge(store, job, json.dumps(report).encode(), running)


def judge(  # noqa: PLR0913  # what the gate is told
    store: ObjectStore,
    job: str,
    content: bytes,
    running: Any = None,  # noqa: ANN401  # Airflow's Context
    *,
    pushed_to: str = PUSHED,
    parameters_uri: str = "",
    golden: bool = True,
) -> Any:  # noqa: ANN401  # XCom's
    """Let the gate judge what a job has written as its report; the model was pushed to `PUSHED`."""
    uri = f"gs://taxi-local/reports/{job}/report.json"
    store.write(uri, content)
    if golden:
        store.write(f"gs://taxi-local/reports/{job}/golden.json", GOLDEN.to_json().encode())
    for folder in (CHALLENGER, PUSHED):
        store.write(f"{folder}/saved_model.pb", b"graph")
    running = running or context(params=PARAMS)
    store.write_once(run_of(running).baseline_uri, Baseline.of(None, None).to_json())
    name = f"projects/taxi-local/locations/us-central1/pipelineJobs/{job}"
    task = GateOperator(
        task_id="gate",
        job=name,
        report_uri=uri,
        parameters_uri=parameters_uri,
        pushed_to=pushed_to,
        sizing=SIZING,
    )
    return run_task(task, running)


def test_the_gate_keeps_its_decision(store: ObjectStore) -> None:
    """The decision is written once: another report of the same job does not change it."""
    first = gate(store, "job-kept", REPORT)

    again = gate(store, "job-kept", {**REPORT, "blessed": False})

    assert ("promote", first) == (first["verdict"], again)


def test_the_gate_keeps_the_golden_trips(store: ObjectStore) -> None:
    """They stand beside the decision, and are written once."""
    first = gate(store, "job-golden", REPORT)
    other = replace(GOLDEN, trips=GOLDEN.trips[:1]).to_json().encode()
    store.write("gs://taxi-local/reports/job-golden/golden.json", other)

    judge(store, "job-golden", json.dumps(REPORT).encode(), golden=False)

    assert first["golden"] == first["decision"].replace("decision", "golden")
    assert Golden.parse(store.read(first["golden"])) == GOLDEN


def test_a_report_without_golden_trips_is_made_again(store: ObjectStore) -> None:
    """A pipeline of an earlier version wrote none: there is no decision, and the error says what to do."""
    with pytest.raises(AirflowFailException, match=r"golden.json does not exist; .* run it again with"):
        judge(store, "job-older", json.dumps(REPORT).encode(), golden=False)


def test_an_unchanged_model_is_no_failure(store: ObjectStore) -> None:
    """A model that answers as the champion does has a decision of its own, and a card."""
    returned = gate(store, "job-unchanged", {**REPORT, "unchanged": True})

    assert (returned["verdict"], returned["card_problem"]) == ("unchanged", "")


def test_the_own_network_of_a_mean_is_copied(store: ObjectStore) -> None:
    """The graph inside a mean is served with it, although TFX's Pusher leaves it out."""
    store.write(f"{CHALLENGER}/own/saved_model.pb", b"own graph")

    gate(store, "job-mean", REPORT)

    assert store.read(f"{PUSHED}/own/saved_model.pb") == b"own graph"


@pytest.mark.parametrize("differs", [False, True])
def test_the_gate_names_the_model_to_serve(store: ObjectStore, *, differs: bool) -> None:
    """It is the pushed refit, or the judged model in its folder, with the golden trips of that very model."""
    refit = "gs://taxi-local/refit/1"
    golden = replace(GOLDEN, model=refit)
    # TFX's Pusher leaves out the graph of the model inside; the gate copies it.
    for folder in (refit, f"{refit}/judged"):
        store.write(f"{folder}/saved_model.pb", b"graph")
    job = f"job-refit-{differs}".lower()
    store.write(f"gs://taxi-local/reports/{job}/golden_refit.json", golden.to_json().encode())
    found = {"uri": refit, "mean_absolute": 100.0 if differs else 0.01, "mean_signed": 0.0}

    returned = gate(store, job, {**REPORT, "refit": found})

    served = f"{PUSHED}/judged" if differs else PUSHED
    assert store.read(f"{PUSHED}/judged/saved_model.pb") == b"graph"
    assert (returned["verdict"], returned["challenger"], returned["card_problem"]) == ("promote", served, "")
    assert returned["trained_until"] == ("2015-01-01" if differs else "2015-02-01")
    assert Golden.parse(store.read(returned["golden"])) == (GOLDEN if differs else golden)


def test_another_model_beside_the_refit_is_found(store: ObjectStore) -> None:
    """The judged model must be in the pushed folder as it was judged."""
    refit = {"uri": "gs://taxi-local/refit/2", "mean_absolute": 0.0, "mean_signed": 0.0}
    store.write(f"{refit['uri']}/saved_model.pb", b"graph")
    store.write(f"{PUSHED}/judged/saved_model.pb", b"another graph")

    with pytest.raises(AirflowFailException, match=r"/judged holds a different model"):
        gate(store, "job-other-twin", {**REPORT, "refit": refit})

    store.delete(f"{PUSHED}/judged/saved_model.pb")


def test_a_rejection_is_no_failure(store: ObjectStore) -> None:
    """A model that is not good enough gives a decision with reasons, not an error."""
    returned = gate(store, "job-rejected", {**REPORT, "blessed": False})

    decision = json.loads(store.read(returned["decision"]))
    assert (returned["verdict"], decision["reasons"][0]["code"]) == ("reject", "not_blessed")


def test_the_pushed_copy_is_what_serves(store: ObjectStore) -> None:
    """The decision names the Pusher's copy, which no rule deletes, and not the artifact that was judged."""
    returned = gate(store, "job-pushed", REPORT)

    decision = json.loads(store.read(returned["decision"]))
    assert (returned["challenger"], decision["challenger"]) == (PUSHED, PUSHED)


def test_the_skill_is_that_of_the_report(store: ObjectStore) -> None:
    """The label of the version to be is the report's ratio, also when the task is cleared."""
    first = gate(store, "job-skill", REPORT)

    again = gate(store, "job-skill", REPORT)

    assert first["skill"] == again["skill"] == skill(parse(json.dumps(REPORT)))
    assert len(first["skill"]) == 4


def test_the_model_that_serves_is_unchanged(store: ObjectStore) -> None:
    """A window that runs again takes the Pusher's copy from the cache, which is the champion's own folder."""
    same = a_report()
    champion = replace(same.champion, uri=PUSHED, metrics=same.challenger.metrics) if same.champion else None
    nothing = Interval(estimate=0.0, low=0.0, high=0.0, error=0.0)
    difference = Difference(rmse=nothing, clipped_rmse=nothing, mae=nothing)
    report = replace(same, window=WINDOW, champion=champion, difference=difference, unchanged=True)

    returned = gate(store, "job-unchanged", json.loads(report.to_json()))

    assert (returned["verdict"], returned["challenger"]) == ("unchanged", PUSHED)
    assert next_step(returned["verdict"], "True") == "unchanged"
    assert returned["card_problem"] == ""


def test_a_copy_of_another_model_is_a_failure(store: ObjectStore) -> None:
    """If two runs pushed in the same second, the later one's folder holds the model of the other."""
    other = "gs://taxi-local/serving/2015-02_train12_test1/1"
    store.write(f"{other}/saved_model.pb", b"another graph")

    with pytest.raises(AirflowFailException, match="holds a different model than"):
        judge(store, "job-other-copy", json.dumps(REPORT).encode(), pushed_to=other)


@pytest.mark.parametrize("missing", ["", "None"])
def test_a_blessed_model_that_was_not_pushed_is_a_failure(store: ObjectStore, missing: str) -> None:
    """A model whose copy is unknown is not served from its artifact, which will be deleted."""
    with pytest.raises(AirflowFailException, match="does not say where the Pusher copied it"):
        judge(store, "job-unpushed", json.dumps(REPORT).encode(), pushed_to=missing)


def test_a_model_that_was_not_blessed_needs_no_copy(store: ObjectStore) -> None:
    """The Pusher copies nothing, and the gate rejects."""
    content = json.dumps({**REPORT, "blessed": False}).encode()
    returned = judge(store, "job-unblessed", content, pushed_to="")

    assert (returned["verdict"], returned["challenger"]) == ("reject", CHALLENGER)


def test_what_the_pipeline_was_given_is_in_the_decision(store: ObjectStore) -> None:
    """The spec's hash stands for code and settings; window, data and champion are kept beside it."""
    uri, values = "gs://taxi-local/runs/given/parameters.json", {"window": WINDOW, "data_uri": "gs://b/data"}
    store.write(uri, json.dumps(values).encode())
    returned = judge(store, "job-given", json.dumps(REPORT).encode(), parameters_uri=uri)

    assert json.loads(store.read(returned["decision"]))["parameters"] == values


def test_the_model_card_is_kept_and_linked(store: ObjectStore) -> None:
    """The card is written once beside the decision, and the task links to a page that a browser shows."""
    running = context(params=PARAMS)
    returned = gate(store, "job-card", REPORT, running)

    with urllib.request.urlopen(running["ti"].xcom["model_card_link"], timeout=10) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.read() == store.read(returned["card"])
    assert SIZING.encode() in store.read(returned["card"])


@pytest.mark.parametrize("usd", [1e6, 1e9, 1e12, 1e300, sys.float_info.max, None])
def test_a_diverged_model_is_rejected_with_a_card(store: ObjectStore, usd: float | None) -> None:
    """However extreme a model's fares are, there is a decision against it and a page that shows it."""
    report = json.loads(json.dumps(REPORT))
    report["champion"] = report["difference"] = None
    report["references"] = []
    report["challenger"]["metrics"].update(rmse=usd, mae=usd, mean_prediction=usd)
    for band in report["fit"]["bands"]:
        band["challenger"] = usd

    returned = gate(store, f"job-diverged-{usd}".replace("+", "-"), report)

    assert (returned["verdict"], returned["card_problem"]) == ("reject", "")
    assert len(store.read(returned["card"])) < 30_000


def test_a_card_that_cannot_be_rendered_leaves_the_decision(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task succeeds with the decision and says why there is no card; once cleared, it writes the card."""
    with monkeypatch.context() as broken:
        broken.setattr("taxi_ml.card.page._TEMPLATE", "missing.html.jinja")
        first_run = context(params=PARAMS)
        first = gate(store, "job-no-card", REPORT, first_run)

    again = gate(store, "job-no-card", {**REPORT, "blessed": False})

    assert (first["verdict"], first["card"], first_run["ti"].xcom["model_card_link"]) == ("promote", "", "")
    assert "TemplateNotFound" in first["card_problem"]
    assert (again["verdict"], again["card_problem"]) == ("promote", "")
    assert b'class="verdict promote"' in store.read(again["card"])


def test_an_override_promotes_and_is_kept_in_the_decision(store: ObjectStore) -> None:
    """A run whose form overrides a reason, and says why, promotes; the decision has both."""
    params = {**PARAMS, "override_codes": ["not_blessed"], "override_reason": "the threshold is stale"}
    returned = gate(store, "job-overridden", {**REPORT, "blessed": False}, context(params=params))

    decision = json.loads(store.read(returned["decision"]))
    assert (decision["verdict"], decision["reasons"][0]["code"]) == ("promote", "not_blessed")
    assert decision["override"]["codes"] == ["not_blessed"]
    assert decision["override"]["reason"] == "the threshold is stale"


@pytest.mark.parametrize(
    ("serving", "reported", "code"),
    [
        (RegisteredModel(name=CHAMPION, uri="gs://b/gone", labels={}), None, "champion_missing"),
        (RegisteredModel(name=CHAMPION, uri="gs://b/m", labels=LATER), "report", "champion_newer"),
    ],
)
def test_the_gate_knows_what_serves(
    store: ObjectStore, serving: RegisteredModel, reported: str | None, code: str
) -> None:
    """A missing or unfair comparison with the champion rejects; an override continues, and is recorded."""
    report = (
        REPORT if reported else json.loads(replace(a_report(with_champion=False), window=WINDOW).to_json())
    )
    overriding = {**PARAMS, "override_codes": [code], "override_reason": "a test"}
    verdicts, reasons = [], []
    for run_id, params in (("judged", PARAMS), ("overridden", overriding)):
        running = context(f"{run_id}-{code}", params=params)
        store.write(run_of(running).baseline_uri, Baseline.of(None, serving).to_json())
        returned = gate(store, f"job-{run_id}-{code}".replace("_", "-"), report, running)
        decision = json.loads(store.read(returned["decision"]))
        verdicts.append(decision["verdict"])
        reasons.append([reason["code"] for reason in decision["reasons"]])

    assert (verdicts, reasons) == (["reject", "promote"], [[code], [code]])


def test_a_gate_that_does_not_know_what_served_decides_nothing(store: ObjectStore) -> None:
    """Without the record of what served, the expected champion of the report is unknown."""
    running = context("unrecorded", params=PARAMS)
    store.delete(run_of(running).baseline_uri)
    store.write("gs://taxi-local/reports/unrecorded/report.json", json.dumps(REPORT).encode())
    task = GateOperator(
        task_id="gate",
        job="projects/taxi-local/locations/us-central1/pipelineJobs/unrecorded",
        report_uri="gs://taxi-local/reports/unrecorded/report.json",
    )

    with pytest.raises(AirflowFailException, match="no record of what served before"):
        run_task(task, running)


@pytest.mark.parametrize(
    ("codes", "reason", "problem"),
    [
        (["not_blessed"], None, "needs a written reason"),
        ([], "because", "needs at least one code"),
        (["metric_missing"], "because", "cannot be overridden"),
    ],
)
def test_an_override_that_nobody_can_audit_is_refused(
    codes: list[str], reason: str | None, problem: str
) -> None:
    """The first task refuses an override without a reason or codes, and one of missing numbers."""
    running = context(params={**PARAMS, "override_codes": codes, "override_reason": reason})

    with pytest.raises(AirflowFailException, match=problem):
        run_task(ValidateOperator(task_id="validate"), running)


@pytest.mark.parametrize("content", [b'{"schema_version": 1}', b"[" * 100_000, b"\xff\xfe\xfd", b"9" * 5000])
def test_an_unreadable_report_is_a_failure(store: ObjectStore, content: bytes) -> None:
    """Without a report there is no decision and no retry."""
    with pytest.raises(AirflowFailException, match="no decision about"):
        judge(store, "job-unreadable", content)

    with pytest.raises(FileNotFoundError):
        store.read("gs://taxi-local/runs/job-unreadable/decision.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"verdict": "maybe"}', b'{"verdict": []}'])
def test_what_is_not_a_decision_is_a_failure(store: ObjectStore, content: bytes) -> None:
    """An object in the decision's place that the gate did not write decides nothing, and is left alone."""
    store.write("gs://taxi-local/runs/job-foreign/decision.json", content)

    with pytest.raises(AirflowFailException, match="does not hold a decision"):
        gate(store, "job-foreign", REPORT)


def test_a_report_of_another_window_is_a_failure(store: ObjectStore) -> None:
    """A report that does not belong to this run decides nothing."""
    other = {**REPORT, "window": "2014-02_train12_test1"}

    with pytest.raises(AirflowFailException, match="2014-02_train12_test1"):
        gate(store, "job-other", other)
