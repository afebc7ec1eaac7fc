"""Models and their versions in the store: lookup by version or alias, aliases, the merged view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api.collection import Collection, seal
from local_vertex.api.endpoints import ENDPOINT
from local_vertex.api.messages import set_time
from local_vertex.domain.errors import FailedPrecondition, InvalidArgument, NotFound
from local_vertex.domain.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_vertex.api.messages import Message
    from local_vertex.api.region import Region

MODEL = aiplatform_v1.Model.pb()
DEFAULT = "default"
_MODEL_FIELDS = ("name", "display_name", "description", "labels", "create_time", "update_time")


class _Versions(Collection):
    def key(self, message: Message) -> str:
        return f"{message.name}@{message.version_id}"


class Models:
    """All models; a model has the fields that its versions share: display name, description and labels.

    Exactly one version of a model has the alias `default`.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._models = Collection(region.store, MODEL)
        self._versions = _Versions(region.store, MODEL, kind="ModelVersion")
        self._endpoints = Collection(region.store, ENDPOINT)

    def exists(self, name: ModelName) -> bool:
        """Return whether a model of that name exists."""
        return self._models.find(str(name.unversioned)) is not None

    def insert(self, model: Message) -> None:
        """Add the model that `model`, which becomes its first version, describes; AlreadyExists."""
        shared = MODEL()
        shared.CopyFrom(model)
        for field, _ in model.ListFields():
            if field.name not in _MODEL_FIELDS:
                shared.ClearField(field.name)
        shared.ClearField("labels")
        self._models.insert(shared, str(ModelName.parse(model.name).parent))

    def insert_version(self, version: Message) -> Message:
        """Add a version, which gets the next number, and its aliases; return the merged view."""
        version.version_id = str(self._region.store.next_value(version.name))
        now = self._region.clock()
        set_time(version.version_create_time, now)
        set_time(version.version_update_time, now)
        aliases = list(version.version_aliases)
        del version.version_aliases[:]
        if version.version_id == "1":
            aliases.append(DEFAULT)
        self._versions.insert(version, version.name)
        self._assign(version, aliases)
        model = self._models.get(version.name)
        set_time(model.update_time, self._region.clock())
        self._models.put(model)
        return self.get(ModelName.parse(f"{version.name}@{version.version_id}"))

    def get(self, name: ModelName) -> Message:
        """Return the merged view of a version, without one of the default version; raises NotFound."""
        return self._merged(self._models.get(str(name.unversioned)), self._version(name))

    def all(self, parent: str) -> list[Message]:
        """Return the default version of every model, the newest model first."""
        return [self.get(ModelName.parse(model.name)) for model in self._models.all(parent)]

    def listed(self, parent: str) -> list[Message]:
        """Return the models of a location as a list shows them, as `all` does."""
        age = self._region.lags.lists
        return [
            self._merged(model, version)
            for model in self._models.earlier(parent, age=age)
            for version in self._versions.earlier(model.name, age=age)
            if DEFAULT in version.version_aliases
        ]

    def versions(self, name: ModelName) -> list[Message]:
        """Return the merged views of all versions, the newest first; raises NotFound."""
        model = self._models.get(str(name.unversioned))
        return [self._merged(model, version) for version in self._versions.all(model.name)]

    def listed_versions(self, name: ModelName) -> list[Message]:
        """Return a model's versions as a list shows them, the newest first; raises NotFound."""
        model = self._models.get(str(name.unversioned))
        versions = self._versions.earlier(model.name, age=self._region.lags.lists)
        return [self._merged(model, version) for version in versions]

    def put_shared(self, model: Message) -> None:
        """Keep display name, description and labels of a model."""
        current = self._models.get(model.name)
        current.display_name = model.display_name
        current.description = model.description
        current.labels.clear()
        current.labels.update(model.labels)
        set_time(current.update_time, self._region.clock())
        self._models.put(current)

    def shared(self, name: ModelName) -> Message:
        """Return the fields that the versions of a model share; raises NotFound."""
        return self._models.get(str(name.unversioned))

    def own(self, name: ModelName) -> Message:
        """Return a version without the fields of its model; raises NotFound."""
        return self._version(name)

    def put_version(self, version: Message) -> None:
        """Keep a changed version."""
        set_time(version.version_update_time, self._region.clock())
        self._versions.put(version)

    def merge_aliases(self, name: ModelName, changes: Iterable[str]) -> Message:
        """Add the aliases, and remove those that begin with `-`; an alias moves from where it was."""
        version = self._version(name)
        removed = {each[1:] for each in changes if each.startswith("-")}
        added = [each for each in changes if not each.startswith("-") and each not in removed]
        if DEFAULT in removed and DEFAULT in version.version_aliases:
            raise InvalidArgument.of(
                "version_aliases", "'default' cannot be removed; give it to another version instead"
            )
        kept = [alias for alias in version.version_aliases if alias not in removed]
        del version.version_aliases[:]
        version.version_aliases.extend(kept)
        self.put_version(version)
        self._assign(version, added)
        return self.get(name)

    def delete(self, name: ModelName) -> None:
        """Forget a model with all versions; raises FailedPrecondition if one is deployed."""
        model = self._models.get(str(name.unversioned))
        versions = self._versions.all(model.name)
        for version in versions:
            self._check_not_deployed(version)
        for version in versions:
            self._versions.delete(self._versions.key(version))
        self._models.delete(model.name)
        self._region.store.forget_counter(model.name)

    def delete_version(self, name: ModelName) -> None:
        """Forget a version; raises FailedPrecondition for a deployed, default or only one."""
        version = self._version(name)
        key = self._versions.key(version)
        self._check_not_deployed(version)
        if len(self._versions.all(version.name)) == 1:
            raise FailedPrecondition(f"'{key}' is the model's only version; delete the model instead")
        if DEFAULT in version.version_aliases:
            raise FailedPrecondition(
                f"'{key}' is the default version; give the alias 'default' to another first"
            )
        self._versions.delete(key)

    def _version(self, name: ModelName) -> Message:
        self._models.get(str(name.unversioned))
        wanted = name.version or DEFAULT
        if wanted == "-":
            wanted = DEFAULT
        for version in self._versions.all(str(name.unversioned)):
            if wanted == version.version_id or wanted in version.version_aliases:
                return version
        raise NotFound(f"model '{name.unversioned}' has no version or alias '{wanted}'")

    def _assign(self, version: Message, aliases: Iterable[str]) -> None:
        """Give aliases to a version, taking each from the version that has it."""
        chosen = list(dict.fromkeys(aliases))
        for other in self._versions.all(version.name):
            kept = [alias for alias in other.version_aliases if alias not in chosen]
            if len(kept) != len(other.version_aliases):
                del other.version_aliases[:]
                other.version_aliases.extend(kept)
                self.put_version(other)
        current = self._versions.get(self._versions.key(version))
        current.version_aliases.extend(chosen)
        self.put_version(current)

    def _merged(self, model: Message, version: Message) -> Message:
        merged = MODEL()
        merged.CopyFrom(version)
        merged.display_name = model.display_name
        merged.description = model.description
        merged.labels.clear()
        merged.labels.update({**model.labels, **version.labels})
        merged.create_time.CopyFrom(model.create_time)
        merged.update_time.CopyFrom(model.update_time)
        seal(merged)
        merged.deployed_models.extend(self._deployments(version))
        return merged

    def _deployments(self, version: Message) -> list[Message]:
        return [
            aiplatform_v1.DeployedModelRef.pb()(endpoint=endpoint.name, deployed_model_id=deployed.id)
            for endpoint in self._endpoints.all()
            for deployed in endpoint.deployed_models
            if (deployed.model, deployed.model_version_id) == (version.name, version.version_id)
        ]

    def _check_not_deployed(self, version: Message) -> None:
        deployments = self._deployments(version)
        if deployments:
            raise FailedPrecondition(
                f"version {version.version_id} of model '{version.name}' is deployed on "
                f"'{deployments[0].endpoint}'; undeploy it first"
            )
