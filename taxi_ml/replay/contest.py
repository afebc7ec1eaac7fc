"""One month's choice between a challenger and what serves, with the report that a gate would have read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from taxi_ml.evaluation import scores, slicing
from taxi_ml.gate.metrics import Role
from taxi_ml.gate.report import ScoredChampion
from taxi_ml.replay.stored import BASELINE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taxi_ml.gate.metrics import Reference, Slice
    from taxi_ml.gate.report import Report
    from taxi_ml.replay.stored import Judged, Month, Numbers

SEED = 20

Lineup = tuple[str, ...]
"""Models whose mean prediction is served, usually one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A month's challenger against the champion; `anchor` is the best of the last months' champions."""

    month: Month
    challenger: Lineup
    champion: Lineup
    anchor: Lineup

    @property
    def key(self) -> tuple[str, Lineup, Lineup, Lineup]:
        """What the report depends on."""
        return self.month.id, self.challenger, self.champion, self.anchor


@dataclass(slots=True)
class Reports:
    """Reports of contests, each made once for all policies."""

    _made: dict[object, Report] = field(default_factory=dict)

    def of(self, contest: Contest) -> Report:
        """Return the report of a contest, as the pipeline would have written it."""
        if contest.key not in self._made:
            self._made[contest.key] = report_of(contest)
        return self._made[contest.key]


def predicted(predictions: Judged | Month, lineup: Lineup) -> Numbers:
    """Return the mean of the models' predictions, USD of shape [rows]."""
    mean: Numbers = np.mean([predictions.predictions[model] for model in lineup], axis=0)
    return mean


def report_of(contest: Contest) -> Report:
    """Return the run's own report with this champion and anchor in place of those that it met.

    Drift is left out, because the champion's profile of its training rows is not stored; it only warns.
    """
    judged = contest.month.judged
    fares = judged.rows.fares
    scored = scores.Predictions(
        fares=fares,
        challenger=predicted(judged, contest.challenger),
        champion=(theirs := predicted(judged, contest.champion)),
        baseline=judged.predictions.get(BASELINE),
    )
    return replace(
        judged.report,
        challenger=replace(
            judged.report.challenger,
            uri=_uri(contest.challenger),
            metrics=scores.metrics(fares, scored.challenger),
        ),
        champion=ScoredChampion(
            name=_uri(contest.champion), uri=_uri(contest.champion), metrics=scores.metrics(fares, theirs)
        ),
        difference=scores.difference(scored, seed=SEED),
        references=tuple(_references(contest, scored)),
        slices=tuple(_slices(contest, scored)),
        unchanged=scores.is_unchanged(scored),
        drift=(),
    )


def _slices(contest: Contest, scored: scores.Predictions) -> Iterator[Slice]:
    """Yield the slices; without predictions of the baseline, with the run's own comparison with it.

    The run compared its own model alone, which says nothing of a mean.
    """
    judged = contest.month.judged
    has_own = scored.baseline is None and len(contest.challenger) == 1
    known = {part.name: part for part in judged.report.slices} if has_own else {}
    for part in slicing.slices(scored, judged.rows.slicing):
        own = known.get(part.name)
        yield (
            replace(part, baseline=own.baseline, baseline_difference=own.baseline_difference) if own else part
        )


def _references(contest: Contest, scored: scores.Predictions) -> Iterator[Reference]:
    judged = contest.month.judged
    known = judged.report.reference(Role.BASELINE)
    if scored.baseline is not None:
        name = known.name if known else BASELINE
        yield scores.reference(Role.BASELINE, scored, scored.baseline, name=name, uri="", seed=SEED)
    elif known is not None and len(contest.challenger) == 1:
        # The run itself compared this very model with its baseline.
        yield known
    if contest.anchor:
        answers, uri = predicted(judged, contest.anchor), _uri(contest.anchor)
        yield scores.reference(Role.ANCHOR, scored, answers, name=uri, uri=uri, seed=SEED)


def _uri(lineup: Lineup) -> str:
    return f"replay/{'+'.join(lineup)}"


def skill(month: Month) -> float | None:
    """Return the MAE of a month's own model over that of its baseline, on its own test rows."""
    found = month.judged.report.reference(Role.BASELINE)
    ours = month.judged.report.challenger.metrics.mae
    return ours / found.metrics.mae if found and found.metrics.mae and ours is not None else None
