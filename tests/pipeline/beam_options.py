"""Print Beam's options for some arguments, and its validator's errors; for the pipeline environment.

`python -m tests.pipeline.beam_options ARGUMENT…` prints a JSON object.
"""

from __future__ import annotations

import json
import sys

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.runners.runner import create_runner

_KNOWN = PipelineOptions().get_all_options().keys()


def main() -> None:
    """Parse, validate and print."""
    # Without --dry_run the validator looks the buckets up at Google.
    options = PipelineOptions([*sys.argv[1:], "--dry_run=true"])
    runner = create_runner(options.view_as(StandardOptions).runner)
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    found = {
        "runner": type(runner).__name__,
        "errors": PipelineOptionsValidator(options, runner).validate(),
        "unknown": sorted(options.get_all_options(retain_unknown_options=True).keys() - _KNOWN),
        "project": cloud.project,
        "region": cloud.region,
        "temp_location": cloud.temp_location,
        "staging_location": cloud.staging_location,
        "service_account_email": cloud.service_account_email,
        "labels": cloud.labels,
        "sdk_container_image": workers.sdk_container_image,
        "max_num_workers": workers.max_num_workers,
        "service_options": cloud.dataflow_service_options,
        "experiments": options.view_as(DebugOptions).experiments,
    }
    print(json.dumps(found))  # noqa: T201  # its answer


if __name__ == "__main__":
    main()
