"""The page of what is supported, against the table of methods."""

from __future__ import annotations

import pytest

from local_vertex import fidelity


def test_the_page_is_current() -> None:
    """docs/fidelity.md is what the command writes."""
    assert fidelity.PAGE.read_text() == fidelity.render()


def test_every_method_has_a_status() -> None:
    """A supported method, one that differs and one that is refused are told apart."""
    page = fidelity.render()

    assert "| DeleteEndpoint | supported | protos; unproven: endpoint.delete-deployed |  |" in page
    assert "| MutateDeployedModel | partial | protos; not asked | The resources asked for are kept" in page
    assert "| CreateTrainingPipeline | UNIMPLEMENTED |  |  |" in page
    assert "| VizierService | " in page


def test_a_difference_needs_a_supported_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference of a method that is not supported is an error."""
    monkeypatch.setattr(fidelity, "DIFFERENCES", {"VizierService.CreateStudy": "no"})

    with pytest.raises(fidelity.UnknownMethodError, match=r"VizierService\.CreateStudy"):
        fidelity.render()
