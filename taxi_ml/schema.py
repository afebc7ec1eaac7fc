"""The reviewed schema in a shell: write one for other trips, or hold trips against it.

`python -m taxi_ml.schema --data gs://…/data/<window> --out schema.pbtxt` describes the trips of an export for
a person to review; with `--against schema.pbtxt` it prints what the trips have against that schema. It runs
in the pipeline environment.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from taxi_ml.evaluation import schemas
from taxi_ml.modules.features import AREAS, INPUTS, LABEL
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HEADER: Final = """\
# Written by `python -m taxi_ml.schema` from the trips in {data}.
# Review every line: it describes what was seen, with room above the floats (twice the largest) and for absent
# numbers. Types, ranges and shares are yours to set.
"""
_ROOM_ABOVE: Final = 2.0
_ROOM_FOR_ABSENCE: Final = 0.1
_STEPS: Final = 20
"""Shares are rounded up to a twentieth."""


class NoTripsError(ValueError):
    """A folder holds no rows of a split."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; return 0, 1 where trips have something against the schema, 2 for wrong input."""
    options = _options(arguments)
    try:
        if options.against:
            return _compare(options.data, options.against)
        text = describe(options.data)
    except (schemas.SchemaError, NoTripsError, FileNotFoundError) as error:
        print(f"no schema of {options.data}: {error}", file=sys.stderr)  # noqa: T201  # a command's answer
        return 2
    Storage().write(options.out, text.encode())
    print(f"{options.out}: review it, then put it in the place of taxi_ml/schema.pbtxt")  # noqa: T201  # as above
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m taxi_ml.schema", description=__doc__)
    parser.add_argument("--data", required=True, help="folder of an export, with train/, eval/ and test/")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", help="where to write the schema")
    what.add_argument("--against", type=Path, help="schema to compare the trips with")
    return parser.parse_args(arguments)


def _compare(data: str, path: Path) -> int:
    reviewed = schemas.parse(path.read_bytes(), required=(*INPUTS, LABEL))
    found = list(objections(data, reviewed))
    print("\n".join(found) or f"{data} has nothing against {path}")  # noqa: T201  # as above
    return 1 if found else 0


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
    """Give a number's feature its range and how often it may be absent."""
    if not found.HasField("num_stats"):
        return
    if schemas.is_float(found):
        feature.float_domain.min = found.num_stats.min
        feature.float_domain.max = max(0.0, _ROOM_ABOVE * found.num_stats.max)
    else:
        feature.int_domain.min = int(found.num_stats.min)
    share = schemas.absent_share(found)
    if share and (schemas.is_float(found) or feature.name in AREAS):
        most = min(1.0, math.ceil((share + _ROOM_FOR_ABSENCE) * _STEPS) / _STEPS)
        feature.annotation.tag.append(f"{schemas.MOST_ABSENT}{most:g}")


def objections(data: str, reviewed: Any) -> Iterator[str]:  # noqa: ANN401  # as above
    """Yield what an export's trips have against a schema, one line each, as a run's report would.

    Raises:
        NoTripsError: for a split without rows.

    """
    from tensorflow_data_validation import infer_schema, validate_statistics  # noqa: PLC0415  # seconds to import

    for split in Split:
        statistics = _statistics(data, split)
        if split is Split.TRAIN:
            inferred = infer_schema(statistics, infer_feature_shape=True)
            yield from map(str, schemas.differences(reviewed, inferred))
        for feature, info in sorted(validate_statistics(statistics, reviewed).anomaly_info.items()):
            yield from (f"{split} {feature}: {reason.description}" for reason in info.reason)
        for absence in schemas.absences(split, reviewed, statistics.SerializeToString()):
            yield f"{split} {absence.feature}: {absence.description}"


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
    options = StatsOptions(num_quantiles_histogram_buckets=schemas.QUANTILES)
    return generate_statistics_from_dataframe(rows.to_pandas(), options)


if __name__ == "__main__":
    sys.exit(main())
