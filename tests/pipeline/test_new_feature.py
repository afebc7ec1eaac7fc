"""A feature that is added in the three places of docs/model.md, from which everything else follows."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from taxi_ml.sql import columns
from tests.pipeline.requests import PIPELINE_PYTHON, REPOSITORY

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.stack, pytest.mark.pipeline, pytest.mark.xdist_group("new_feature")]

FEATURE = "histOneWeek_trips"
HERE = Path(__file__).parent
WALKTHROUGH = REPOSITORY / "docs" / "model.md"
EDITS = {
    "taxi_ml/sql/build_dataset.sql": {
        "      AS histOneWeek_tripDistance\n": (
            "      AS histOneWeek_tripDistance,\n"
            f"    CAST(SUM(ended) OVER one_week AS FLOAT64) AS {FEATURE}\n"
        ),
        "  histOneWeek_tripDistance,\n": f"  histOneWeek_tripDistance,\n  {FEATURE},\n",
    },
    "taxi_ml/sql/columns.py": {
        '    Column(name="rawDistance"': (
            f'    Column(name="{FEATURE}", type=_FLOAT, values=(0, 10_000)),\n    Column(name="rawDistance"'
        )
    },
    "taxi_ml/modules/features.py": {'    "rawDistance",\n': f'    "{FEATURE}",\n    "rawDistance",\n'},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """A copy of the product with the feature, and its window of the real trips as exported with it."""

    folder: Path
    data: Path
    facts: dict[str, Any]

    def run(self, python: str | Path, module: str, *arguments: object) -> str:
        """Run a module of the copy and return what it prints."""
        return run_in(self.folder, python, module, *arguments)


def run_in(folder: Path, python: str | Path, module: str, *arguments: object) -> str:
    """Run a module in a folder, whose packages it imports, and return what it prints."""
    ran = subprocess.run(
        [str(python), "-m", module, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}", "CUDA_VISIBLE_DEVICES": "-1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    return ran.stdout


@pytest.fixture(scope="module")
def edited(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Edited:
    """Edit a copy of the product in three places, and run its statements on BigQuery."""
    folder = tmp_path_factory.mktemp("edited")
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("taxi_ml", "benchmarks/fare_models"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=ignored)
    for module in ("edited_statements.py", "edited_model.py"):
        shutil.copy(HERE / module, folder)
    for name, replacements in EDITS.items():
        path = folder / name
        for found, written in replacements.items():
            text = path.read_text()
            assert text.count(found) == 1, found
            path.write_text(text.replace(found, written))
    dataset = f"edited_{uuid.uuid4().hex}"
    bucket = f"gs://taxi-local/{dataset}"
    facts = json.loads(run_in(folder, sys.executable, "edited_statements", dataset, bucket))
    for job in facts["jobs"].values():
        stack.bigquery_client().create_job(job_config=job).result()
    for blob in stack.storage_client().list_blobs("taxi-local", prefix=f"{dataset}/"):
        split, name = blob.name.split("/")[-2:]
        (folder / "data" / split).mkdir(parents=True, exist_ok=True)
        (folder / "data" / split / name).write_text(blob.download_as_text())
    return Edited(folder=folder, data=folder / "data", facts=facts)


def trips(folder: Path) -> list[dict[str, str]]:
    """Read the trips of a split."""
    return [row for path in folder.glob("*.csv") for row in csv.DictReader(path.open(newline=""))]


@pytest.mark.parametrize("split", ["train", "eval", "test"])
def test_the_feature_is_computed_and_exported(edited: Edited, split: str) -> None:
    """Every split has the column in its place in the list, as whole counts, or -1.0 if they are missing."""
    rows = trips(edited.data / split)
    values = {float(row[FEATURE]) for row in rows}

    place = columns.DATASET.index("rawDistance")
    assert list(rows[0]) == [*columns.DATASET[:place], FEATURE, *columns.DATASET[place:]]
    assert -1.0 in values
    assert len(values) > 3
    assert all(value == -1.0 or (value >= 0 and value.is_integer()) for value in values)


def test_a_table_of_ones_own_must_have_it(edited: Edited) -> None:
    """Preflight requires the column of a source table, from which it is selected with its type."""
    assert set(edited.facts["required_of_own_table"]) == {*columns.DATASET, FEATURE} - columns.OPTIONAL
    assert f"CAST({FEATURE} AS FLOAT64) AS {FEATURE}" in edited.facts["from_own_table"]


def test_the_models_contract_bounds_it(edited: Edited) -> None:
    """The ranges that the server checks have the list's bounds for the model's inputs."""
    assert edited.facts["ranges"][FEATURE] == [0, 10_000]
    assert FEATURE in edited.facts["inputs"]


def test_one_command_completes_the_schema(edited: Edited) -> None:
    """The command adds the column once; the trips that were exported with it conform to the schema."""
    schema = edited.folder / "taxi_ml" / "schema.pbtxt"
    reviewed = schema.read_text()
    added = edited.run(PIPELINE_PYTHON, "taxi_ml.schema", "--complete", schema)
    completed = schema.read_text()
    again = edited.run(PIPELINE_PYTHON, "taxi_ml.schema", "--complete", schema)
    compared = edited.run(PIPELINE_PYTHON, "taxi_ml.schema", "--data", edited.data, "--against", schema)

    assert f"added {FEATURE}; review" in added
    assert completed.startswith(reviewed)
    assert f'name: "{FEATURE}"' in completed.removeprefix(reviewed)
    assert "float_domain { min: -1.0 max: 10000.0 }" in completed.removeprefix(reviewed)
    assert "is complete" in again
    assert schema.read_text() == completed
    assert "conforms to" in compared


def test_the_model_reads_it(edited: Edited, tmp_path: Path) -> None:
    """Transform, network, signature and the server's contract take it; the fare depends on it."""
    printed = edited.run(PIPELINE_PYTHON, "edited_model", edited.data, tmp_path)
    fare, of_many, of_unknown = json.loads(printed.splitlines()[-1])
    contract = json.loads((tmp_path / "model/assets.extra/instance.json").read_text())
    profile = json.loads((tmp_path / "model/assets.extra/training.json").read_text())["profile"]
    (feature,) = (each for each in contract["features"] if each["name"] == FEATURE)

    assert feature == {"name": FEATURE, "type": "number", "missing": -1.0, "minimum": 0, "maximum": 10_000}
    assert FEATURE in profile
    assert len({fare, of_many, of_unknown}) > 1


def test_the_walkthrough_makes_the_same_edits() -> None:
    """The edits in docs/model.md are those of this test."""
    section = WALKTHROUGH.read_text().partition("## Add a feature")[2].partition("\n## ")[0]
    lines = {
        line.strip()
        for replacements in EDITS.values()
        for written in replacements.values()
        for line in written.splitlines()
        if FEATURE in line
    }

    assert len(lines) == 4
    assert all(line in section for line in lines)
