"""The settings of a run, checked before anything is submitted."""

from taxi_ml.settings.project import BY_HAND, MONTHLY
from taxi_ml.settings.reading import PREFIX
from taxi_ml.settings.settings import Settings, parallel_runs, schedule, wait_days
from taxi_ml.settings.training import PipelineSchema, Serve
from taxi_ml.settings.trips import WAIT_DAYS, Check
from taxi_ml.settings.window import AUTO_MONTHS

__all__ = [
    "AUTO_MONTHS",
    "BY_HAND",
    "MONTHLY",
    "PREFIX",
    "WAIT_DAYS",
    "Check",
    "PipelineSchema",
    "Serve",
    "Settings",
    "parallel_runs",
    "schedule",
    "wait_days",
]
