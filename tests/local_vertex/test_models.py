"""The model registry through the official clients, over gRPC and REST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1

from tests.local_vertex.servers import CANONICAL, PARENT

if TYPE_CHECKING:
    from tests.local_vertex.servers import Client


def model(**fields: object) -> dict[str, Any]:
    """Return a valid model, with some fields changed."""
    return {
        "display_name": "fare",
        "artifact_uri": "gs://bkt/model",
        "container_spec": {"image_uri": "taxi-vertex/pipeline:local", "predict_route": "/predict"},
        **fields,
    }


def upload(client: Client, *, parent_model: str = "", model_id: str = "", **fields: object) -> Client:
    """Upload a model or version; return it as the registry has it, under the name of the model."""
    request = {
        "parent": PARENT,
        "model": model(**fields),
        "parent_model": parent_model,
        "model_id": model_id,
    }
    response = client.upload_model(request).result(timeout=5)
    version = client.get_model(name=f"{response.model}@{response.model_version_id}")
    version.name = response.model
    return version


def aliases(client: Client, name: str) -> dict[str, list[str]]:
    """Return the aliases of every version of a model."""
    return {each.version_id: sorted(each.version_aliases) for each in client.list_model_versions(name=name)}


def test_first_version_is_the_default(models: Client) -> None:
    """A new model has version 1, under the alias `default`."""
    uploaded = upload(models, model_id="fare")

    assert uploaded.name == f"{CANONICAL}/models/fare"
    assert uploaded.version_id == "1"
    assert list(uploaded.version_aliases) == ["default"]


def test_the_operation_tells_of_the_upload(models: Client) -> None:
    """The operation belongs to the model; response and metadata have the documented types."""
    operation = models.upload_model({"parent": PARENT, "model": model(), "model_id": "fare"})

    assert operation.operation.name.startswith(f"{CANONICAL}/models/fare/operations/")
    assert isinstance(operation.metadata, aiplatform_v1.UploadModelOperationMetadata)
    assert operation.result(timeout=5).model_version_id == "1"


def test_second_version_by_parent_model(models: Client) -> None:
    """A version uploaded into a model gets the next number and leaves the default where it is."""
    name = upload(models, model_id="fare").name
    second = upload(models, parent_model=name, version_aliases=["challenger"], version_description="july")

    assert second.version_id == "2"
    assert second.version_description == "july"
    assert aliases(models, name) == {"1": ["default"], "2": ["challenger"]}
    assert models.get_model(name=name).version_id == "1"


def test_get_by_alias(models: Client) -> None:
    """An alias finds its version."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name, version_aliases=["challenger"])

    assert models.get_model(name=f"{name}@challenger").version_id == "2"


def test_names_of_versions(models: Client) -> None:
    """A request for a version returns it under its number, a request for the model under its id."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name, version_aliases=["challenger"])
    asked = {part: models.get_model(name=name + part).name for part in ("", "@-", "@1", "@challenger")}
    merged = models.merge_version_aliases(name=f"{name}@challenger", version_aliases=["champion"])

    assert asked == {"": name, "@-": name, "@1": f"{name}@1", "@challenger": f"{name}@2"}
    assert [each.name for each in models.list_model_versions(name=name)] == [f"{name}@2", f"{name}@1"]
    assert [each.name for each in models.list_models(parent=PARENT)] == [name]
    assert merged.name == f"{name}@2"


@pytest.mark.parametrize(
    ("suffix", "field"), [("", "version_description"), ("@-", "version_description"), ("@1", "display_name")]
)
def test_fields_of_the_other_kind(models: Client, suffix: str, field: str) -> None:
    """A version's description is not the model's, a display name not the version's."""
    name = upload(models, model_id="fare").name

    with pytest.raises(exceptions.BadRequest, match=f"'{field}' belongs to"):
        models.update_model(model={"name": name + suffix, field: "x"}, update_mask={"paths": [field]})


def test_an_alias_moves(models: Client) -> None:
    """Merging an alias takes it from the version that had it; `-alias` removes one."""
    name = upload(models, model_id="fare", version_aliases=["champion"]).name
    upload(models, parent_model=name, version_aliases=["challenger"])
    models.merge_version_aliases(name=f"{name}@2", version_aliases=["champion", "-challenger", "default"])

    assert aliases(models, name) == {"1": [], "2": ["champion", "default"]}


def test_default_cannot_be_removed(models: Client) -> None:
    """There is always one default version."""
    name = upload(models, model_id="fare").name

    with pytest.raises(exceptions.BadRequest, match="default"):
        models.merge_version_aliases(name=f"{name}@1", version_aliases=["-default"])


def test_unknown_parent_model(models: Client) -> None:
    """A version of a model that does not exist is NOT_FOUND, and no model appears."""
    with pytest.raises(exceptions.NotFound, match="fare"):
        upload(models, parent_model=f"{PARENT}/models/fare")

    assert list(models.list_models(parent=PARENT)) == []


def test_same_model_id_twice(models: Client) -> None:
    """A taken id is ALREADY_EXISTS."""
    upload(models, model_id="fare")

    with pytest.raises(exceptions.Conflict, match="parent_model"):
        upload(models, model_id="fare")


def test_list_shows_default_versions(models: Client) -> None:
    """A list has one entry a model, and finds it by its display name."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name)
    upload(models, model_id="tips", display_name="tips")
    found = models.list_models({"parent": PARENT, "filter": 'display_name="fare"'})

    assert [(each.name, each.version_id) for each in found] == [(name, "1")]


def test_pages_of_versions(models: Client) -> None:
    """The pages of a model's versions join to all of them, the newest first unless ordered otherwise."""
    name = upload(models, model_id="fare").name
    for _ in range(2):
        upload(models, parent_model=name)

    def listed(**fields: object) -> list[str]:
        found = models.list_model_versions({"name": name, "page_size": 1, **fields})
        return [version.version_id for version in found]

    assert listed() == ["3", "2", "1"]
    assert listed(order_by="version_create_time") == ["1", "2", "3"]
    assert listed(filter="version_id=2") == ["2"]


def test_update_of_the_model(models: Client) -> None:
    """Display name and labels belong to the model: all versions show them."""
    name = upload(models, model_id="fare").name
    changed = {"name": name, "display_name": "fare usd", "labels": {"team": "ml"}, "description": "kept out"}
    models.update_model(model=changed, update_mask={"paths": ["display_name", "labels"]})
    version = models.get_model(name=f"{name}@1")

    assert version.display_name == "fare usd"
    assert dict(version.labels) == {"team": "ml"}
    assert version.description == ""


def test_update_of_a_version(models: Client) -> None:
    """A version's description is updated by the version's name."""
    name = upload(models, model_id="fare").name
    models.update_model(
        model={"name": f"{name}@1", "version_description": "june"},
        update_mask={"paths": ["version_description"]},
    )

    assert models.get_model(name=name).version_description == "june"


def test_update_with_an_old_etag(models: Client) -> None:
    """An update by someone who has not seen the newest state is refused."""
    old = upload(models, model_id="fare")
    mask = {"paths": ["display_name"]}
    models.update_model(model={"name": old.name, "display_name": "a"}, update_mask=mask)

    with pytest.raises(exceptions.Conflict, match="etag"):
        models.update_model(model={"name": old.name, "display_name": "b", "etag": old.etag}, update_mask=mask)


def test_immutable_fields(models: Client) -> None:
    """A field that Vertex AI does not update is refused by name."""
    name = upload(models, model_id="fare").name

    with pytest.raises(exceptions.BadRequest, match="artifact_uri"):
        models.update_model(
            model={"name": name, "artifact_uri": "gs://bkt/x"}, update_mask={"paths": ["artifact_uri"]}
        )


def test_delete_a_version(models: Client) -> None:
    """A version goes; its number is not given again."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name)
    models.delete_model_version(name=f"{name}@2").result(timeout=5)
    third = upload(models, parent_model=name)

    assert third.version_id == "3"
    assert sorted(aliases(models, name)) == ["1", "3"]


def test_the_default_version_stays(models: Client) -> None:
    """Neither the default nor the only version can be deleted."""
    name = upload(models, model_id="fare").name
    with pytest.raises(exceptions.BadRequest, match="only version"):
        models.delete_model_version(name=f"{name}@1")
    upload(models, parent_model=name)

    with pytest.raises(exceptions.BadRequest, match="default"):
        models.delete_model_version(name=f"{name}@1")


def test_delete_a_model(models: Client) -> None:
    """A model goes with all its versions."""
    name = upload(models, model_id="fare").name
    upload(models, parent_model=name)
    models.delete_model(name=name).result(timeout=5)

    with pytest.raises(exceptions.NotFound):
        models.get_model(name=f"{name}@1")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"display_name": ""}, "display_name"),
        ({"container_spec": {}}, "image_uri"),
        ({"artifact_uri": "/tmp/model"}, "artifact_uri"),  # noqa: S108  # refused, never written to
        ({"version_aliases": ["2"]}, "version_aliases"),
        ({"labels": {"1": "x"}}, "labels"),
    ],
)
def test_wrong_models_are_refused(models: Client, fields: dict[str, Any], problem: str) -> None:
    """A wrong field is named, and no model appears."""
    with pytest.raises(exceptions.BadRequest, match=problem):
        upload(models, **fields)

    assert list(models.list_models(parent=PARENT)) == []
