"""The Beam components on workers that see the pipeline image and nothing of this machine.

Beam's portable runner, its pool of external workers, the image's user, variables, code and packages, wheels
that are staged, and no import from the repository.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.requests import make_parameters, make_request
from tests.pipeline.trips import ROWS, write_trips
from tests.pipeline.workers import WHOLE, run_in_namespaces

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.skipif(os.geteuid() != 0, reason="containers are made of namespaces, by root"),
]

BROKEN = {
    "no-launcher": "/opt/apache/beam/boot does not exist: the image was built without Beam's worker",
    "own-environment": "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT is not set",
    "packages-of-root": "user 10001 cannot write to /opt/worker-packages",
    "launcher-fails": "the worker failed: PIP failed to install no-such.whl",
    "code-fails": "libarrow.so.1800 is of another release",
}
Rows = list[dict[str, list[Any]]]


def shared_folder(folder: Path) -> Path:
    """Make a folder that containers share, with trips."""
    shared = folder / "shared"
    write_trips(shared / "data")
    shared.chmod(0o777)
    return shared


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The outputs of each component in one process, and on the workers."""
    folder = tmp_path_factory.mktemp("workers")
    shared = shared_folder(folder)
    request = make_request(shared, tuner_trials=0)
    (shared / "request.json").write_text(request.to_json())
    (shared / "parameters.json").write_text(
        json.dumps(make_parameters(shared, train_steps=20).values(request))
    )
    run_in_namespaces(folder, "tests.pipeline.on_workers", WHOLE, timeout=600)
    read: dict[str, Any] = json.loads((shared / "found.json").read_text())
    packages = folder / "containers" / WHOLE / "opt" / "worker-packages"
    return read | {"packages": [each.name for each in packages.iterdir()]}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The end of an ExampleGen on workers of each broken image, by the image's name."""
    folder = tmp_path_factory.mktemp("broken")
    shared = shared_folder(folder)
    run_in_namespaces(folder, "tests.pipeline.on_broken_workers", *BROKEN, timeout=400)
    return dict(zip(BROKEN, json.loads((shared / "errors.json").read_text()), strict=True))


def by_trip(rows: Rows) -> dict[str, dict[str, list[Any]]]:
    """Return examples by their trip's id."""
    return {row["trip_id"][1][0]: row for row in rows}


def flat(rows: Rows) -> list[list[float]]:
    """Return transformed examples as numbers, ordered by features that no transformation rounds."""
    names = ("fare", "area_ids", "calendar_ids", "absent", "cycles", "numbers")
    return sorted([number for name in names for number in row[name][1]] for row in rows)


@pytest.mark.parametrize("component", ["CsvExampleGen", "ParquetExampleGen"])
def test_workers_make_the_same_examples(found: dict[str, Any], component: str) -> None:
    """Each trip becomes the same example, whatever its format, and none is lost or doubled."""
    here, there = found[component]

    assert {split: len(rows) for split, rows in there.items()} == ROWS
    assert {split: by_trip(rows) for split, rows in there.items()} == {
        split: by_trip(rows) for split, rows in here.items()
    }


def test_workers_make_the_same_statistics(found: dict[str, Any]) -> None:
    """Each feature of each split has the same numbers, up to the order of additions."""
    here, there = found["StatisticsGen"]

    assert {split: features["rows"] for split, features in there.items()} == {
        f"Split-{split}": rows for split, rows in ROWS.items()
    }
    for split, features in here.items():
        for name, numbers in features.items():
            assert there[split][name] == pytest.approx(numbers, rel=1e-6), (split, name)


def test_workers_make_the_same_transformed_examples(found: dict[str, Any]) -> None:
    """Transform's wheel is installed; words are the same, numbers up to the order of additions."""
    here, there = found["Transform"]
    words_here, words_there = found["vocabulary"]

    assert "preprocessing.py" in found["packages"]
    assert words_there == words_here
    assert {split: len(rows) for split, rows in there.items()} == {
        split: ROWS[split] for split in ("train", "eval")
    }
    for split, rows in here.items():
        for row, other in zip(flat(rows), flat(there[split]), strict=True):
            assert other == pytest.approx(row, rel=1e-4, abs=1e-5)


def test_workers_make_the_same_evaluation(found: dict[str, Any]) -> None:
    """The same model has the same metrics in every slice, and the same blessing."""
    here, there = found["Evaluator"]

    assert there["()"]["example_count"] == ROWS["test"]
    assert there.keys() == here.keys()
    for key, metrics in here.items():
        assert there[key] == pytest.approx(metrics, rel=1e-5), key
    assert found["blessing"][1] == found["blessing"][0]


@pytest.mark.parametrize("image", sorted(BROKEN))
def test_a_worker_that_cannot_work_says_why(errors: dict[str, str], image: str) -> None:
    """The component ends, with the worker's own error."""
    assert BROKEN[image] in errors[image]
