"""ModelService: the model registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api.collection import check_etag
from local_vertex.api.field_behavior import clear_output_only
from local_vertex.api.listing import page_of
from local_vertex.api.messages import first_set, last_part, set_time, update
from local_vertex.api.models import MODEL
from local_vertex.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unimplemented,
)
from local_vertex.domain.names import ModelName, check_gcs_uri

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_vertex.api.messages import Message
    from local_vertex.api.models import Models
    from local_vertex.api.operations import Operations
    from local_vertex.api.region import Region

_UNSUPPORTED = ("explanation_spec", "encryption_spec", "base_model_source")
_SHARED = frozenset({"display_name", "description", "labels"})
_OWN = frozenset({"version_description", "labels"})
_RESOURCES = aiplatform_v1.Model.DeploymentResourcesType


class ModelService:
    """Answers google.cloud.aiplatform.v1.ModelService, as far as models and versions go."""

    def __init__(self, region: Region, models: Models, operations: Operations) -> None:
        self._region = region
        self._models = models
        self._operations = operations

    def upload_model(self, request: Message) -> Message:
        """Answer UploadModel: a new model, or a new version of `parent_model`."""
        parent = self._region.parent(request.parent)
        version = self._new_version(request.model)
        with self._region.store.transaction():
            if request.parent_model:
                self._into_parent(request, version)
            else:
                self._new_model(request, version, parent)
            uploaded = self._models.insert_version(version)
            return self._operations.finished(
                uploaded.name,
                aiplatform_v1.UploadModelOperationMetadata.pb()(),
                aiplatform_v1.UploadModelResponse.pb()(
                    model=uploaded.name, model_version_id=uploaded.version_id
                ),
            )

    def _new_version(self, asked: Message) -> Message:
        version = MODEL()
        version.CopyFrom(asked)
        clear_output_only(version)
        _check(version)
        version.supported_deployment_resources_types.extend(
            [int(_RESOURCES.DEDICATED_RESOURCES), int(_RESOURCES.AUTOMATIC_RESOURCES)]
        )
        return version

    def _into_parent(self, request: Message, version: Message) -> None:
        if request.model_id:
            raise InvalidArgument.of(
                "model_id", "not together with parent_model: a version has its model's id"
            )
        name = ModelName.parse(self._region.canonical(request.parent_model)).unversioned
        if not self._models.exists(name):
            raise NotFound(f"parent_model '{name}' does not exist; leave it out to create a model")
        version.name = str(name)

    def _new_model(self, request: Message, version: Message, parent: str) -> None:
        name = f"{parent}/models/{request.model_id or self._region.new_id()}"
        if self._models.exists(ModelName.parse(name)):
            raise AlreadyExists(f"model '{name}' already exists; give it as parent_model to add a version")
        version.name = name
        now = self._region.clock()
        set_time(version.create_time, now)
        set_time(version.update_time, now)
        self._models.insert(version)

    def get_model(self, request: Message) -> Message:
        """Answer GetModel, by `…/models/ID`, `ID@VERSION` or `ID@ALIAS`; the latter two as `ID@VERSION`."""
        return self._get(self._name(request.name))

    def _get(self, name: ModelName) -> Message:
        found = self._models.get(name)
        return _named_by_version(found) if _is_version(name) else found

    def list_models(self, request: Message) -> Message:
        """Answer ListModels with each model's default version, the newest model first."""
        models = self._models.listed(self._region.parent(request.parent))
        page = page_of(models, request, MODEL, virtual={"model": last_part})
        return aiplatform_v1.ListModelsResponse.pb()(models=page.items, next_page_token=page.next_page_token)

    def list_model_versions(self, request: Message) -> Message:
        """Answer ListModelVersions, the newest first unless ordered otherwise; named `ID@VERSION`."""
        versions = [
            _named_by_version(each) for each in self._models.listed_versions(self._name(request.name))
        ]
        page = page_of(versions, request, MODEL)
        return aiplatform_v1.ListModelVersionsResponse.pb()(
            models=page.items, next_page_token=page.next_page_token
        )

    def update_model(self, request: Message) -> Message:
        """Answer UpdateModel: shared fields without a version in the name, its own with one."""
        name = self._name(request.model.name)
        changed = request.model
        with self._region.store.transaction():
            check_etag(self._models.get(name), changed.etag)
            _check_fields(name, request.update_mask.paths)
            if _is_version(name):
                own = self._models.own(name)
                update(own, changed, request.update_mask.paths, _OWN)
                self._models.put_version(own)
            else:
                shared = self._models.shared(name)
                update(shared, changed, request.update_mask.paths, _SHARED)
                self._models.put_shared(shared)
            return self._get(name)

    def merge_version_aliases(self, request: Message) -> Message:
        """Answer MergeVersionAliases: `alias` is moved here, `-alias` removed."""
        name = self._name(request.name)
        if not name.version:
            raise InvalidArgument.of(
                "name", f"'{name}' does not name a version; expected …/models/ID@VERSION"
            )
        with self._region.store.transaction():
            return _named_by_version(self._models.merge_aliases(name, list(request.version_aliases)))

    def delete_model(self, request: Message) -> Message:
        """Answer DeleteModel: all versions, none of which may be deployed."""
        name = self._name(request.name)
        if name.version:
            raise InvalidArgument.of("name", f"'{name}' is a version; use DeleteModelVersion for it")
        with self._region.store.transaction():
            self._models.delete(name)
            return self._operations.deleted(str(name))

    def delete_model_version(self, request: Message) -> Message:
        """Answer DeleteModelVersion; neither a deployed version nor the default one."""
        name = self._name(request.name)
        if not name.version:
            raise FailedPrecondition(f"'{name}' does not name a version; expected …/models/ID@VERSION")
        with self._region.store.transaction():
            self._models.delete_version(name)
            return self._operations.deleted(str(name.unversioned))

    def _name(self, text: str) -> ModelName:
        return ModelName.parse(self._region.canonical(text))


def _is_version(name: ModelName) -> bool:
    """Return whether a name means one version; `ID@-` means the model."""
    return bool(name.version) and name.version != "-"


def _named_by_version(model: Message) -> Message:
    """Return a model under `ID@VERSION`, as versions are named whichever alias was requested."""
    model.name = f"{model.name}@{model.version_id}"
    return model


def _check_fields(name: ModelName, paths: Iterable[str]) -> None:
    """Raise FailedPrecondition for fields of the model under a version's name, and the other way round."""
    foreign = _SHARED - _OWN if _is_version(name) else _OWN - _SHARED
    wrong = sorted(foreign.intersection(paths))
    if wrong:
        kind, form = ("model", "ID") if _is_version(name) else ("version", "ID@VERSION")
        raise FailedPrecondition(
            f"'{wrong[0]}' belongs to a {kind}, which '{name}' does not name; give …/models/{form}"
        )


def _check(version: Message) -> None:
    unsupported = first_set(version, _UNSUPPORTED)
    if unsupported:
        raise Unimplemented(f"model.{unsupported} is not supported by the local Vertex AI; leave it out")
    if not version.container_spec.image_uri:
        raise InvalidArgument.of(
            "model.container_spec.image_uri", "required; name the serving container's image"
        )
    if version.artifact_uri:
        check_gcs_uri("model.artifact_uri", version.artifact_uri)
