"""Typed reading of parsed JSON and TOML, with errors that name the place."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Read = TypeVar("Read")
_LARGEST_COUNT = 2**63 - 1

Choice = TypeVar("Choice", bound=StrEnum)


class Fields:
    """One object of a document: each field is read once, by name, as the type that it must have."""

    def __init__(self, value: object, place: str, error: type[ValueError]) -> None:
        """Take `value` as the object at `place`; every problem raises `error`."""
        if not isinstance(value, dict):
            raise error(f"{place} is {_kind(value)}; it must be an object")
        self._place = place
        self._error = error
        self._left = dict(value)

    def text(self, name: str) -> str:
        """Return a string."""
        return self._typed(name, str, "a string")

    def text_or_none(self, name: str) -> str | None:
        """Return a string, or None for null."""
        value = self._take(name)
        return None if value is None else self._as_text(name, value)

    def scalar_or_none(self, name: str) -> float | str | None:
        """Return a finite number or a string, or None for null."""
        value = self._take(name)
        return value if value is None or isinstance(value, str) else self.as_number(name, value)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        return self._typed(name, bool, "true or false")

    def count(self, name: str) -> int:
        """Return a whole number that is not negative and fits 64 bits."""
        value = self._typed(name, int, "a whole number")
        if isinstance(value, bool) or value < 0:
            raise self._refusal(name, value, "a whole number, 0 or more")
        if value > _LARGEST_COUNT:
            raise self._refusal(name, value, f"at most {_LARGEST_COUNT}")
        return value

    def count_or_none(self, name: str) -> int | None:
        """Return a whole number as above, or None for null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.count(name)

    def number(self, name: str) -> float:
        """Return a finite number."""
        return self.as_number(name, self._take(name))

    def number_or_none(self, name: str) -> float | None:
        """Return a finite number, or None for null."""
        value = self._take(name)
        return None if value is None else self.as_number(name, value)

    def size_or_none(self, name: str) -> float | None:
        """Return a finite number that is not negative, or None for null."""
        value = self.number_or_none(name)
        if value is not None and value < 0:
            raise self._refusal(name, value, "0 or more")
        return value

    def flag_or_none(self, name: str) -> bool | None:
        """Return true or false, or None for null."""
        value = self._take(name)
        if value is None or isinstance(value, bool):
            return value
        raise self._refusal(name, value, "true, false or null")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        values: list[object] = self._typed(name, list, "a list of strings")
        return tuple(self._as_text(f"{name}[{index}]", value) for index, value in enumerate(values))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return a list of finite numbers."""
        values: list[object] = self._typed(name, list, "a list of numbers")
        return tuple(self.as_number(f"{name}[{index}]", value) for index, value in enumerate(values))

    def numbers_or_none(self, name: str) -> tuple[float, ...] | None:
        """Return a list of finite numbers, or None for null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.numbers(name)

    def choice(self, name: str, kind: type[Choice]) -> Choice:
        """Return a member of an enumeration."""
        word = self.text(name)
        if word not in set(kind):
            raise self._refusal(name, word, f"one of {', '.join(kind)}")
        return kind(word)

    def read(self, name: str, reader: Callable[[Fields], Read]) -> Read:
        """Return a nested object as `reader` reads it, and refuse fields that it leaves unread."""
        fields = Fields(self._take(name), f"{self._place}.{name}", self._error)
        result = reader(fields)
        fields.close()
        return result

    def read_or_none(self, name: str, reader: Callable[[Fields], Read]) -> Read | None:
        """Return a nested object as `reader` reads it, or None for null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.read(name, reader)

    def read_list(self, name: str, reader: Callable[[Fields], Read]) -> tuple[Read, ...]:
        """Return a list of objects as `reader` reads each."""
        values = self._typed(name, list, "a list of objects")
        results = []
        for index, value in enumerate(values):
            fields = Fields(value, f"{self._place}.{name}[{index}]", self._error)
            results.append(reader(fields))
            fields.close()
        return tuple(results)

    def other_scalars(self) -> dict[str, float | str]:
        """Return all fields that have not been read yet; they must be finite numbers or strings."""
        return {
            key: value if isinstance(value, str) else self.as_number(key, value, whole=True)
            for key, value in ((key, self._take(key)) for key in tuple(self._left))
        }

    def other_numbers(self) -> dict[str, float | None]:
        """Return all fields that have not been read yet; they must be finite numbers or null."""
        taken = {key: self._take(key) for key in tuple(self._left)}
        return {
            key: None if value is None else self.as_number(key, value, whole=True)
            for key, value in taken.items()
        }

    def has(self, name: str) -> bool:
        """Return True if the field is there, even if it is null."""
        return name in self._left

    def close(self) -> None:
        """Refuse fields that were not read: they are misspelled, or of another version."""
        if self._left:
            raise self._error(f"{self._place} has unknown fields: {', '.join(sorted(self._left))}")

    def as_number(self, name: str, value: object, *, whole: bool = False) -> float:
        """Return `value`, that was read as field `name`, as a finite number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self._refusal(name, value, "a finite number")
        return value if whole else float(value)

    def _as_text(self, name: str, value: object) -> str:
        if not isinstance(value, str):
            raise self._refusal(name, value, "a string")
        return value

    def _typed(self, name: str, kind: type[Read], wanted: str) -> Read:
        value = self._take(name)
        if not isinstance(value, kind):
            raise self._refusal(name, value, wanted)
        return value

    def _take(self, name: str) -> object:
        if name not in self._left:
            raise self._error(f"{self._place} has no {name}")
        return self._left.pop(name)

    def _refusal(self, name: str, value: object, wanted: str) -> ValueError:
        return self._error(f"{self._place}.{name} is {_kind(value)}; it must be {wanted}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that is too large for a double
        return False


def _kind(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return "null" if value is None else repr(value)
