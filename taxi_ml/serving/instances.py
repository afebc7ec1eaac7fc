"""A prediction request, whose instances are checked against the features that the model reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LARGEST_FLOAT32: Final = 3.4028234663852886e38
"""The largest value that a tf.train.Example can carry."""
_DETAILS: Final = "details"


class BadRequestError(ValueError):
    """A request cannot be answered; the message names the instance and the feature."""


class ContractError(ValueError):
    """A model has no readable description of its instances."""


class FeatureType(StrEnum):
    """JSON types of a feature's value."""

    INTEGER = "integer"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One raw feature; `missing` replaces null or an absent value, and is None if the feature is required.

    `minimum` and `maximum` bound its values, both included. A feature that may be missing is never negative,
    so that a negative substitute is recognisable.
    """

    name: str
    json_type: FeatureType
    missing: float | None
    minimum: float
    maximum: float

    @classmethod
    def parse(cls, item: Mapping[str, Any]) -> Self:
        """Read a feature; one without bounds has those of its type.

        Raises:
            KeyError, TypeError, ValueError: if the item does not describe a feature.

        """
        json_type, missing = FeatureType(item["type"]), item["missing"]
        least: float
        largest: float
        if json_type is FeatureType.INTEGER:
            least, largest = -(2**63), 2**63 - 1
        else:
            least, largest = -_LARGEST_FLOAT32 if missing is None else 0, _LARGEST_FLOAT32
        feature = cls(
            name=item["name"],
            json_type=json_type,
            missing=missing,
            minimum=item.get("minimum", least),
            maximum=item.get("maximum", largest),
        )
        if not least <= feature.minimum <= feature.maximum <= largest:
            raise ValueError(f"{feature.name} is bounded by {feature.minimum} and {feature.maximum}")
        return feature

    def value(self, instance: Mapping[str, Any], place: str) -> int | float:
        """Return the instance's value.

        Raises:
            BadRequestError: for a value that is missing, of another type, or out of range.

        """
        given = instance.get(self.name)
        if given is None:
            if self.missing is None:
                raise BadRequestError(f"{place}: feature {self.name!r} is missing; give {self._description}")
            return self.missing
        # JSON has one kind of number, and Vertex AI carries each as a double: 7.0 is an integer.
        integral = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
        wanted = integral if self.json_type is FeatureType.INTEGER else isinstance(given, int | float)
        if isinstance(given, bool) or not wanted or not self.minimum <= given <= self.maximum:
            raise BadRequestError(
                f"{place}: feature {self.name!r} is {shortened(repr(given))}; give {self._description}"
            )
        return int(given) if self.json_type is FeatureType.INTEGER else float(given)

    @property
    def _description(self) -> str:
        article = "an" if self.json_type is FeatureType.INTEGER else "a"
        unknown = "" if self.missing is None else ", or null if it is unknown"
        return f"{article} {self.json_type} from {self.minimum} to {self.maximum}{unknown}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRequest:
    """A value for every feature of every instance, and whether the answer is to have the quotes' details."""

    rows: list[dict[str, int | float]]
    details: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceContract:
    """A model's features and answer; the Trainer writes it beside the SavedModel."""

    features: tuple[Feature, ...]
    signature: str
    prediction: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the contract.

        Raises:
            ContractError: if the text does not describe a contract.

        """
        try:
            content = json.loads(text)
            return cls(
                features=tuple(Feature.parse(item) for item in content["features"]),
                signature=content["signature"],
                prediction=content["prediction"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ContractError(f"the model's instance contract cannot be read: {error!r}") from error

    def request(self, body: bytes) -> PredictionRequest:
        """Read a request's JSON body.

        Raises:
            BadRequestError: naming the parameter, or the instance and the feature.

        """
        content = _content(body)
        return PredictionRequest(
            rows=[
                self._row(instance, f"instances[{index}]")
                for index, instance in enumerate(_instances(content))
            ],
            details=_details(content),
        )

    def _row(self, instance: object, place: str) -> dict[str, int | float]:
        if not isinstance(instance, dict):
            raise BadRequestError(f"{place} is {shortened(repr(instance))}; give an object of features")
        known = {feature.name for feature in self.features}
        if unknown := sorted(instance.keys() - known):
            raise BadRequestError(
                f"{place}: unknown feature {shortened(repr(unknown[0]))}; known are {sorted(known)}"
            )
        return {feature.name: feature.value(instance, place) for feature in self.features}


def _content(body: bytes) -> dict[str, object]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not valid JSON: {error}") from error
    if not isinstance(request, dict) or "instances" not in request:
        raise BadRequestError('the body has no "instances"; send {"instances": [{<feature>: <value>, …}]}')
    return request


def _instances(request: Mapping[str, object]) -> Sequence[object]:
    instances = request["instances"]
    if not isinstance(instances, list) or not instances:
        raise BadRequestError(
            f'"instances" is {shortened(repr(instances))}; give a list with at least one instance'
        )
    return instances


def _details(request: Mapping[str, object]) -> bool:
    parameters = request.get("parameters")
    # Vertex AI's clients send null for none.
    if parameters is None:
        return False
    if not isinstance(parameters, dict) or parameters.keys() - {_DETAILS}:
        raise BadRequestError(
            f'"parameters" is {shortened(repr(parameters))}; leave it out, or give {{"{_DETAILS}": true}}'
        )
    details = parameters.get(_DETAILS, False)
    if not isinstance(details, bool):
        raise BadRequestError(f"parameter {_DETAILS!r} is {shortened(repr(details))}; give true or false")
    return details


def shortened(text: str) -> str:
    """Return a string cut to fit on a line of an error message."""
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004  # a line's worth
