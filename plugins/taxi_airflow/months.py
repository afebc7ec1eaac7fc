"""The number of test months of a run, by the trips of its table and the model in production."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from taxi_airflow.champions import champion_of
from taxi_ml import months, sql
from taxi_ml.gate.policy import load as load_policy
from vertex_airflow.baseline import Baseline

if TYPE_CHECKING:
    from taxi_airflow.checks import Subject
    from taxi_ml.months import Choice, Usable


def choose(subject: Subject) -> Choice:
    """Count the trips of the table and choose; whatever a service or its client raises goes to the caller."""
    settings, policy = subject.settings, load_policy()
    serving = champion_of(Baseline.live(subject.vertex, settings.endpoint_name))
    learned = policy.min_rows.train * 100 / (100 - settings.eval_percent)
    return months.choose(
        subject.window,
        _count(subject),
        wanted=months.rows_wanted(policy),
        least_train=math.ceil(learned),
        learned_until=serving.training.until if serving.training else None,
    )


def _count(subject: Subject) -> Usable:
    from google.cloud.bigquery import QueryJobConfig  # noqa: PLC0415  # not at parse time

    statement = sql.count_months(subject.settings, months.longest(subject.window))
    configuration = statement.job_configuration(subject.settings, {"app": "taxi-vertex"})
    job = subject.bigquery.query(statement.sql, job_config=QueryJobConfig.from_api_repr(configuration))
    rows = list(job.result())
    return months.Usable(
        by_month={row["month"]: row["trips"] for row in rows},
        newest=max((row["newest"] for row in rows), default=None),
        tolerated=subject.settings.max_days_without_trips_at_end,
    )
