"""The rules that settings follow, and the error of one that is wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST_SHOWN: Final = 200


class SettingsError(ValueError):
    """One or more settings are wrong; each problem names the setting, its value and the remedy."""

    def __init__(self, *problems: str) -> None:
        """Keep every problem, so that a person can fix them all at once."""
        self.problems = problems
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True)
class Rule:
    """A setting's rule; `accepts` may raise a ValueError that says more than the remedy.

    `words` stand for values, so that people need not know a number with a meaning of its own.
    """

    accepts: Callable[[Any], bool]
    remedy: str
    words: Mapping[str, object] = field(default_factory=dict, hash=False)


def matches(pattern: str, remedy: str) -> Rule:
    """Accept strings that `pattern` matches as a whole."""
    compiled = re.compile(pattern)
    return Rule(lambda text: compiled.fullmatch(text) is not None, remedy)


def between(low: float, high: float, unit: str) -> Rule:
    """Accept numbers from `low` to `high`, both included."""
    return Rule(lambda number: low <= number <= high, f"give {low} to {high} {unit}")


def switch() -> Rule:
    """Accept true and false."""
    return Rule(lambda _: True, "choose true or false", words={"true": True, "false": False})


def shown_value(raw: object) -> str:
    """Return a value as an error shows it: quoted, and shortened if it is long."""
    try:
        text = repr(raw)
    except ValueError:
        # Python does not format integers of more than 4,300 digits.
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
