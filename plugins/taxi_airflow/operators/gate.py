"""Decide about a trained model, once, and keep the decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from taxi_airflow.links import ModelCardLink
from taxi_airflow.operators.connected import ConnectedOperator
from taxi_airflow.runs import override_of, run_of
from taxi_ml import naming
from taxi_ml.gate.decision import OverrideError, Verdict, decide
from taxi_ml.gate.policy import DEFAULT_PATH, PolicyError
from taxi_ml.gate.policy import load as load_policy
from taxi_ml.gate.report import ReportError
from taxi_ml.gate.report import parse as parse_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow.sdk import Context

    from taxi_airflow.objects import ObjectStore
    from taxi_ml.gate.decision import Decision, Override


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A decision and the page that shows it."""

    decision: Decision
    card: str


class GateOperator(ConnectedOperator):
    """Judge the report of a pipeline job by the policy, and write decision.json and a model card beside it.

    The decision is written once: another try, or a cleared task, reads the one that is there. A rejection
    is a success of this task; a report or policy that cannot be read is an error for good. The run's
    parameters may override reasons by their codes, with a written reason, which the decision records.
    Returns ``{"verdict", "decision", "report", "card", "challenger"}``: a word and four addresses.

    :param job: resource name of the pipeline job
    :param report_uri: ``gs://…/report.json``
    :param policy: the policy file
    """

    template_fields: Sequence[str] = (*ConnectedOperator.template_fields, "job", "report_uri")
    operator_extra_links = (ModelCardLink(),)
    ui_color = "#fde293"

    def __init__(
        self,
        *,
        job: str,
        report_uri: str,
        policy: Path = DEFAULT_PATH,
        **kwargs: Any,  # noqa: ANN401  # ConnectedOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.report_uri = report_uri
        self.policy = policy

    def execute(self, context: Context) -> dict[str, str]:
        """Decide, unless this job's decision exists."""
        run = run_of(context)
        job_id = naming.PipelineJobName.parse(self.job).id
        store = self.store()
        uri = naming.decision_uri(run.settings, job_id)
        card = naming.card_uri(run.settings, job_id)
        decision = _existing(store, uri)
        if decision is None:
            report = store.read(self.report_uri)
            judged = self._decide(report.decode(), window=run.window.id, override=_override(context))
            store.write_once(naming.report_uri(run.settings, job_id), report)
            store.write_once(card, judged.card.encode(), content_type="text/html; charset=utf-8")
            store.write_once(uri, judged.decision.to_json().encode())
            # Whoever was first decides, and it need not have been this try.
            decision = json.loads(store.read(uri))
        else:
            self.log.info("%s was written before and stands", uri)
        self.log.info("%s: %s", uri, decision["verdict"])
        ModelCardLink().persist(context, store.page(card))
        return {
            "verdict": decision["verdict"],
            "decision": uri,
            "report": naming.report_uri(run.settings, job_id),
            "card": card,
            "challenger": decision["challenger"],
        }

    def _decide(self, report: str, *, window: str, override: Override | None) -> Judged:
        from taxi_ml.card import render  # noqa: PLC0415  # Jinja is no part of parsing a DAG

        try:
            parsed = parse_report(report, window=window)
            decision = decide(load_policy(self.policy), parsed, override)
        except (PolicyError, ReportError) as error:
            raise AirflowFailException(f"no decision about {self.report_uri}: {error}") from error
        self.log.info("%s", decision.describe())
        return Judged(decision=decision, card=render(parsed, decision))


def _override(context: Context) -> Override | None:
    try:
        return override_of(context)
    except OverrideError as error:
        raise AirflowFailException(f"the override cannot be audited: {error}") from error


def _existing(store: ObjectStore, uri: str) -> dict[str, Any] | None:
    try:
        decision: dict[str, Any] = json.loads(store.read(uri))
    except FileNotFoundError:
        return None
    if decision.get("verdict") not in set(Verdict):
        raise AirflowFailException(f"{uri} holds no decision; it was not written by the gate")
    return decision
