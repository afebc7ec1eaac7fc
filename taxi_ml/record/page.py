"""Renders a run's record and the track record into pages that load nothing but their style and script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import jinja2

from taxi_ml.card import plots
from taxi_ml.gate.metrics import is_finite
from taxi_ml.record import plot, sentences
from taxi_ml.record.run import GOES_ON, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from taxi_ml.gate.metrics import Slice
    from taxi_ml.record.run import RunRecord
    from taxi_ml.record.track import TrackRecord

FOLDER: Final = Path(__file__).parent
POLL_SECONDS: Final = 5
_MOST_SLICES: Final = 10
_MOST_DRIFTS: Final = 5
_ENDED: Final = frozenset({"success", "failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link; `leaves` is whether it opens another site, which a frame of Airflow must not show."""

    name: str
    url: str
    leaves: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WorseSlice:
    """A slice in which the challenger's MAE is higher than the champion's.

    `is_certain` is whether the whole interval is above 0, `rejects` whether the gate counts it as a reason.
    """

    part: Slice
    is_certain: bool
    rejects: bool


def render_run(record: RunRecord, *, assets: str, track: str, links: tuple[Link, ...], state: str) -> str:
    """Return the page of a run; its strings are escaped.

    `assets` is the folder of page.css and page.js as a URL path, `track` the URL path of the track record.
    `state` is Airflow's word for the DAG run's state, such as `running`.
    """
    report, decision = record.report, record.decision
    worse = worse_slices(record)
    return (
        _environment()
        .get_template("run.html.jinja")
        .render(
            record=record,
            report=report,
            decision=decision,
            outcome=record.outcome,
            lead=sentences.verdict_sentence(record),
            since=sentences.outcome_sentence(record),
            assets=assets,
            track=track,
            links=links,
            state=state,
            poll=POLL_SECONDS if goes_on(record, state) else 0,
            metrics=plots.metric_rows(report) if report else (),
            differences=plots.difference_bars(report) if report else (),
            worse=worse[:_MOST_SLICES],
            more_slices=max(0, len(worse) - _MOST_SLICES),
            drift=[row for row in plots.distance_rows(report.drift, decision.policy.drift) if row.decides][
                :_MOST_DRIFTS
            ]
            if report and decision
            else (),
        )
    )


def render_track(track: TrackRecord, *, assets: str, page_of: Callable[[str], str]) -> str:
    """Return the page of a DAG; `page_of` returns the URL path of a run's page by its id."""
    return (
        _environment()
        .get_template("track.html.jinja")
        .render(
            track=track,
            plot=plot.draw(track),
            width=plot.WIDTH,
            bottom=plot.BOTTOM,
            assets=assets,
            page_of=page_of,
            promoted=track.count(Outcome.PROMOTED),
            rejected=track.count(Outcome.REJECTED, Outcome.DECLINED),
            rolled_back=track.count(Outcome.ROLLED_BACK),
        )
    )


def render_absence(message: str, *, assets: str, track: str) -> str:
    """Return the page for a run that has no record, which says why."""
    return (
        _environment().get_template("absent.html.jinja").render(message=message, assets=assets, track=track)
    )


def goes_on(record: RunRecord, state: str) -> bool:
    """Return whether the page may change by itself: while the run is not over, and until all is written."""
    return state not in _ENDED and record.outcome in GOES_ON


def worse_slices(record: RunRecord) -> list[WorseSlice]:
    """Return the slices with enough trips in which the champion is better, the most certain loss first."""
    report, decision = record.report, record.decision
    if report is None or decision is None:
        return []
    rejecting = {reason.slice for reason in decision.reasons if reason.slice}
    found = []
    for part in report.slices:
        loss = part.difference.mae if part.difference else None
        if part.count < decision.policy.slices.min_rows or loss is None:
            continue
        if is_finite(loss.estimate) and loss.estimate > 0:
            found.append(
                WorseSlice(
                    part=part,
                    is_certain=is_finite(loss.low) and loss.low > 0,
                    rejects=part.name in rejecting,
                )
            )
    return sorted(found, key=lambda each: (not each.rejects, not each.is_certain, _loss(each)))


def _loss(found: WorseSlice) -> float:
    loss = found.part.difference.mae if found.part.difference else None
    if loss is None or loss.estimate is None:
        return 0.0
    return -loss.estimate / loss.error if loss.error else -loss.estimate


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["fixed"] = plots.shown
    environment.filters["clock"] = sentences.clock
    environment.filters["reading"] = reading
    environment.filters["minute"] = lambda moment: f"{moment:%Y-%m-%d %H:%M}"
    environment.filters["short"] = short_name
    environment.filters["length_of_time"] = length_of_time
    return environment


def reading(value: float | str | None, guard: str) -> str:
    """Return what a guard observed or allows, in the unit of the guard."""
    if value is None:
        return "no data"
    if isinstance(value, str):
        return value
    match guard:
        case "error_rate":
            return f"{100 * value:.2f} %"
        case "latency_p95":
            return f"{1000 * value:,.0f} ms"
        case "requests":
            return f"{value:,.0f}"
    return f"{value:.2g}"


def length_of_time(seconds: float) -> str:
    """Return a length of time in its largest whole unit, such as `15 min`."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def short_name(resource: str) -> str:
    """Return a resource's name without project and location, such as `models/7@3`."""
    return "/".join(resource.split("/")[-2:])
