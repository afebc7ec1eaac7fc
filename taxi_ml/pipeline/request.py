"""The compile request: the boundary between Airflow and the pipeline environment, as JSON.

It does not contain values that change from month to month; see `taxi_ml.pipeline.parameters`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from taxi_ml import image, naming
from taxi_ml.settings import PipelineSchema
from taxi_ml.splits import ExamplesFormat

if TYPE_CHECKING:
    from enum import StrEnum

    from taxi_ml.settings import Settings

SCHEMA_VERSION: Final = 2

_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "examples_format": ExamplesFormat,
    "pipeline_schema": PipelineSchema,
}
_JSON_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "str": str,
    "int": int,
    "float": (int, float),
    "bool": bool,
}


class RequestError(ValueError):
    """A string is not a compile request of this version; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileRequest:
    """Everything that the compiled pipeline depends on.

    Folders are gs:// addresses or local paths. `compiler` is a digest of the code that compiles, so that
    pipelines compiled by other code have another address, whatever the image's tag. `resources` are the
    settings of single components, in the form of `taxi_ml.resources`; others take theirs from `machine_type`.
    `compares` is whether there is a champion to compare with, `refit` whether the model is trained again with
    the test rows. `max_rmse_usd` is the Evaluator's ceiling,
    `max_rmse_growth` the largest growth of the RMSE over the champion's, as a fraction. The gate judges with
    confidence intervals; the Evaluator has none, and RMSEs of a few hundred trips differ by a tenth by
    chance. Its bounds only stop broken models, so they are wider than every limit of the gate's policy: twice
    the error of the mean fare, and twice the champion's.
    """

    pipeline_name: str
    pipeline_root: str
    modules_uri: str
    modules_digest: str
    compiler: str
    image: str
    machine_type: str
    beam_args: tuple[str, ...]
    batch_size: int
    tuner_trials: int
    tuner_steps: int
    seed: int
    enable_cache: bool
    compares: bool = False
    refit: bool = False
    resources: tuple[str, ...] = ()
    examples_format: str = ExamplesFormat.CSV.value
    pipeline_schema: str = PipelineSchema.NEWER.value
    tuner_minutes: float = 30.0
    max_rmse_usd: float = 20.0
    max_rmse_growth: float = 1.0

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        modules_digest: str,
        compares: bool,
        enable_cache: bool,
    ) -> Self:
        """Return the request for runs of these settings: with a champion or without, and with the cache."""
        return cls(
            pipeline_name=settings.model_name,
            pipeline_root=naming.pipeline_root(settings),
            modules_uri=naming.modules_uri(settings, modules_digest),
            modules_digest=modules_digest,
            compiler=image.digest(),
            image=settings.pipeline_image,
            machine_type=settings.machine_type,
            beam_args=settings.beam_arguments(),
            batch_size=settings.batch_size,
            tuner_trials=settings.tuner_trials,
            tuner_steps=settings.tuner_steps,
            seed=settings.seed,
            enable_cache=enable_cache,
            compares=compares,
            refit=settings.refit,
            resources=settings.resources.texts,
            examples_format=settings.examples_format,
            pipeline_schema=settings.pipeline_schema,
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a request from its JSON.

        Raises:
            RequestError: naming the field that is missing, unknown or of another type.

        """
        fields = _object(text)
        version = fields.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise RequestError(f"schema_version is {version!r}; this compiler reads {SCHEMA_VERSION}")
        _check_keys(cls, fields)
        beam_args = _texts("beam_args", fields.pop("beam_args"))
        resources = _texts("resources", fields.pop("resources", []))
        _check(cls, fields)
        return cls(beam_args=beam_args, resources=resources, **fields)

    def to_json(self) -> str:
        """Return the request as JSON with sorted keys; equal requests give equal strings."""
        return json.dumps(
            {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=2, sort_keys=True
        )

    @property
    def digest(self) -> str:
        """The request's SHA-256 in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def wheels_uri(self) -> str:
        """The folder of these modules' wheels; it depends only on the modules' content."""
        return f"{self.modules_uri}/wheels"


def _object(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the compile request is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise RequestError(f"the compile request is a JSON {type(fields).__name__}; write an object")
    return fields


def _check_keys(cls: type, fields: dict[str, Any]) -> None:
    known = {field.name: field for field in dataclasses.fields(cls)}
    if unknown := sorted(fields.keys() - known.keys()):
        raise RequestError(f"unknown fields {unknown}; known are {sorted(known)}")
    required = {
        name
        for name, field in known.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - fields.keys()):
        raise RequestError(f"missing fields {missing}")


def _check(cls: type, fields: dict[str, Any]) -> None:
    types = {field.name: str(field.type) for field in dataclasses.fields(cls)}
    for name, value in fields.items():
        expected = _JSON_TYPES[types[name]]
        if not isinstance(value, expected) or (isinstance(value, bool) and types[name] != "bool"):
            raise RequestError(f"{name} is {value!r}; give a {types[name]}")
    for name, choices in _CHOICES.items():
        if fields.get(name, next(iter(choices))) not in set(choices):
            raise RequestError(f"{name} is {fields[name]!r}; give one of {', '.join(choices)}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequestError(f"{name} is {value!r}; give a list of strings")
    return tuple(value)
