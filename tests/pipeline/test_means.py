from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("means")]


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The answers of a mean of two models to the words a, b and another, and those of the earlier model."""
    folder: Path = tmp_path_factory.mktemp("means")
    subprocess.run(
        [PIPELINE_PYTHON, "-m", "tests.pipeline.means_of", folder],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
        check=True,
        timeout=200,
    )
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def test_each_member_reads_its_own_vocabulary(averaged: dict[str, Any]) -> None:
    """Tables of one name stay apart; no fare is below the own network's lowest, 2 USD."""
    assert averaged["earlier"] == [5.0, 1.0, 100.0]
    assert averaged["fares"] == [(0 + 5) / 2, max((1 + 1) / 2, 2.0), 100.0]


def test_the_inputs_are_those_of_the_own_network(averaged: dict[str, Any]) -> None:
    """Other rows are compared with the training rows in the own network's vocabulary."""
    assert averaged["ids"] == [0, 1, 100]


def test_a_model_that_reads_more_is_left_out(averaged: dict[str, Any]) -> None:
    """A model with a feature that instances do not have cannot answer, and is not a member."""
    assert averaged["taken"] == ["earlier/Format-Serving"]
