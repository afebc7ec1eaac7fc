"""The additions of a repository to its local cloud."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_gcp import workload
from local_gcp.errors import LocalCloudError
from local_gcp.layout import BUCKET, PROJECT, REGION, Layout
from local_gcp.services import BIGQUERY, VERTEX, Setting, client_environment

REPOSITORY = Path(__file__).parents[2]
PORTS = dict.fromkeys(("gcs", "bigquery.rest", "bigquery.grpc", "vertex.rest", "vertex.grpc"), 1)


def repository(folder: Path, content: str) -> Setting:
    """Return a setting in a repository with this local_gcp.toml and a pipeline environment."""
    (folder / workload.FILE_NAME).write_text(content)
    (folder / ".pipeline/bin").mkdir(parents=True)
    (folder / ".pipeline/bin/python").touch()
    return Setting(layout=Layout(state=folder, repository=folder), ports=PORTS)


def test_this_repositorys_settings_name_what_the_cloud_has() -> None:
    """The product is told the cloud's own project, bucket and region, and an image that can be run."""
    content = workload.read(REPOSITORY)
    told = content.environment

    assert (told["TAXI_PROJECT"], told["TAXI_BUCKET"], told["TAXI_REGION"]) == (
        PROJECT,
        f"gs://{BUCKET}",
        REGION,
    )
    assert content.image is not None
    assert Path(told["TAXI_PIPELINE_IMAGE"]).match(content.image.pattern)


def test_clients_get_the_variables(tmp_path: Path) -> None:
    """Variables of the repository stand beside the servers' addresses."""
    setting = repository(tmp_path, '[environment]\nTHEIRS = "1"')
    found = client_environment(setting)

    assert (found["THEIRS"], found["STORAGE_EMULATOR_HOST"]) == ("1", "http://127.0.0.1:1")


def test_vertex_is_told_the_image(tmp_path: Path) -> None:
    """The pipeline environment stands for the image, with the command that prints its labels."""
    setting = repository(tmp_path, '[image]\npattern = "theirs:*"\nlabels = ["-m", "theirs"]')
    assert VERTEX.prepare is not None
    VERTEX.prepare(setting, print)
    (row,) = json.loads(setting.layout.images.read_text())

    assert (row["image"], row["labels"], row["interpreter"]) == (
        "theirs:*",
        ["-m", "theirs"],
        str(setting.layout.pipeline_python),
    )


def test_without_a_file_the_cloud_is_empty(tmp_path: Path) -> None:
    """A repository that adds nothing gets no image, no variables and no data."""
    assert workload.read(tmp_path) == workload.Workload()
    assert workload.Workload().bigquery_filler() is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[image", "local_gcp.toml: Expected"),
        ("colour = 1", "unexpected keyword argument 'colour'"),
        ("[image]\nlabels = []", "'pattern'"),
        ("[environment]\nDAYS = 0", "DAYS is 0, which is not a string; quote it"),
    ],
)
def test_mistake_in_the_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    """The error names the file and the mistake."""
    (tmp_path / workload.FILE_NAME).write_text(content)

    with pytest.raises(LocalCloudError, match=message):
        workload.read(tmp_path)


def test_filler_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    """`up` fails with the key and its value."""
    setting = repository(tmp_path, 'fill_bigquery = "gone.module:fill"')
    assert BIGQUERY.fill is not None

    with pytest.raises(LocalCloudError, match=r"fill_bigquery is 'gone.module:fill', which cannot be"):
        BIGQUERY.fill(setting, print)
