from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from vertex_airflow.labels import deployment_id, job_id, run_key

IDS = st.text(max_size=300)


@given(IDS, IDS, st.integers(0, 99))
def test_a_job_id_is_accepted_by_vertex(dag_id: str, run_id: str, attempt: int) -> None:
    """Any DAG and run give an id within Vertex AI's rule, always the same."""
    name = job_id(dag_id, run_id, attempt)

    assert re.fullmatch(r"[a-z][-a-z0-9]{0,126}", name)
    assert job_id(dag_id, run_id, attempt) == name


@given(st.lists(st.tuples(IDS, IDS, st.integers(0, 9)), min_size=2, max_size=2, unique=True))
def test_job_ids_differ(runs: list[tuple[str, str, int]]) -> None:
    """Another DAG, run or attempt has another id, even where only refused characters differ."""
    first, second = (job_id(*run) for run in runs)

    assert first != second


def test_a_long_job_id_has_all_characters_that_vertex_takes() -> None:
    """An id has less than 128 characters: https://cloud.google.com/vertex-ai/docs/reference/rest/v1."""
    assert len(job_id("training", "manual__" + "x" * 250)) == 127


def test_ids_stay_the_same_from_release_to_release() -> None:
    """A retry after an upgrade attaches to the job, version or deployment that the older release made."""
    made = (
        job_id("dag", "manual__1", 1),
        run_key("dag", "manual__1"),
        deployment_id("us-central1", "m", "3"),
    )

    assert made == ("dag-manual-1-52a66bb017", "rfd08d6044e63586f193b", "3569858908")
