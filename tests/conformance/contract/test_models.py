from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.contract.resources import last, upload

if TYPE_CHECKING:
    from tests.conformance.cloud import Cloud
    from tests.conformance.contract.asking import Asking

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def model(cloud: Cloud) -> str:
    """Return a model of two versions, the second of which is the challenger."""
    name = upload(cloud, model_id=f"conformance-{cloud.target.run}-versions")
    return upload(cloud, parent=name, aliases=("challenger",))


def version(cloud: Cloud, name: str) -> list[object]:
    """Return number and aliases of a version."""
    found = cloud.models.get_model(name=name)
    return [found.version_id, sorted(found.version_aliases)]


def test_the_first_version(cloud: Cloud, ask: Asking, model: str) -> None:
    """A new model has version 1, under the alias `default`."""
    ask("model.first-version", version(cloud, f"{model}@1"))


def test_the_second_version(cloud: Cloud, ask: Asking, model: str) -> None:
    """A version that is uploaded into a model gets the next number, and its own aliases only."""
    ask("model.second-version", version(cloud, f"{model}@2"))


def test_an_alias(cloud: Cloud, ask: Asking, model: str) -> None:
    """An alias finds its version."""
    ask("model.by-alias", cloud.models.get_model(name=f"{model}@challenger").version_id)


def test_names(cloud: Cloud, ask: Asking, model: str) -> None:
    """A version is called by its number, a model by its id."""
    asked = {part: cloud.models.get_model(name=model + part).name for part in ("", "@-", "@1", "@challenger")}
    listed = [each.name for each in cloud.models.list_model_versions(name=model)]
    shapes = {part: last(name).replace(last(model), "ID") for part, name in asked.items()}

    ask("model.names", {**shapes, "list": sorted(last(name).replace(last(model), "ID") for name in listed)})


def test_an_alias_that_moves(cloud: Cloud, ask: Asking) -> None:
    """An alias that is given to a version is taken from the one that had it."""
    name = upload(cloud, model_id=f"conformance-{cloud.target.run}-aliases", aliases=("champion",))
    upload(cloud, parent=name)
    cloud.models.merge_version_aliases(name=f"{name}@2", version_aliases=["champion", "default"])

    ask("model.alias-moves", [version(cloud, f"{name}@1"), version(cloud, f"{name}@2")])


def test_removing_default(cloud: Cloud, ask: Asking, model: str) -> None:
    """There is always a default version."""
    ask.refused(
        "model.remove-default",
        lambda: cloud.models.merge_version_aliases(name=f"{model}@1", version_aliases=["-default"]),
    )


def test_deleting_the_default_version(cloud: Cloud, ask: Asking, model: str) -> None:
    """The default version of several cannot be deleted."""
    ask.refused(
        "model.delete-default",
        lambda: cloud.result(cloud.models.delete_model_version(name=f"{model}@1")),
    )


def test_an_absent_model(cloud: Cloud, ask: Asking) -> None:
    """A model that does not exist is not found."""
    name = f"{cloud.target.parent}/models/conformance-{cloud.target.run}-absent"

    ask.refused("model.absent", lambda: cloud.models.get_model(name=name))


def test_an_absent_alias(cloud: Cloud, ask: Asking, model: str) -> None:
    """An alias that no version has finds nothing."""
    ask.refused("model.absent-alias", lambda: cloud.models.get_model(name=f"{model}@nobody"))


def test_an_absent_parent(cloud: Cloud, ask: Asking) -> None:
    """A version of a model that does not exist is refused."""
    name = f"{cloud.target.parent}/models/conformance-{cloud.target.run}-absent"

    ask.refused("model.absent-parent", lambda: upload(cloud, parent=name))


def test_operations_of_an_absent_model(cloud: Cloud, ask: Asking) -> None:
    """The operations of a model that does not exist are listed or refused."""
    name = f"{cloud.target.parent}/models/conformance-{cloud.target.run}-absent"

    ask.refused("model.absent-operations", lambda: cloud.models.list_operations({"name": name}))


def test_a_stale_etag(cloud: Cloud, ask: Asking, model: str) -> None:
    """An update by someone who has not seen the newest state is refused."""
    mask = {"paths": ["description"]}
    stale = cloud.models.get_model(name=model).etag
    cloud.models.update_model(model={"name": model, "description": "newer"}, update_mask=mask)
    changed = {"name": model, "description": "newest", "etag": stale}

    ask.refused("model.stale-etag", lambda: cloud.models.update_model(model=changed, update_mask=mask))


def test_filter(cloud: Cloud, ask: Asking, model: str) -> None:
    """Models are found by label, each once."""
    found = cloud.models.list_models(
        {"parent": cloud.target.parent, "filter": f'labels.run="{cloud.target.run}"'}
    )

    ask("model.filter-label", [each.name for each in found].count(model))


def test_the_operation_of_an_upload(cloud: Cloud, ask: Asking, model: str) -> None:
    """The operation of an upload belongs to the model."""
    request = {
        "parent": cloud.target.parent,
        "parent_model": model,
        "model": {
            "display_name": "conformance",
            "container_spec": {"image_uri": cloud.target.image},
            "labels": cloud.target.labels,
        },
    }
    operation = cloud.models.upload_model(request)
    cloud.result(operation)
    name = operation.operation.name.partition("/locations/")[2].partition("/")[2]

    ask("model.operation", name.replace(last(model), "ID").rpartition("/")[0])
