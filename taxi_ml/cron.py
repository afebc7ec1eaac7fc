"""The cron expressions that Airflow can run."""

from __future__ import annotations

import re
from typing import Final

_ITEM: Final = r"(\*|[0-9]{1,2}(-[0-9]{1,2})?)(/[0-9]{1,2})?"
_FIELD: Final = rf"{_ITEM}(,{_ITEM}){{0,59}}"
_EXPRESSION: Final = re.compile(rf"{_FIELD}( {_FIELD}){{4}}")


def is_runnable(text: str) -> bool:
    """Return whether `text` is five cron fields, numbers only, of a time that comes."""
    # What Airflow reads cron with; the pipeline environment does not have it.
    from croniter import croniter  # noqa: PLC0415  # above

    return bool(_EXPRESSION.fullmatch(text)) and bool(croniter.is_valid(text, strict=True))
