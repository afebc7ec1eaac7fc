"""The model that a challenger would replace, and whether a comparison with it is fair."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final

from taxi_ml.rules import SettingsError
from taxi_ml.window import Window

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_LABEL: Final = "window"
"""The label of a model version that holds the id of the window that it was trained for."""

_WINDOW_ID: Final = re.compile(r"([0-9]{4})-([0-9]{2})_train([0-9]{1,4})_test([0-9]{1,4})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The model that serves when a run begins; all strings are empty if none does.

    `name` is its resource name with version, `uri` the folder that it is registered with, which may have been
    deleted. `window` is the id of the window that it was trained for, empty if its labels do not have it.
    """

    name: str = ""
    uri: str = ""
    window: str = ""

    @classmethod
    def of(cls, *, name: str, uri: str, labels: Mapping[str, str]) -> Champion:
        """Return the champion for a model version with these labels.

        A label that is not a window's id belongs to another application and is ignored.
        """
        window = labels.get(WINDOW_LABEL, "")
        return cls(name=name, uri=uri, window=window if parse_window(window) else "")

    def is_newer_than(self, window: str) -> bool:
        """Return True if the champion was trained on test months of this window, or is of a later one.

        A model that was trained on the test rows wins any comparison on them. False if either window is not
        known.
        """
        own, run = parse_window(self.window), parse_window(window)
        return own is not None and run is not None and (own.end > run.end or has_learned_from(own, run))


def has_learned_from(trained: Window, tested: Window) -> bool:
    """Return True if the training months of one window include a test month of another."""
    return trained.train_start < tested.end and tested.test_start < trained.test_start


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
