"""Alignment and reduction of time series (pure).

https://cloud.google.com/monitoring/api/v3/aggregation, and the comments of google.monitoring.v3.Aggregation
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.monitoring.distribution import Distribution
from local_vertex.monitoring.filters import selector
from local_vertex.monitoring.series import Kind, Point, Series, ValueType, total

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from local_vertex.monitoring.series import Labels, Value

_PERCENTILE: Final = re.compile(r"(?:ALIGN|REDUCE)_PERCENTILE_(\d\d)")
_NONE: Final = frozenset({"ALIGN_NONE", "REDUCE_NONE"})
_FOR_NUMBERS: Final = frozenset(
    {
        "ALIGN_RATE",
        "ALIGN_MIN",
        "ALIGN_MAX",
        "ALIGN_MEAN",
        "ALIGN_COUNT",
        "ALIGN_STDDEV",
        "ALIGN_PERCENT_CHANGE",
    }
)
_FOR_DISTRIBUTIONS: Final = frozenset(f"ALIGN_PERCENTILE_{each}" for each in ("99", "95", "50", "05"))
_FOR_BOTH: Final = frozenset({"ALIGN_DELTA", "ALIGN_SUM"})
_SUPPORTED: Final = _FOR_BOTH | _FOR_DISTRIBUTIONS | {"ALIGN_RATE"}
_REDUCED_NUMBERS: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "REDUCE_MIN": min,
    "REDUCE_MAX": max,
    "REDUCE_MEAN": lambda values: sum(values) / len(values),
}
_OF_BOOLEANS: Final = frozenset({"REDUCE_COUNT_TRUE", "REDUCE_COUNT_FALSE", "REDUCE_FRACTION_TRUE"})
_LONGEST_PERIOD: Final = 104 * 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregation:
    """How series are aligned to periods of so many seconds, and how those with equal fields become one."""

    aligner: str
    period: float
    reducer: str
    group_by: tuple[str, ...]

    @property
    def aligns(self) -> bool:
        """False if the series stay as they are."""
        return self.aligner not in _NONE

    def check(self, value_type: ValueType, *, shortest: float) -> None:
        """Raise InvalidArgument for what the real service refuses, Unimplemented for what only it does.

        :param shortest: the shortest alignment period, in seconds
        """
        if not self.aligns:
            if self.reducer not in _NONE:
                raise InvalidArgument.of(
                    "aggregation.crossSeriesReducer", f"{self.reducer} needs a perSeriesAligner"
                )
            return
        if not shortest <= self.period <= _LONGEST_PERIOD:
            raise InvalidArgument.of(
                "aggregation.alignmentPeriod",
                f"{self.period:g} s is not between {shortest:g} s and 104 weeks",
            )
        allowed = _FOR_DISTRIBUTIONS if value_type is ValueType.DISTRIBUTION else _FOR_NUMBERS
        if self.aligner not in allowed | _FOR_BOTH:
            # In the service's own words.
            raise InvalidArgument(
                f'Field aggregation.perSeriesAligner had an invalid value of "{self.aligner}": The aligner '
                f"cannot be applied to metrics with kind DELTA and value type {value_type}."
            )
        if self.aligner not in _SUPPORTED:
            raise Unimplemented(f"the local Cloud Monitoring does not align with {self.aligner}")
        self._check_reducer(_aligned_type(self.aligner, value_type))
        for field in self.group_by:
            if selector(field) is None:
                raise InvalidArgument.of(
                    "aggregation.groupByFields",
                    f"'{field}' is improperly formatted; write metric.labels.NAME or resource.labels.NAME",
                )

    def _check_reducer(self, value_type: ValueType) -> None:
        if self.reducer in _OF_BOOLEANS:
            raise InvalidArgument(
                f'Field aggregation.crossSeriesReducer had an invalid value of "{self.reducer}": The reducer '
                f"cannot be applied to value type {value_type}."
            )
        numbers = value_type is not ValueType.DISTRIBUTION
        supported = _REDUCED_NUMBERS if numbers else ()
        percentile = not numbers and _PERCENTILE.fullmatch(self.reducer)
        if self.reducer not in {*_NONE, "REDUCE_SUM", *supported} and not percentile:
            raise Unimplemented(
                f"the local Cloud Monitoring does not reduce series of {value_type} with {self.reducer}"
            )


def _aligned_type(aligner: str, value_type: ValueType) -> ValueType:
    return value_type if aligner in _FOR_BOTH else ValueType.DOUBLE


def align(series: Series, how: Aggregation, *, start: float, end: float) -> Series:
    """Return a series with one point for each period that ends in (start, end] and has data.

    Periods are counted back from `end`; the first one may begin before `start`.
    """
    windows: defaultdict[int, list[Value]] = defaultdict(list)
    for point in series.points:
        if point.end <= end:
            windows[int((end - point.end) // how.period)].append(point.value)
    is_gauge = how.aligner not in _FOR_BOTH
    points = []
    for back, values in sorted(windows.items(), reverse=True):
        until = end - back * how.period
        if until > start:
            since = until if is_gauge else until - how.period
            points.append(Point(start=since, end=until, value=_aligned(how, values)))
    return replace(
        series,
        kind=Kind.GAUGE if is_gauge else Kind.DELTA,
        value_type=_aligned_type(how.aligner, series.value_type),
        points=points,
    )


def _aligned(how: Aggregation, values: Iterable[Value]) -> Value:
    whole = total(values)
    if isinstance(whole, Distribution):
        percentile = _PERCENTILE.fullmatch(how.aligner)
        return whole.percentile(int(percentile[1])) if percentile else whole
    return whole / how.period if how.aligner == "ALIGN_RATE" else whole


def reduce_all(aligned: Sequence[Series], how: Aggregation) -> list[Series]:
    """Return one series for each combination of values of the fields by which the series are grouped.

    It has these labels, and the project's, which the real service keeps as well.
    """
    if how.reducer in _NONE:
        return list(aligned)
    kept = {selector(field) for field in how.group_by} | {"resource.labels.project_id"}
    groups: defaultdict[tuple[Labels, Labels], list[Series]] = defaultdict(list)
    for each in aligned:
        resource = tuple(pair for pair in each.resource if f"resource.labels.{pair[0]}" in kept)
        metric = tuple(pair for pair in each.metric if f"metric.labels.{pair[0]}" in kept)
        groups[resource, metric].append(each)
    return [_reduced(group, how, *identity) for identity, group in sorted(groups.items())]


def _reduced(group: Sequence[Series], how: Aggregation, resource: Labels, metric: Labels) -> Series:
    by_interval: defaultdict[tuple[float, float], list[Value]] = defaultdict(list)
    for each in group:
        for point in each.points:
            by_interval[point.end, point.start].append(point.value)
    kind, value_type = group[0].kind, group[0].value_type
    percentile = _PERCENTILE.fullmatch(how.reducer)
    if percentile or how.reducer == "REDUCE_MEAN":
        kind, value_type = Kind.GAUGE, ValueType.DOUBLE
    points = []
    for (end, start), values in sorted(by_interval.items()):
        since = end if kind is Kind.GAUGE else start
        points.append(Point(start=since, end=end, value=_reduced_value(how, values, percentile)))
    return Series(resource=resource, metric=metric, kind=kind, value_type=value_type, points=points)


def _reduced_value(how: Aggregation, values: Sequence[Value], percentile: re.Match[str] | None) -> Value:
    if how.reducer in _REDUCED_NUMBERS:
        return _REDUCED_NUMBERS[how.reducer]([each for each in values if not isinstance(each, Distribution)])
    whole = total(values)
    return whole.percentile(int(percentile[1])) if percentile and isinstance(whole, Distribution) else whole
