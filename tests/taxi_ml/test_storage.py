"""Tests of addresses that a container sees through a mount."""

from __future__ import annotations

import pytest

from taxi_ml.storage import object_uri


@pytest.mark.parametrize(
    ("path", "environ", "expected"),
    [
        ("/gcs/bucket/run/model", {}, "gs://bucket/run/model"),
        ("/mnt/objects/bucket/model", {"CLOUD_STORAGE_MOUNT": "/mnt/objects"}, "gs://bucket/model"),
        ("gs://bucket/model", {}, "gs://bucket/model"),
        ("/models/1", {}, "/models/1"),
        ("/gcsother/bucket/model", {}, "/gcsother/bucket/model"),
    ],
)
def test_object_uri_names_the_object_behind_a_mounted_path(
    path: str, environ: dict[str, str], expected: str
) -> None:
    """A path below the mount is named by its gs:// address, any other address stays."""
    found = object_uri(path, environ)

    assert expected == found
