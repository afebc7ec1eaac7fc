"""Instances of a prediction request, checked against the features that the model reads."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_INT64_LIMIT: Final = 2**63


class BadRequestError(ValueError):
    """A request cannot be answered; the message names the instance and the feature."""


class ContractError(ValueError):
    """A model does not say what its instances are."""


class FeatureType(StrEnum):
    """JSON types of a feature's value."""

    INTEGER = "integer"
    NUMBER = "number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One raw feature; `missing` stands for null or absent, and is None where the feature is required.

    What may be missing is never negative: that is what makes the substitute recognisable.
    """

    name: str
    json_type: FeatureType
    missing: float | None

    def value(self, instance: Mapping[str, Any], place: str) -> int | float:
        """Return the instance's value.

        Raises:
            BadRequestError: for a missing, mistyped or impossible value.

        """
        given = instance.get(self.name)
        if given is None:
            return self._absent(place)
        accepted = int if self.json_type is FeatureType.INTEGER else (int, float)
        if isinstance(given, bool) or not isinstance(given, accepted):
            raise BadRequestError(
                f"{place}: feature {self.name!r} is {_shown(given)}; give {self._description}"
            )
        if self.json_type is FeatureType.INTEGER:
            return self._integer(int(given), place)
        return self._number(given, place)

    @property
    def _description(self) -> str:
        article = "an" if self.json_type is FeatureType.INTEGER else "a"
        return f"{article} {self.json_type}" + (
            "" if self.missing is None else ", or null where it is unknown"
        )

    def _absent(self, place: str) -> float:
        if self.missing is None:
            raise BadRequestError(f"{place}: feature {self.name!r} is missing; give {self._description}")
        return self.missing

    def _integer(self, given: int, place: str) -> int:
        if not -_INT64_LIMIT <= given < _INT64_LIMIT:
            raise BadRequestError(f"{place}: feature {self.name!r} is {_shown(given)}; it must fit 64 bits")
        return given

    def _number(self, given: float, place: str) -> float:
        try:
            number = float(given)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or (self.missing is not None and number < 0):
            raise BadRequestError(
                f"{place}: feature {self.name!r} is {_shown(given)}; it must be finite and not negative"
            )
        return number


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceContract:
    """What a model reads and answers; the Trainer writes it beside the SavedModel."""

    features: tuple[Feature, ...]
    signature: str
    prediction: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the contract.

        Raises:
            ContractError: where the text is another thing.

        """
        try:
            content = json.loads(text)
            features = tuple(
                Feature(name=item["name"], json_type=FeatureType(item["type"]), missing=item["missing"])
                for item in content["features"]
            )
            return cls(features=features, signature=content["signature"], prediction=content["prediction"])
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(f"the model's instance contract cannot be read: {error!r}") from error

    def rows(self, body: bytes) -> list[dict[str, int | float]]:
        """Return a value for every feature of every instance of a request's JSON body.

        Raises:
            BadRequestError: naming the instance and the feature.

        """
        return [self._row(instance, f"instances[{index}]") for index, instance in enumerate(_instances(body))]

    def _row(self, instance: object, place: str) -> dict[str, int | float]:
        if not isinstance(instance, dict):
            raise BadRequestError(f"{place} is {_shown(instance)}; give an object of features")
        known = {feature.name for feature in self.features}
        if unknown := sorted(instance.keys() - known):
            raise BadRequestError(f"{place}: unknown feature {unknown[0]!r}; known are {sorted(known)}")
        return {feature.name: feature.value(instance, place) for feature in self.features}


def _instances(body: bytes) -> Sequence[object]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"the body is not JSON: {error}") from error
    if not isinstance(request, dict) or "instances" not in request:
        raise BadRequestError('the body has no "instances"; send {"instances": [{<feature>: <value>, …}]}')
    instances = request["instances"]
    if not isinstance(instances, list) or not instances:
        raise BadRequestError(f'"instances" is {_shown(instances)}; give a list with at least one instance')
    return instances


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004  # a line's worth
