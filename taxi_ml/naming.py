"""The names of everything that a run makes: job ids, tables, gs:// addresses."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from typing import TYPE_CHECKING, Final

from taxi_ml.splits import AVERAGES_PATTERN, split_pattern

if TYPE_CHECKING:
    from taxi_ml.settings import Settings
    from taxi_ml.splits import Split
    from taxi_ml.window import Window

SCHEMA_FILE: Final = "schema.pbtxt"
"""The reviewed schema, beside the modules once uploaded: its content is a part of their address."""

_MAX_DISPLAY_NAME: Final = 128
_MAX_LABEL: Final = 63
_DIGEST_LENGTH: Final = 10


def job_labels(dag_id: str, run_id: str, window: Window) -> dict[str, str]:
    """Return the labels of every job of a DAG run, within Google Cloud's rules for labels.

    `run` ends with a digest of DAG and run id, so that no two runs share it, whatever the rules took away.
    """
    return {
        "app": "taxi-vertex",
        "dag": _label(dag_id),
        "run": f"{_label(run_id)[: _MAX_LABEL - _DIGEST_LENGTH - 1].strip('-_')}-{_digest(dag_id, run_id)}",
        "window": _label(window.id),
    }


def display_name(task: str, run_id: str) -> str:
    """Return the display name of a task's job; a name that is too long is cut and ends with a digest."""
    name = f"{task}-{run_id}"
    if len(name) <= _MAX_DISPLAY_NAME:
        return name
    return f"{name[: _MAX_DISPLAY_NAME - _DIGEST_LENGTH - 1]}-{_digest(name)}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST_LENGTH]


def _label(text: str) -> str:
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower())[:_MAX_LABEL].strip("-_")


def dataset_table(settings: Settings, window: Window) -> str:
    """Return the table of a window's trips, `<project>.<dataset>.trips_<window>`, without backticks."""
    return f"{settings.project}.{settings.dataset}.trips_{window.id.replace('-', '_')}"


def data_uri(settings: Settings, window: Window) -> str:
    """Return the folder of a window's exported splits, gs://…/data/<window>."""
    return f"{settings.bucket}/data/{window.id}"


def split_uri(settings: Settings, window: Window, split: Split) -> str:
    """Return the pattern of one split's files, gs://…/data/<window>/<split>/trips_*.csv (or .parquet)."""
    return f"{data_uri(settings, window)}/{split_pattern(split, settings.examples_format)}"


def averages_uri(settings: Settings, window: Window) -> str:
    """Return the pattern of the files with a window's pair averages, gs://…/averages/pairs_*.csv."""
    return f"{data_uri(settings, window)}/{AVERAGES_PATTERN}"


def cache_period(day: date, days: int) -> str:
    """Return the first day, as in 2015-06-01, of the period of `days` that `day` is in.

    Vertex AI's cache does not expire and does not look at the bucket, whose rules delete outputs by age. What
    runs in one period never takes what another one left, so that nothing older than `days` is relied on.
    """
    return date.fromordinal(max(1, day.toordinal() // days * days)).isoformat()


def modules_uri(settings: Settings, digest: str) -> str:
    """Return the folder of the user modules with this content, gs://…/modules/<sha256>."""
    return f"{settings.bucket}/modules/{digest}"


def compile_uri(settings: Settings, modules_digest: str, request_digest: str) -> str:
    """Return the folder of the files compiled from these modules and this request.

    It holds request.json and pipeline.json, which do not depend on the month. The wheels are in
    `modules_uri`, so that the cache keys of a pipeline do not change with the request.
    """
    return f"{modules_uri(settings, modules_digest)}/compiled/{request_digest}"


def pipeline_root(settings: Settings) -> str:
    """Return the root under which pipeline jobs write their artifacts."""
    return f"{settings.bucket}/pipeline_root"


def serving_uri(settings: Settings, window: Window) -> str:
    """Return the folder that the Pusher writes a window's blessed models to."""
    return f"{settings.bucket}/serving/{window.id}"


def run_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return the folder of one run's own files, gs://…/runs/<job id>."""
    return f"{settings.bucket}/runs/{pipeline_job_id}"


def run_document_uri(settings: Settings, first_job_id: str) -> str:
    """Return where a DAG run's settings are pinned for all of its tasks."""
    return f"{run_uri(settings, first_job_id)}/run.json"


def baseline_uri(settings: Settings, first_job_id: str) -> str:
    """Return where a DAG run records what served before it began: the same for every try and every job."""
    return f"{run_uri(settings, first_job_id)}/baseline.json"


def parameters_uri(settings: Settings, first_job_id: str) -> str:
    """Return where a DAG run keeps the values of its pipeline's parameters."""
    return f"{run_uri(settings, first_job_id)}/parameters.json"


def replay_uri(settings: Settings, plan_id: str) -> str:
    """Return the folder of a replay's plan, predictions and results, gs://…/replays/<id>."""
    return f"{settings.bucket}/replays/{plan_id}"


def report_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return where the gate keeps the report that it read."""
    return f"{run_uri(settings, pipeline_job_id)}/report.json"


def decision_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return where the gate writes its decision, once."""
    return f"{run_uri(settings, pipeline_job_id)}/decision.json"


def golden_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return where the gate keeps the trips that the deployed model must answer as the evaluated one did."""
    return f"{run_uri(settings, pipeline_job_id)}/golden.json"


def golden_check_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return where the smoke test writes how the deployed model answered them."""
    return f"{run_uri(settings, pipeline_job_id)}/golden_check.json"


def card_uri(settings: Settings, pipeline_job_id: str) -> str:
    """Return where the gate writes the model card, once."""
    return f"{run_uri(settings, pipeline_job_id)}/card.html"


def rollout_uri(settings: Settings, first_job_id: str) -> str:
    """Return where a DAG run writes how its roll-out goes on."""
    return f"{run_uri(settings, first_job_id)}/rollout.json"
