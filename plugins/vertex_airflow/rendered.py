"""What an operator's field means once its template was rendered, which as a rule gives a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_true(value: bool | str) -> bool:  # noqa: FBT001  # a template gives either
    """Return what a field means by true: a truth value, or its text."""
    return value if isinstance(value, bool) else value.strip().lower() in {"true", "1", "yes"}


def is_empty(value: Sequence[str] | str) -> bool:
    """Tell whether a field says nothing; None comes out of a template as a text."""
    return not value or value == "None"


def check_given(**fields: Sequence[str] | str) -> None:
    """Raise when a required field came out of its template empty.

    Raises:
        AirflowFailException: naming the field.

    """
    for name, value in fields.items():
        if is_empty(value):
            raise AirflowFailException(f"{name} is empty; the task that gives it has no result")
