"""The replay's scorer on two real models."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from taxi_ml.replay.stored import load
from taxi_ml.storage import Storage
from tests.pipeline.pipeline_python import run
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from taxi_ml.replay.stored import Stored

pytestmark = pytest.mark.pipeline
ONE, TWO = "2015-01_train24_test1", "2015-02_train24_test1"


def score(plan: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as the job does."""
    command: Sequence[str | Path] = (
        *(PIPELINE_PYTHON, "-m", "taxi_ml.replay.score"),
        *("--plan", plan, "--out", out),
    )
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan and everything that it names."""
    made = tmp_path_factory.mktemp("replay")
    run("tests.pipeline.scored_months", made)
    assert score(made / "plan.json", made / "out").returncode == 0
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> Stored:
    """What the scorer stored."""
    return load(Storage(), str(folder / "out"))


def test_every_model_is_scored_on_its_own_and_later_months(folder: Path, found: Stored) -> None:
    """Each prediction is that of the model's serving signature, for each row in its place."""
    first, second = found.months
    hours = [hour % 24 for hour in range(5000)]

    assert first.predictions[ONE].tolist() == hours
    assert [second.predictions[model].tolist() for model in (ONE, TWO)] == [[0, 1, 2], [0, 2, 4]]
    assert not (folder / "out" / "predictions" / ONE / f"{TWO}.npz").exists()


def test_the_rows_are_those_of_the_test_split(found: Stored) -> None:
    """Fares, days, distances and slices, across the batches."""
    rows = found.months[0].rows

    assert set(rows.fares.tolist()) == {10.0}
    assert rows.days.tolist() == [hour // 24 for hour in range(5000)]
    assert rows.slicing["pickup_census_tract"].tolist() == [hour % 3 for hour in range(5000)]
    assert rows.slicing["distance_km"].tolist()[:8] == ["unknown", *["2-5"] * 6, "unknown"]


def test_scoring_goes_on_where_it_stopped(folder: Path) -> None:
    """What exists is left alone, what is missing is written, and the index comes last."""
    out = folder / "out"
    kept, lost = (out / "predictions" / TWO / f"{model}.npz" for model in (ONE, TWO))
    before = kept.stat().st_mtime_ns
    content = lost.read_bytes()
    for gone in (lost, out / "index.json"):
        gone.unlink()

    again = score(folder / "plan.json", out)

    assert again.stdout.splitlines() == [f"{TWO}: predicted 1 months"]
    assert (kept.stat().st_mtime_ns, lost.read_bytes()) == (before, content)
    assert json.loads((out / "index.json").read_text())["months"] == [ONE, TWO]


def test_a_missing_model_is_named(folder: Path, tmp_path: Path) -> None:
    """The job ends with the address that is empty."""
    plan = json.loads((folder / "plan.json").read_text())
    plan["months"][1]["examples"] = str(tmp_path / "gone")
    (tmp_path / "plan.json").write_text(json.dumps(plan))

    failed = score(tmp_path / "plan.json", tmp_path / "out")

    assert failed.returncode == 2
    assert f"{tmp_path / 'gone'} is empty or does not exist" in failed.stderr
