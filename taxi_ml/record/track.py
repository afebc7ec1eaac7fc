"""The track record: each month's decision, what served when, and how it did in the months that followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taxi_ml.card.plots import distance_rows
from taxi_ml.record.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from taxi_ml.card.plots import DriftRow
    from taxi_ml.gate.metrics import Interval
    from taxi_ml.record.rollout import RollBack
    from taxi_ml.record.run import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """When a model had all of the traffic; `until` is None while it has, or if nobody recorded the end."""

    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """How a model did, as the champion, on the test months of a later run; `mae` is in USD."""

    months: str
    mae: float | None
    rival_mae: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run in the track record.

    `difference` is challenger minus champion in MAE. `champion_months` are the test months of the run whose
    model was the champion, empty if it is not in the record. `drift` is the farthest feature that counts.
    """

    record: RunRecord
    outcome: Outcome
    mae: float | None
    champion_mae: float | None
    champion_months: str
    difference: Interval | None
    drift: DriftRow | None
    served: tuple[Served, ...] = ()
    followed: tuple[Followed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRecord:
    """The runs of a DAG by their test months, oldest first, and the times that people gave the traffic back.

    `left_out` is the number of runs that were compared with nothing, as those of a replay, and `older` that
    of the runs before these.
    """

    dag_id: str
    entries: tuple[Entry, ...]
    roll_backs: tuple[RollBack, ...] = ()
    left_out: int = 0
    older: int = 0

    def count(self, *outcomes: Outcome) -> int:
        """Return the number of runs with one of these outcomes."""
        return sum(entry.outcome in outcomes for entry in self.entries)

    @property
    def serving(self) -> Entry | None:
        """The run whose model has all of the traffic now, as far as the documents tell."""
        return next((each for each in reversed(self.entries) if _serves(each)), None)


def track_record(
    dag_id: str,
    records: Iterable[RunRecord],
    roll_backs: Iterable[RollBack] = (),
    *,
    left_out: int = 0,
    older: int = 0,
) -> TrackRecord:
    """Return the track record of a DAG from the records of its runs, in any order."""
    compared = sorted(
        (each for each in records if each.run.dag_id == dag_id and each.run.compares),
        key=lambda each: (each.run.window.end, each.run.run_after, each.run.run_id),
    )
    given_back = tuple(sorted(roll_backs, key=lambda each: each.at))
    spans = _spans(compared, given_back)
    return TrackRecord(
        dag_id=dag_id,
        entries=tuple(_entry(record, compared, spans.get(_version(record), ())) for record in compared),
        roll_backs=given_back,
        left_out=left_out,
        older=older,
    )


def _entry(record: RunRecord, every: Sequence[RunRecord], served: tuple[Served, ...]) -> Entry:
    report, decision = record.report, record.decision
    champion = report.champion if report else None
    followed = _followed(record, every)
    outcome = record.outcome
    if outcome is Outcome.ACCEPTED and followed:
        # A later run met it as the champion: it was promoted by a run that wrote no rollout.json.
        outcome = Outcome.PROMOTED
    drift = distance_rows(report.drift, decision.policy.drift) if report and decision else ()
    return Entry(
        record=record,
        outcome=outcome,
        mae=report.challenger.metrics.mae if report else None,
        champion_mae=champion.metrics.mae if champion else None,
        champion_months=_months_of(champion.uri, every) if champion else "",
        difference=report.difference.mae if report and report.difference else None,
        drift=next((row for row in drift if row.decides), None),
        served=served,
        followed=followed,
    )


def _followed(record: RunRecord, every: Sequence[RunRecord]) -> tuple[Followed, ...]:
    """Return how the run's model did on the months of the runs after it whose champion it was."""
    if record.decision is None:
        return ()
    found: dict[str, Followed] = {}
    for later in every:
        report = later.report
        if report is None or report.champion is None or later.run.window.end <= record.run.window.end:
            continue
        if _same(report.champion.uri, record.decision.challenger):
            found[later.months] = Followed(
                months=later.months,
                mae=report.champion.metrics.mae,
                rival_mae=report.challenger.metrics.mae,
            )
    return tuple(found.values())


def _months_of(uri: str, every: Sequence[RunRecord]) -> str:
    return next(
        (each.months for each in every if each.decision is not None and _same(each.decision.challenger, uri)),
        "",
    )


def _same(folder: str, other: str) -> bool:
    return folder.rstrip("/") == other.rstrip("/")


def _version(record: RunRecord) -> str:
    return record.rollout.model if record.rollout else ""


def _spans(records: Sequence[RunRecord], roll_backs: Sequence[RollBack]) -> dict[str, tuple[Served, ...]]:
    """Return when each version had all of the traffic: until another one of its endpoint got it."""
    changes = [
        (record.rollout.served_from, record.rollout.endpoint, record.rollout.model)
        for record in records
        if record.rollout is not None and record.rollout.served_from is not None
    ]
    changes += [(each.at, each.endpoint, each.model) for each in roll_backs]
    changes.sort()
    spans: dict[str, tuple[Served, ...]] = {}
    for place, (since, endpoint, model) in enumerate(changes):
        until = next((at for at, where, _ in changes[place + 1 :] if where == endpoint), None)
        spans[model] = (*spans.get(model, ()), Served(since=since, until=until))
    return spans


def _serves(entry: Entry) -> bool:
    return any(each.until is None for each in entry.served)
