"""The months of a replay, and the runs that train them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final, Self

from taxi_ml.rules import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from taxi_ml.settings import Settings

_OF_THE_RUNS: Final = ("train_months", "test_months", "train_steps", "tuner_trials")
_MOST_MONTHS: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Months:
    """The windows of a replay, the settings of all their runs, and how many run at once."""

    ends: tuple[date, ...]
    settings: Settings
    chosen: Mapping[str, int]
    workers: int

    @classmethod
    def of(cls, params: Mapping[str, Any], settings: Settings) -> Self:
        """Return the months of a form.

        Raises:
            SettingsError: for every wrong field at once.

        """
        chosen = {name: params[name] for name in _OF_THE_RUNS if params.get(name) is not None}
        overridden = settings.with_overrides(**chosen)
        first, last = (overridden.window(params[name]).end for name in ("first_end", "last_end"))
        ends = tuple(_months(first, last))
        if not 2 <= len(ends) <= _MOST_MONTHS:  # noqa: PLR2004  # one month has no following one
            raise SettingsError(
                f"windows end from {first} to {last}: {len(ends)} months; a replay takes 2 to {_MOST_MONTHS}"
            )
        return cls(ends=ends, settings=overridden, chosen=chosen, workers=int(params["workers"]))

    def runs(self, *, code: str) -> list[dict[str, Any]]:
        """Return run id, conf and the run that has to end before, for each month.

        `code` is a digest of the code. Month by month, a run begins when the one `workers` months before it
        has ended, so that no more than `workers` are active.
        """
        known = json.dumps([code, self.settings.values()], sort_keys=True)
        digest = hashlib.sha256(known.encode()).hexdigest()[:10]
        ids = [f"replay__{end}__{digest}" for end in self.ends]
        conf = {"promote": False, "compare": False, **self.chosen}
        return [
            {
                "trigger_run_id": run_id,
                "conf": {"window_end": end.isoformat(), **conf},
                "after": ids[place - self.workers] if place >= self.workers else "",
            }
            for place, (end, run_id) in enumerate(zip(self.ends, ids, strict=True))
        ]


def _months(first: date, last: date) -> Iterator[date]:
    for number in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield date(number // 12, number % 12 + 1, 1)
