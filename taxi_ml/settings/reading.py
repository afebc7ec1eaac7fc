"""Strings and JSON values that become settings, and the problem of each one that does not."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final, get_type_hints

from taxi_ml.dataflow import BeamArguments
from taxi_ml.resources import Resources
from taxi_ml.rules import SettingsError, shown_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taxi_ml.rules import Rule

PREFIX: Final = "TAXI_"
"""Environment variables with this prefix are settings: TAXI_BUCKET is `bucket`."""


def checked(settings: type, given: Mapping[str, object], *, required: frozenset[str]) -> dict[str, Any]:
    """Return each given value as the type of its field in the class `settings`.

    Raises:
        SettingsError: for unknown, missing and wrong settings, all of them at once.

    """
    hints = get_type_hints(settings, include_extras=True)
    problems = [
        f"setting {shown(name)} is missing; set it: {hints[name].__metadata__[0].remedy}"
        for name in sorted(required - given.keys())
    ]
    values: dict[str, Any] = {}
    for name, raw in given.items():
        if name not in hints:
            problems.append(
                f"setting {shown(name)} = {shown_value(raw)} is unknown; remove it or fix the spelling"
            )
            continue
        rule: Rule = hints[name].__metadata__[0]
        try:
            meant = rule.words.get(raw.strip().lower(), raw) if isinstance(raw, str) else raw
            values[name] = _converted(hints[name].__origin__, meant)
            accepted = rule.accepts(values[name])
        except ValueError as error:
            problems.append(f"setting {shown(name)} = {shown_value(raw)}: {error}")
            continue
        if not accepted:
            problems.append(f"setting {shown(name)} = {shown_value(raw)} is not accepted; {rule.remedy}")
    if problems:
        raise SettingsError(*problems)
    return values


def shown(name: str) -> str:
    """Return a setting as a message names it, with its environment variable."""
    return f"{name} ({PREFIX}{name.upper()})"


def _converted(kind: Any, raw: object) -> object:  # noqa: ANN401  # a type form: str, int, tuple[str, ...]
    if kind is int and isinstance(raw, int | str) and not isinstance(raw, bool):
        return _whole_number(raw)
    if kind is float and isinstance(raw, int | float | str) and not isinstance(raw, bool):
        return _number(raw)
    if kind in {bool, str} and isinstance(raw, kind):
        return raw.strip() if isinstance(raw, str) else raw
    if kind in _OF_STRINGS:
        if isinstance(raw, str):
            return _OF_STRINGS[kind](tuple(shlex.split(raw)))
        if isinstance(raw, list | tuple):
            return _OF_STRINGS[kind](tuple(str(argument) for argument in raw))
        if isinstance(raw, BeamArguments | Resources) and type(raw) is kind:
            return raw
    raise ValueError(f"it is of type {type(raw).__name__}; give {_KINDS.get(kind, 'a list of strings')}")


_KINDS: Final = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}
_OF_STRINGS: Final[Mapping[Any, Callable[[tuple[str, ...]], object]]] = {
    tuple[str, ...]: tuple,
    BeamArguments: BeamArguments,
    Resources: Resources,
}


def plain(value: Any, rule: Rule) -> Any:  # noqa: ANN401  # a setting's value; what JSON takes
    """Return a setting as a JSON value, with the word for it where its rule has one."""
    if named := [word for word, meant in rule.words.items() if meant == value]:
        return named[0]
    if isinstance(value, BeamArguments | Resources):
        return list(value.texts)
    return list(value) if isinstance(value, tuple) else value


def _whole_number(raw: int | str) -> int:
    if isinstance(raw, str) and not re.fullmatch(r"[+-]?[0-9]{1,100}", raw.strip()):
        raise ValueError("it is not a whole number; give digits only")
    return int(raw)


def _number(raw: float | str) -> float:
    try:
        return float(raw)
    except (ValueError, OverflowError):
        raise ValueError("it is not a number; give one such as 200 or 12.5") from None
