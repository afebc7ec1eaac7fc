"""A decision read back from decision.json."""

from __future__ import annotations

import json

from taxi_ml.gate import policy, refits, report
from taxi_ml.gate.decision import (
    SCHEMA_VERSION,
    Decision,
    Override,
    OverrideError,
    Verdict,
)
from taxi_ml.gate.fields import Fields
from taxi_ml.gate.reasons import Reason, ReasonCode


class DecisionError(ValueError):
    """A string is not a decision that this gate has written."""


def parse(text: str | bytes) -> Decision:
    """Read decision.json.

    Raises:
        DecisionError: naming what is missing, unknown or of the wrong type.

    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecisionError(f"the decision is not valid JSON: {error}") from error
    fields = Fields(document, "decision", DecisionError)
    version = fields.count("schema_version")
    if version != SCHEMA_VERSION:
        raise DecisionError(f"decision.schema_version is {version}; this gate reads {SCHEMA_VERSION}")
    parameters = fields.read("parameters", Fields.other_scalars) if fields.has("parameters") else {}
    kept = Decision(
        verdict=fields.choice("verdict", Verdict),
        reasons=fields.read_list("reasons", _read_reason),
        override=fields.read_or_none("override", _read_override),
        window=fields.text("window"),
        rows=fields.read("rows", report.rows),
        challenger=fields.text("challenger"),
        champion=fields.text_or_none("champion"),
        rmse=fields.number_or_none("rmse"),
        mae=fields.number_or_none("mae"),
        champion_rmse=fields.number_or_none("champion_rmse"),
        champion_mae=fields.number_or_none("champion_mae"),
        undecided_slices=fields.texts("undecided_slices"),
        hashes=fields.read("hashes", report.hashes),
        policy=fields.read("policy", policy.read),
        warnings=fields.read_list("warnings", _read_reason),
        power=fields.number_or_none("power"),
        rows_needed=fields.count_or_none("rows_needed"),
        refit=fields.read_or_none("refit", refits.refit) if fields.has("refit") else None,
        serves_refit=fields.flag("serves_refit") if fields.has("serves_refit") else False,
        parameters={name: str(value) for name, value in parameters.items()},
    )
    fields.close()
    return kept


def _read_reason(fields: Fields) -> Reason:
    return Reason(
        code=fields.choice("code", ReasonCode),
        metric=fields.text("metric"),
        slice=fields.text_or_none("slice"),
        observed=fields.scalar_or_none("observed"),
        required=fields.text("required"),
    )


def _read_override(fields: Fields) -> Override:
    reason, codes, by = fields.text("reason"), fields.texts("codes"), fields.text("by")
    try:
        return Override.of(reason, codes, by=by)
    except OverrideError as error:
        raise DecisionError(f"decision.override: {error}") from error
