"""Decide once whether a trained model may be promoted."""

from __future__ import annotations

import json
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.champions import champion_of
from taxi_airflow.links import ModelCardLink
from taxi_airflow.runs import run_of
from taxi_ml import naming
from taxi_ml.gate.anchor import SKILL_LABEL, skill
from taxi_ml.gate.champion import JUDGED_FOLDER
from taxi_ml.gate.decision import Verdict, decide
from taxi_ml.gate.kept import parse as parse_decision
from taxi_ml.gate.policy import DEFAULT_PATH, PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.gate.report import ReportError
from taxi_ml.gate.report import parse as parse_report
from taxi_ml.promotion.golden import FILE_NAME as GOLDEN_FILE
from taxi_ml.promotion.golden import REFIT_FILE, Golden, GoldenError
from vertex_airflow.baseline import Baseline
from vertex_airflow.names import PipelineJobName
from vertex_airflow.operators.connected import ConnectedOperator, is_empty
from vertex_airflow.specs import load_document

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from taxi_ml.gate.champion import Champion
    from taxi_ml.gate.decision import Decision, Override
    from taxi_ml.gate.report import Report
    from vertex_airflow.objects import ObjectStore

_GRAPH = "saved_model.pb"
# The own network of a mean, as `taxi_ml.modules.means` has it, and the judged model of a refit.
_NESTED = ("own", JUDGED_FOLDER, f"{JUDGED_FOLDER}/own")


class GateOperator(ConnectedOperator):
    """Judge the report of a pipeline job by the policy, and write decision.json, then a model card beside it.

    It also reads what `FindChampionOperator` recorded: a serving model that the report does not compare with,
    or not fairly, is a reason to reject.

    The challenger is served from the Pusher's copy, because the bucket's lifecycle rules delete the artifacts
    of a run after a while. The Pusher names its copy by the second and takes an existing folder for its own,
    so the gate compares the copy with the model that was judged.

    The decision is written once: another try, or a cleared task, reads the one that is there. A rejection
    is a success of this task; a report or policy that cannot be read fails it without a retry. The run's
    parameters may override reasons by their codes, with a written reason, which the decision records.
    Returns ``{"verdict", "decision", "report", "golden", "golden_check", "card", "card_problem",
    "challenger", "skill", "trained_until"}``: a word, addresses, why the card is missing, how good the
    challenger is (`taxi_ml.gate.anchor`), and the first day after those that it was trained on. At
    `golden_check` nothing stands yet: the smoke test writes it. A card that cannot be written changes
    nothing else; clear the task to write it again.

    With a refit, the challenger is the Pusher's copy of it, or the judged model inside of that copy if the
    two differ too much.

    :param job: resource name of the pipeline job
    :param report_uri: ``gs://…/report.json``, with golden.json beside it
    :param parameters_uri: ``gs://…`` JSON object of the job's parameters, for the decision; empty: none
    :param pushed_to: ``gs://…`` folder that the Pusher copied the model to; empty: it pushed none
    :param sizing: the size that was chosen for the run, for the card
    :param policy: the policy file
    """

    template_fields: Sequence[str] = (
        *ConnectedOperator.template_fields,
        "job",
        "report_uri",
        "parameters_uri",
        "pushed_to",
        "sizing",
    )
    operator_extra_links = (ModelCardLink(),)
    ui_color = "#fde293"

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        job: str,
        report_uri: str,
        parameters_uri: str = "",
        pushed_to: str = "",
        sizing: str = "",
        policy: Path = DEFAULT_PATH,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.report_uri = report_uri
        self.parameters_uri = parameters_uri
        self.pushed_to = pushed_to
        self.sizing = sizing
        self.policy = policy

    def execute(self, context: Context) -> dict[str, str]:
        """Decide, unless this job's decision exists."""
        run = run_of(context)
        job_id = PipelineJobName.parse(self.job).id
        store = self.store()
        uri = naming.decision_uri(run.settings, job_id)
        report_uri = naming.report_uri(run.settings, job_id)
        golden_uri = naming.golden_uri(run.settings, job_id)
        try:
            decision = _written(store, uri)
            self.log.info("%s was written before and stands", uri)
        except FileNotFoundError:
            report = store.read(self.report_uri)
            serving = champion_of(Baseline.recorded(store, run.baseline_uri))
            decided = self._decide(store, report, run.window.id, run.override, serving)
            golden = self._golden(store, REFIT_FILE if decided.serves_refit else GOLDEN_FILE)
            store.write_once(report_uri, report)
            store.write_once(golden_uri, golden)
            store.write_once(uri, decided.to_json().encode())
            # The first writer decides, which need not be this try.
            decision = _written(store, uri)
        self.log.info("%s: %s", uri, decision["verdict"])
        card = naming.card_uri(run.settings, job_id)
        problem = self._write_card(store, card, report_uri=report_uri, decision_uri=uri)
        ModelCardLink().persist(context, "" if problem else store.page(card))
        return {
            "verdict": decision["verdict"],
            "decision": uri,
            "report": report_uri,
            "golden": golden_uri,
            "golden_check": naming.golden_check_uri(run.settings, job_id),
            "card": "" if problem else card,
            "card_problem": problem,
            "challenger": decision["challenger"],
            "skill": self._skill(store.read(report_uri)),
            # A refit has learned from the test months as well.
            "trained_until": str(run.window.end if decision.get("serves_refit") else run.window.test_start),
        }

    def _golden(self, store: ObjectStore, name: str) -> bytes:
        """Return the trips that the served model must answer as the evaluated one did.

        Raises:
            AirflowFailException: if the pipeline wrote none, or of another version.

        """
        uri = f"{posixpath.dirname(self.report_uri)}/{name}"
        try:
            content = store.read(uri)
            Golden.parse(content)
        except (FileNotFoundError, GoldenError) as error:
            raise AirflowFailException(
                f"{uri}: {error}; another version of the pipeline made this report: run it again with "
                "force_retrain"
            ) from error
        return content

    def _skill(self, report: bytes) -> str:
        """Return the challenger's skill; empty for a report of an earlier version, whose decision stands."""
        try:
            return skill(parse_report(report))
        except ReportError as error:
            self.log.warning("The version's label %s will be empty: %s", SKILL_LABEL, error)
            return ""

    def _decide(
        self,
        store: ObjectStore,
        content: bytes,
        window: str,
        override: Override | None,
        serving: Champion,
    ) -> Decision:
        given = not is_empty(self.parameters_uri)
        try:
            report = self._as_served(store, parse_report(content, window=window))
            decision = replace(
                decide(load_policy(self.policy), report, override, serving),
                parameters=load_document(store, self.parameters_uri) if given else {},
            )
        except (PolicyError, ReportError) as error:
            raise AirflowFailException(f"no decision about {self.report_uri}: {error}") from error
        for difference in report.schema:
            self.log.warning("Schema: %s", difference)
        self.log.info("%s", decision.describe())
        return decision

    def _as_served(self, store: ObjectStore, report: Report) -> Report:
        """Return the report with the Pusher's copy as the challenger; without one, as it is.

        Raises:
            ReportError: where a blessed model was not pushed, or the copy is another model.

        """
        if is_empty(self.pushed_to):
            if report.blessed:
                raise ReportError(
                    "the model is blessed, but the job does not say where the Pusher copied it; run the "
                    "pipeline again with force_retrain"
                )
            return report
        pushed, refit = self.pushed_to.rstrip("/"), report.refit
        _complete_copy(store, refit.uri if refit else report.challenger.uri, pushed)
        if refit is not None:
            _require_copy(store, refit.uri, pushed)
            report, pushed = replace(report, refit=replace(refit, uri=pushed)), f"{pushed}/{JUDGED_FOLDER}"
        _require_copy(store, report.challenger.uri, pushed)
        return replace(report, challenger=replace(report.challenger, uri=pushed))

    def _write_card(self, store: ObjectStore, card: str, *, report_uri: str, decision_uri: str) -> str:
        """Write the card unless there is one; return why it could not be written, or an empty string."""
        from taxi_ml.card import render  # noqa: PLC0415  # parsing the DAG needs no card

        try:
            if not store.matching(card):
                report = parse_report(store.read(report_uri))
                decision = parse_decision(store.read(decision_uri))
                page = render(report, decision, sizing=self.sizing)
                store.write_once(card, page.encode(), content_type="text/html; charset=utf-8")
        except Exception as error:
            # The card only shows the decision, which stands whatever fails here.
            self.log.exception("No model card: clear this task to write it again; the decision stands")
            return f"{type(error).__name__}: {error}"
        return ""


def _complete_copy(store: ObjectStore, trained: str, pushed: str) -> None:
    """Copy the graphs of models inside of a model: TFX's Pusher leaves out nested files of that name."""
    for folder in _NESTED:
        if store.exists(f"{trained}/{folder}/{_GRAPH}"):
            store.write_once(f"{pushed}/{folder}/{_GRAPH}", store.read(f"{trained}/{folder}/{_GRAPH}"))


def _require_copy(store: ObjectStore, trained: str, pushed: str) -> None:
    if store.read(f"{pushed}/{_GRAPH}") != store.read(f"{trained}/{_GRAPH}"):
        raise ReportError(
            f"{pushed} holds a different model than {trained}: two runs pushed in the same second; run "
            "the pipeline again with force_retrain"
        )


def _written(store: ObjectStore, uri: str) -> dict[str, Any]:
    content = store.read(uri)
    try:
        decision: dict[str, Any] = json.loads(content)
        known = decision["verdict"] in set(Verdict) and "challenger" in decision
    except (ValueError, RecursionError, KeyError, TypeError):
        known = False
    if not known:
        raise AirflowFailException(f"{uri} does not hold a decision; the gate did not write it")
    return decision
