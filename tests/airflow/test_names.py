"""Resource names are read and written as Vertex AI writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertex_airflow.names import ModelName, PipelineJobName, ResourceNameError

if TYPE_CHECKING:
    from vertex_airflow.names import ResourceName

PLAIN = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,30}", fullmatch=True)


@given(st.sampled_from([PipelineJobName, ModelName]), PLAIN, PLAIN, PLAIN)
def test_resource_name_survives_its_text(
    kind: type[ResourceName], project: str, location: str, identity: str
) -> None:
    """A name survives formatting and parsing."""
    name = kind(project=project, location=location, id=identity)

    assert kind.parse(str(name)) == name


def test_model_name_may_have_a_version() -> None:
    """A version or alias follows an @."""
    name = ModelName.parse("projects/p/locations/l/models/7@champion")

    assert (name.id, name.version, str(name.unversioned)) == (
        "7",
        "champion",
        "projects/p/locations/l/models/7",
    )
    assert str(name) == "projects/p/locations/l/models/7@champion"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "projects/p/locations/l/endpoints/7",
        "projects/p/locations/l/models/7@",
        "projects/p/locations/l/models/7/versions/1",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    """Another kind of resource is an error that says what was expected."""
    with pytest.raises(ResourceNameError, match=r"models|version after the @"):
        ModelName.parse(text)


def test_versions_are_compared_without_the_project() -> None:
    """A name with the project's number is parsed: Vertex AI answers with it where a request has the id."""
    by_id = ModelName.parse("projects/taxi-local/locations/us-central1/models/m@2")
    by_number = ModelName.parse("projects/123456789012/locations/us-central1/models/m@2")

    assert by_id.is_version(by_number)
