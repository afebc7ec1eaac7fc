"""The project of an installation, its resources on Google Cloud, and when runs start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from taxi_ml import cron
from taxi_ml.rules import Rule, between, matches

PROJECT: Final = r"(?:[a-z][a-z0-9.-]*:)?[a-z][-a-z0-9]{4,28}[a-z0-9]"
MONTHLY: Final = "0 0 1 * *"
BY_HAND: Final = "none"
"""The schedule of an installation where runs are only triggered manually."""

_DISPLAY_NAME: Final = matches(
    r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "use up to 63 lower-case letters, digits and hyphens"
)
_SCHEDULE: Final = Rule(
    lambda text: text == BY_HAND or cron.is_runnable(text),
    "give five cron fields in UTC such as 0 0 1 * *, or none for runs by hand only",
)


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """Project, bucket, image, region and account; the names of model and endpoint; the schedule."""

    __slots__ = ()

    project: Annotated[str, matches(PROJECT, "give the id of a Google Cloud project, such as my-project")]
    bucket: Annotated[
        str,
        matches(
            r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/[A-Za-z0-9._=-]+)*",
            "write gs://<bucket> or gs://<bucket>/<folder>, without a slash at the end",
        ),
    ]
    pipeline_image: Annotated[
        str,
        matches(
            r"[a-z0-9][a-z0-9._/-]*(:[0-9]+/[a-z0-9._/-]+)?(:[\w.-]{1,128})?(@sha256:[0-9a-f]{64})?",
            "give a container image with registry and tag: <registry>/<project>/taxi/pipeline:1.0",
        ),
    ]
    region: Annotated[str, matches(r"[a-z]+(-[a-z0-9]+)+", "name a region such as us-central1")] = (
        "us-central1"
    )
    service_account: Annotated[
        str,
        matches(r"|[^@\s]+@[^@\s]+\.[^@\s]+", "give the account's e-mail address, or leave it empty"),
    ] = ""
    model_name: Annotated[str, _DISPLAY_NAME] = "chicago-taxi-fare"
    endpoint_name: Annotated[str, _DISPLAY_NAME] = "chicago-taxi-fare"
    schedule: Annotated[str, _SCHEDULE] = MONTHLY
    parallel_runs: Annotated[int, between(1, 100, "runs of taxi_training at once")] = 1
    """With more than 1, the months of a replay train at once. Of two runs that promote at once, the second is
    refused, because what it was compared with no longer serves."""
