"""The dataset by windows over single trips, which the product's statement must agree with."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from taxi_ml import naming, sql

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from taxi_ml.window import Window

_FILE = Path(__file__).with_name("reference_dataset.sql")


def reference_dataset(settings: Settings, window: Window) -> sql.Statement:
    """Return a statement that writes what `sql.build_dataset` does, from the same trips and frames."""
    table = naming.dataset_table(settings, window)
    product = sql.build_dataset(settings, window)
    opening = f"CREATE OR REPLACE TABLE `{table}` AS\nWITH\ntrips AS (\n"
    trips = product.sql.partition(opening)[2].partition("\n),\n")[0]
    history, week = re.findall(r"BETWEEN (\d+) PRECEDING", product.sql)
    text = Template(_FILE.read_text(encoding="utf-8")).substitute(
        table=table, trips=trips, history_micros=history, week_micros=week
    )
    return dataclasses.replace(product, sql=text)
