"""A pipeline whose model is trained again with the test trips, which TFX itself runs."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.gate.decision import decide
from taxi_ml.gate.policy import load
from taxi_ml.gate.report import parse
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY, make_parameters, make_request
from tests.pipeline.trips import ROWS, write_trips

if TYPE_CHECKING:
    from pathlib import Path

    from taxi_ml.gate.report import Report

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("refit")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline with a refit that has run."""
    folder = tmp_path_factory.mktemp("refit")
    write_trips(folder / "data")
    request = make_request(folder, refit=True, tuner_trials=0)
    (folder / "request.json").write_text(request.to_json())
    (folder / "parameters.json").write_text(json.dumps(make_parameters(folder).values(request)))
    with (folder / "run.log").open("wb") as log:
        subprocess.run(
            [PIPELINE_PYTHON, "-m", "benchmarks.taxi_pipeline.local_dag_runner", folder],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": "-1"},
            check=True,
            stdout=log,
            stderr=log,
            timeout=500,
        )
    return folder


@pytest.fixture(scope="module")
def report(root: Path) -> Report:
    """The report of the run, as the gate reads it."""
    return parse(next(root.glob("root/Report/report/*/report.json")).read_bytes())


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by their path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model(root: Path, component: str) -> Path:
    """Return the SavedModel of a component."""
    return next(root.glob(f"root/{component}/model/*/Format-Serving"))


def learned_rows(folder: Path) -> int:
    """Return how many trips a model has learned from, by its profile of them."""
    found: dict[str, Any] = json.loads((folder / "assets.extra/training.json").read_text())
    return int(found["rows"])


def golden(root: Path, name: str) -> dict[str, Any]:
    """Return a document of fares that a deployed model must answer."""
    found: dict[str, Any] = json.loads(next(root.glob(f"root/Report/report/*/{name}")).read_text())
    return found


def test_the_pushed_model_is_the_refit(root: Path) -> None:
    """The Pusher copies the refit, file by file; the gate adds the graph of the judged model inside."""
    (pushed,) = (root / "serving").iterdir()
    trained = content(model(root, "Refit"))

    assert content(pushed) == {
        name: each for name, each in trained.items() if name != "judged/saved_model.pb"
    }
    assert content(model(root, "Refit") / "judged") == content(model(root, "Trainer"))


def test_only_the_refit_has_learned_from_the_test_trips(root: Path) -> None:
    """The judged model learns from the train split alone."""
    assert learned_rows(model(root, "Trainer")) == ROWS["train"]
    assert learned_rows(model(root, "Refit")) == ROWS["train"] + ROWS["test"]


def test_the_report_judges_the_model_without_the_test_trips(root: Path, report: Report) -> None:
    """Metrics are of the Trainer's model; the refit is there with its distance from it."""
    assert report.challenger.uri == str(model(root, "Trainer"))
    assert report.refit is not None
    assert report.refit.uri == str(model(root, "Refit"))


def test_the_distance_is_that_of_the_fares(root: Path, report: Report) -> None:
    """Both documents have the same trips, here nearly all test trips, with the fares of their own model."""
    judged, refit = golden(root, "golden.json"), golden(root, "golden_refit.json")
    moved = [
        ours["fare"] - theirs["fare"] for ours, theirs in zip(refit["rows"], judged["rows"], strict=True)
    ]

    assert [row["instance"] for row in refit["rows"]] == [row["instance"] for row in judged["rows"]]
    assert refit["model"] == str(model(root, "Refit"))
    assert judged["model"] == str(model(root, "Trainer"))
    assert report.refit is not None
    assert report.refit.mean_absolute == pytest.approx(sum(map(abs, moved)) / len(moved), rel=0.05)
    assert report.refit.mean_signed == pytest.approx(sum(moved) / len(moved), abs=0.02)


def test_the_gate_lets_the_refit_serve(report: Report) -> None:
    """A refit of healthy trips is within the shipped bounds."""
    assert report.refit is not None
    assert decide(load(), report).challenger == report.refit.uri
