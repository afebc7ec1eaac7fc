"""The command line of the reviewed schema, which runs in the pipeline environment.

`python -m taxi_ml.schema --complete taxi_ml/schema.pbtxt` adds the dataset's columns that a schema lacks.
`--data gs://…/data/<window> --out schema.pbtxt` describes the trips of an export for review;
`--data … --against schema.pbtxt` prints how the trips of an export deviate from a schema.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taxi_ml.evaluation import checks, quantiles, schemas, tags
from taxi_ml.modules.features import AREAS, CALENDAR, INPUTS, LABEL, MISSING, NULLABLE_FLOATS, TIMESTAMP
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql.columns import COLUMNS, ColumnType
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from taxi_ml.sql.columns import Column

_HEADER: Final = """\
# Written by `python -m taxi_ml.schema` from the trips in {data}.
# Review every line: it describes what was seen, with room above the floats (twice the largest), around
# medians (four times) and above shares (ten points). Types, ranges, shares and distances are yours to set.
"""
_ROOM_ABOVE: Final = 2.0
_ROOM_AROUND: Final = 4.0
"""A median may be a fourth of what it was, or four times that; a wrong unit is further off."""
_ROOM_FOR_SHARES: Final = 0.1
_DISTANCE: Final = 0.2
"""The largest distance of the test trips from the training trips."""
_HOUR: Final = "TripStartHour"
_OF_THE_WINDOW: Final = frozenset({*CALENDAR, TIMESTAMP}) - {_HOUR}
"""Columns whose values are those of the months, and may all be the same in another window."""
_STEPS: Final = 20
"""Shares are rounded up to a twentieth."""


class NoTripsError(ValueError):
    """A folder holds no rows of a split."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write, complete or compare; return 0, 1 if trips deviate from the schema, or 2 for invalid input."""
    options = _options(arguments)
    try:
        if options.complete:
            return _complete(options.complete)
        if options.against:
            reviewed = schemas.parse(options.against.read_bytes(), required=(*INPUTS, LABEL))
            found = list(objections(options.data, reviewed))
            print("\n".join(found) or f"{options.data} conforms to {options.against}")  # noqa: T201  # a command's answer
            return 1 if found else 0
        text = describe(options.data)
    except (tags.SchemaError, NoTripsError, FileNotFoundError) as error:
        print(f"cannot read {options.complete or options.data}: {error}", file=sys.stderr)  # noqa: T201  # as above
        return 2
    Storage().write(options.out, text.encode())
    print(f"{options.out}: review it, then replace taxi_ml/schema.pbtxt with it")  # noqa: T201  # as above
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m taxi_ml.schema", description=__doc__)
    parser.add_argument("--data", help="folder of an export, with train/, eval/ and test/")
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--complete", type=Path, help="schema to add the dataset's missing columns to")
    task.add_argument("--out", help="where to write a schema of the data")
    task.add_argument("--against", type=Path, help="schema to compare the data with")
    options = parser.parse_args(arguments)
    if not (options.complete or options.data):
        parser.error("--out and --against need --data")
    return options


def _complete(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    known = {feature.name for feature in schemas.parse(text).feature}
    missing = [column for column in COLUMNS if column.name not in known]
    path.write_text(text + "".join(map(_block, missing)), encoding="utf-8")
    names = ", ".join(column.name for column in missing)
    print(f"{path}: added {names}; review each range and share" if names else f"{path} is complete")  # noqa: T201  # as above
    return 0


def _block(column: Column) -> str:
    """Return a column's part of a schema, with its bounds, and unknown in any share of the rows."""
    domain, kind, unknown = (
        ("int_domain", "INT", 0) if column.type is ColumnType.INTEGER else ("float_domain", "FLOAT", MISSING)
    )
    bounds = f"min: {unknown}"
    if isinstance(column.values, tuple):
        bounds += f" max: {type(unknown)(column.values[1])}"
    share = [f'  annotation {{ tag: "{tags.MOST_ABSENT}:1" }}'] if column.name in NULLABLE_FLOATS else []
    lines = [
        "feature {",
        f'  name: "{column.name}"',
        f"  type: {kind}",
        "  presence { min_fraction: 1.0 min_count: 1 }",
        "  shape { dim { size: 1 } }",
        f"  {domain} {{ {bounds} }}",
        *share,
        "}\n",
    ]
    return "\n".join(lines)


def describe(data: str) -> str:
    """Return a schema of an export's training trips, in protobuf's text format.

    Raises:
        NoTripsError: where there are none.

    """
    from google.protobuf import text_format  # noqa: PLC0415  # with TFDV
    from tensorflow_data_validation import infer_schema  # noqa: PLC0415  # seconds to import

    statistics = _statistics(data, Split.TRAIN)
    schema = infer_schema(statistics, infer_feature_shape=True)
    found = {each.path.step[0]: each for each in statistics.datasets[0].features}
    for feature in schema.feature:
        _widen(feature, found[feature.name])
    text: str = text_format.MessageToString(schema)
    return _HEADER.format(data=data) + text


def _widen(feature: Any, found: Any) -> None:  # noqa: ANN401  # protobuf messages have no types
    """Give a number's feature its range, and the bounds of what its values may be in other months."""
    if not found.HasField("num_stats"):
        return
    if quantiles.is_float(found):
        feature.float_domain.min = found.num_stats.min
        feature.float_domain.max = max(0.0, _ROOM_ABOVE * found.num_stats.max)
    else:
        feature.int_domain.min = int(found.num_stats.min)
    share = quantiles.absent_share(found)
    has_unknown = bool(share) and (quantiles.is_float(found) or feature.name in AREAS)
    if has_unknown:
        feature.annotation.tag.append(f"{tags.MOST_ABSENT}:{_roomy(share):g}")
    values = quantiles.numbers(found, zero_is_unknown=has_unknown)
    if values is None or values.count < checks.FEWEST_VALUES or feature.name in _OF_THE_WINDOW:
        return
    feature.annotation.tag.append(f"{tags.MOST_COMMON}:{_roomy(max(values.common.values(), default=0.0)):g}")
    if quantiles.is_float(found):
        low, high = values.median / _ROOM_AROUND, values.median * _ROOM_AROUND
        feature.annotation.tag.append(f"{tags.MEDIAN}:{low:.3g}..{high:.3g}")
        feature.skew_comparator.jensen_shannon_divergence.threshold = _DISTANCE
    elif feature.name in (*AREAS, _HOUR):
        feature.skew_comparator.infinity_norm.threshold = _DISTANCE


def _roomy(share: float) -> float:
    return min(1.0, math.ceil((share + _ROOM_FOR_SHARES) * _STEPS) / _STEPS)


def objections(data: str, reviewed: Any) -> Iterator[str]:  # noqa: ANN401  # as above
    """Yield the deviations of an export's trips from a schema, one line each, as a run's report would.

    Raises:
        NoTripsError: for a split without rows.

    """
    from tensorflow_data_validation import infer_schema, validate_statistics  # noqa: PLC0415  # seconds to import

    statistics = {split: _statistics(data, split) for split in Split}
    inferred = infer_schema(statistics[Split.TRAIN], infer_feature_shape=True)
    yield from map(str, schemas.differences(reviewed, inferred))
    found = checks.anomalies(
        reviewed,
        {split: each.SerializeToString() for split, each in statistics.items()},
        {split: validate_statistics(each, reviewed) for split, each in statistics.items()},
    )
    yield from (f"{each.split} {each.feature} {each.kind}: {each.description}" for each in found)


def _statistics(data: str, split: Split) -> Any:  # noqa: ANN401  # as above
    import pyarrow as pa  # noqa: PLC0415  # with TFDV
    from pyarrow import csv, parquet  # noqa: PLC0415  # as above
    from tensorflow_data_validation import (  # noqa: PLC0415  # seconds to import
        StatsOptions,
        generate_statistics_from_dataframe,
    )

    storage, readers = (
        Storage(),
        {ExamplesFormat.CSV: csv.read_csv, ExamplesFormat.PARQUET: parquet.read_table},
    )
    folder = f"{data.rstrip('/')}/{split}"
    tables = [
        readers[ExamplesFormat(name.rpartition(".")[2])](io.BytesIO(storage.read(f"{folder}/{name}")))
        for name in storage.files(folder)
        if name.rpartition(".")[2] in set(ExamplesFormat)
    ]
    rows = pa.concat_tables(tables) if tables else None
    if not rows:
        raise NoTripsError(f"{folder} holds no trips in files that end in {' or '.join(ExamplesFormat)}")
    options = StatsOptions(num_quantiles_histogram_buckets=quantiles.QUANTILES)
    return generate_statistics_from_dataframe(rows.to_pandas(), options)


if __name__ == "__main__":
    sys.exit(main())
