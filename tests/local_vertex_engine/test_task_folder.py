from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from local_vertex.run.task_folder import TaskFolder

FOLDER = TaskFolder(uri="gs://b/root/1/job/T_12", gcs_root=Path("/gcs"), staging_root=Path("/stage"))
PATHS = st.from_regex(r"gs://[a-z]{3,8}(/[a-z0-9_.]{1,8}){0,4}", fullmatch=True)


@given(st.lists(st.one_of(PATHS, st.sampled_from(["x ", '"', ",", f"{FOLDER.uri}/model", FOLDER.uri + " "]))))
def test_mapping_to_local_and_back_changes_nothing(parts: list[str]) -> None:
    """Any string with gs:// URIs that is mapped to folders is restored exactly."""
    text = " ".join(parts)

    assert FOLDER.to_gcs(FOLDER.to_local(text)) == text


def test_own_outputs_are_staged_and_others_are_not() -> None:
    """A task writes below the staging root and reads from the store, also beside a similar name."""
    text = "gs://b/root/1/job/T_12/model gs://b/root/1/job/T_123/model gs://c/x"

    assert FOLDER.to_local(text) == "/stage/b/root/1/job/T_12/model /gcs/b/root/1/job/T_123/model /gcs/c/x"
