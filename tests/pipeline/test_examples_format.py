"""Both formats of an export, on real trips: the same rows become the same examples."""

from __future__ import annotations

import uuid
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud import bigquery

from taxi_ml import naming, sql
from taxi_ml.settings import Settings
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.window import Window
from tests.pipeline.pipeline_python import examples_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local_stack import LocalStack

pytestmark = [pytest.mark.pipeline, pytest.mark.stack]

WINDOW = Window(end=date(2015, 3, 1), train_months=3, test_months=1)
READERS = ("csv", "csv-by-tfx", "parquet", "parquet-by-beam")
SPLITS = sorted(Split)


def export(stack: LocalStack, settings: Settings, target: Path) -> None:
    """Export all splits as the DAG does, and copy the files out of Cloud Storage."""
    client = stack.bigquery_client()
    for split in Split:
        statement = sql.export_split(settings, WINDOW, split)
        configuration: Any = bigquery.QueryJobConfig.from_api_repr(statement.job_configuration(settings, {}))
        client.query_and_wait(statement.sql, job_config=configuration)
    bucket, _, prefix = naming.data_uri(settings, WINDOW).removeprefix("gs://").partition("/")
    for blob in stack.storage_client().bucket(bucket).list_blobs(prefix=f"{prefix}/"):
        path = target / blob.name.removeprefix(f"{prefix}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        blob.download_to_filename(str(path))


@pytest.fixture(scope="module")
def exported(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real trips of a window in both formats, each in a folder of its name."""
    folder = tmp_path_factory.mktemp("formats")
    settings = Settings.from_environment(
        {name: text for name, text in stack.environment.items() if name.startswith("TAXI_")}
    ).with_overrides(dataset=f"test_{uuid.uuid4().hex}", bucket=f"gs://taxi-local/{uuid.uuid4().hex}")
    client = stack.bigquery_client()
    for statement in (sql.create_schema(settings), sql.build_dataset(settings, WINDOW)):
        configuration: Any = bigquery.QueryJobConfig.from_api_repr(statement.job_configuration(settings, {}))
        client.query_and_wait(statement.sql, job_config=configuration)
    for examples_format in ExamplesFormat:
        export(
            stack, settings.with_overrides(examples_format=examples_format.value), folder / examples_format
        )
    return folder


@pytest.fixture(scope="module")
def made(exported: Path) -> dict[str, Any]:
    """The examples of each reader: in batches, by Beam, and by TFX's own CsvExampleGen."""
    return examples_of(exported, *READERS)


def by_trip(found: list[dict[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
    """Return examples by their trip's id."""
    return {example["trip_id"][1][0]: example for example in found}


@pytest.mark.parametrize("reader", READERS)
def test_formats_give_the_same_examples(made: dict[str, Any], reader: str) -> None:
    """Every trip has the features that TFX's CsvExampleGen makes, of the same type and value."""
    expected, found = (made[name]["splits"] for name in ("csv-by-tfx", reader))

    assert {split: len(rows) for split, rows in expected.items()} == {
        split: len(rows) for split, rows in found.items()
    }
    assert min(len(rows) for rows in expected.values()) > 10
    assert {split: by_trip(rows) for split, rows in expected.items()} == {
        split: by_trip(rows) for split, rows in found.items()
    }


@pytest.mark.parametrize("reader", READERS)
def test_artifacts_are_described_as_by_tfx(made: dict[str, Any], reader: str) -> None:
    """Names of splits, formats and files are those of TFX's CsvExampleGen."""
    expected, found = made["csv-by-tfx"], made[reader]

    assert expected["files"] == [f"Split-{split}/data_tfrecord-00000-of-00001.gz" for split in SPLITS]
    assert (expected["artifact"], expected["files"]) == (found["artifact"], found["files"])


def test_zeros_are_values(made: dict[str, Any]) -> None:
    """A trip that starts on the hour has the minute 0, which TFX's own executor reads as missing."""
    minutes = [example["TripStartMinute"] for example in made["parquet"]["splits"]["train"]]

    assert ["int64_list", [0]] in minutes
    assert {len(values) for _, values in minutes} == {1}
