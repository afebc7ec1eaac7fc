from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local_vertex import evidence, fidelity
from local_vertex.evidence import Evidence, checks

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = {check.id: "NOT_FOUND" for check in checks()}


def test_a_method_names_its_unproven_checks() -> None:
    """A method lists its sources, and the checks whose answers are only assumed."""
    known = Evidence(local=LOCAL, google={})
    get_model = known.of_method("ModelService.GetModel")

    assert get_model == "documentation, protos; unproven: model.names, model.absent-alias"
    assert known.of_method("JobService.ListCustomJobs") == "protos"
    assert known.of_method("PipelineService.BatchCancelPipelineJobs") == "protos; not asked"


def test_a_report_of_google_proves(tmp_path: Path) -> None:
    """The page says so if Google gave the same answers to all of a method's checks."""
    rows = [{"id": name, "observed": answer} for name, answer in LOCAL.items()]
    rows[-1] = {"id": rows[-1]["id"], "observed": "INVALID_ARGUMENT"}
    (tmp_path / "google.json").write_text(json.dumps({"day": "2026-12-01", "checks": rows}))
    (tmp_path / "local.json").write_text(json.dumps(LOCAL))
    known = Evidence.read(tmp_path / "local.json", tmp_path / "google.json")

    assert known.of_method("ModelService.GetModel") == "proven on Google, 2026-12-01"
    assert known.of_method("Operations.GetOperation") == "differs from Google: see below"
    assert any(line.endswith("| `INVALID_ARGUMENT`, 2026-12-01 |") for line in known.section())


def test_the_page_lists_what_is_unproven() -> None:
    """The page lists the checks that reading could not settle, with the answer given here."""
    page = fidelity.render()

    assert "| GetModel | supported | documentation, protos; unproven: model.names" in page
    assert (
        "| model.absent-alias | What does reading an absent alias answer? | `NOT_FOUND` | unproven:" in page
    )


def test_a_question_about_an_unknown_method_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check of a method that is not supported is an error: it would verify nothing."""
    wrong = evidence.Check(
        id="x", question="?", methods=("VizierService.CreateStudy",), basis=evidence.Basis.BELIEF, source=""
    )
    monkeypatch.setattr(fidelity, "checks", lambda: (wrong,))

    with pytest.raises(fidelity.UnknownMethodError, match=r"checks\.toml has 'VizierService\.CreateStudy'"):
        fidelity.render()
