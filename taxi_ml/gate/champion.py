"""The model that a challenger would replace, and whether a comparison with it is fair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from taxi_ml.rules import SettingsError
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW_LABEL: Final = "window"
"""The label of a model version that holds the id of the window that it was trained for."""

TRAINED_FROM_LABEL: Final = "trained_from"
TRAINED_UNTIL_LABEL: Final = "trained_until"
"""The labels of the first day that a version was trained on and of the first day after it, as 2015-07-01."""

JUDGED_UNTIL_LABEL: Final = "judged_until"
"""The label of the first day after those that the judged model was trained on.

It is earlier than `trained_until` if the version is a refit, which has learned from its test months too.
"""
JUDGED_FOLDER: Final = "judged"
"""The folder of the judged model, in that of its refit."""

_WINDOW_ID: Final = re.compile(r"([0-9]{4})-([0-9]{2})_train([0-9]{1,4})_test([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The trips that a model was trained on: those from the day `start` to before the day `until`."""

    start: date
    until: date

    def __post_init__(self) -> None:
        """Refuse an interval that is empty.

        Raises:
            ValueError: if it does not end after its start.

        """
        if self.until <= self.start:
            raise ValueError(f"training from {self.start} until {self.until} has no day")

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Training | None:
        """Return the interval that a version's labels name, or None if they do not.

        A version without labels of its own for it was trained on the training months of its window. One that
        was trained again on its test months as well has labels that say so, and the same window.
        """
        own = parse_window(labels.get(WINDOW_LABEL, ""))
        given = (labels.get(TRAINED_FROM_LABEL, ""), labels.get(TRAINED_UNTIL_LABEL, ""))
        try:
            return cls(start=date.fromisoformat(given[0]), until=date.fromisoformat(given[1]))
        except ValueError:
            return cls(start=own.train_start, until=own.test_start) if own else None

    @classmethod
    def of_judged(cls, labels: Mapping[str, str]) -> Training | None:
        """Return what the judged model of a refit was trained on, or None if the version is not a refit."""
        names = (TRAINED_FROM_LABEL, JUDGED_UNTIL_LABEL, TRAINED_UNTIL_LABEL)
        try:
            start, until, refit_until = (date.fromisoformat(labels.get(name, "")) for name in names)
        except ValueError:
            return None
        return cls(start=start, until=until) if start < until < refit_until else None

    def includes_test_of(self, window: Window) -> bool:
        """Return True if a test day of this window is among the days that the model was trained on."""
        return self.start < window.end and window.test_start < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The model that serves when a run begins; all strings are empty if none does.

    `name` is its resource name with version, `uri` the folder of the model to compare with, which may have
    been deleted: the one that it is registered with, or the judged model's if that is a refit. `window` is
    the id of the window that it was trained for, empty if its labels do not have it, and `training` what that
    model was trained on, None if they do not say.
    """

    name: str = ""
    uri: str = ""
    window: str = ""
    training: Training | None = None

    @classmethod
    def of(cls, *, name: str, uri: str, labels: Mapping[str, str]) -> Champion:
        """Return the champion for a model version with these labels.

        A label that is not a window's id or a day belongs to another application and is ignored.
        """
        window = labels.get(WINDOW_LABEL, "")
        known = window if parse_window(window) else ""
        judged = Training.of_judged(labels)
        if judged is not None and uri:
            # A refit would win any comparison on the test months that it has learned from.
            folder = f"{uri.rstrip('/')}/{JUDGED_FOLDER}"
            return cls(name=name, uri=folder, window=known, training=judged)
        return cls(name=name, uri=uri, window=known, training=Training.of(labels))

    def is_later_than(self, window: Window) -> bool:
        """Return True if the champion was trained for a window that ends after this one."""
        own = parse_window(self.window)
        return own is not None and own.end > window.end

    def precedes(self, window: Window) -> bool:
        """Return True if its window ends earlier than this one, and it was trained on no test day of this."""
        own = parse_window(self.window)
        return own is not None and own.end < window.end and not self.has_learned_from(window)

    def has_learned_from(self, window: Window) -> bool:
        """Return True if the champion was trained on test days of this window.

        A model that was trained on the test rows wins any comparison on them. False if its training is not
        known.
        """
        return self.training is not None and self.training.includes_test_of(window)


def newest_first(models: Iterable[Champion], window: str) -> list[Champion]:
    """Return the models that precede a run of the window with this id, those of the latest windows first.

    Of two for the same window, the one that comes first in `models` is first.
    """
    run = parse_window(window)
    preceding = [each for each in models if run is not None and each.precedes(run)]
    # Ids begin with the month in which their window ends.
    return sorted(preceding, key=lambda each: each.window[:7], reverse=True)


def parse_window(text: str) -> Window | None:
    """Return the window with this id, such as 2015-07_train24_test1, or None for any other string."""
    found = _WINDOW_ID.fullmatch(text)
    if found is None:
        return None
    year, month, train, test = map(int, found.groups())
    try:
        window = Window(end=date(year, month, 1), train_months=train, test_months=test)
    except (SettingsError, ValueError):
        return None
    # Leading zeros, such as train024, also match, but no window has such an id.
    return window if window.id == text else None
