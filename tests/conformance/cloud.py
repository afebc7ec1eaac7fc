"""A target with clients, waits and a memory of what was made there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from google.api_core import exceptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.conformance.target import Client, Target

T = TypeVar("T")

PIPELINE_ENDS = frozenset(f"PIPELINE_STATE_{end}" for end in ("SUCCEEDED", "FAILED", "CANCELLED", "PAUSED"))
JOB_ENDS = frozenset(f"JOB_STATE_{end}" for end in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED"))


class TooLateError(Exception):
    """Something has not happened within the target's patience."""


@dataclass(kw_only=True)
class Cloud:
    """The service under test. ``made`` are the names of the resources that it created, the newest last."""

    target: Target
    made: list[str] = field(default_factory=list)

    @cached_property
    def pipelines(self) -> Client:
        """The client of PipelineService."""
        return self.target.client("PipelineService")

    @cached_property
    def jobs(self) -> Client:
        """The client of JobService."""
        return self.target.client("JobService")

    @cached_property
    def models(self) -> Client:
        """The client of ModelService."""
        return self.target.client("ModelService")

    @cached_property
    def endpoints(self) -> Client:
        """The client of EndpointService."""
        return self.target.client("EndpointService")

    @cached_property
    def predictions(self) -> Client:
        """The client of PredictionService."""
        return self.target.client("PredictionService")

    @cached_property
    def metadata(self) -> Client:
        """The client of MetadataService."""
        return self.target.client("MetadataService")

    def until(self, look: Callable[[], T], satisfied: Callable[[T], bool]) -> T:
        """Return the result of `look` once it satisfies a condition; raises TooLateError."""
        deadline = time.monotonic() + self.target.patience
        while not satisfied(seen := look()):
            if time.monotonic() > deadline:
                raise TooLateError(f"still {seen!r:.300} after {self.target.patience:.0f} s")
            time.sleep(self.target.pause)
        return seen

    def result(self, operation: Client) -> Client:
        """Return the response of a long-running operation."""
        return operation.result(timeout=self.target.patience)

    def submit(self, name: str, spec: dict[str, object], **values: str) -> str:
        """Create a pipeline job; return its resource name."""
        job = {
            "display_name": f"conformance-{name}",
            "labels": self.target.labels,
            "pipeline_spec": spec,
            "service_account": self.target.service_account,
            "runtime_config": {
                "gcs_output_directory": f"{self.target.root}/pipelines",
                ("parameters" if spec["schemaVersion"] == "2.0.0" else "parameter_values"): {
                    key: {"string_value": value} if spec["schemaVersion"] == "2.0.0" else value
                    for key, value in values.items()
                },
            },
        }
        created = self.pipelines.create_pipeline_job(
            parent=self.target.parent,
            pipeline_job=job,
            pipeline_job_id=f"conformance-{self.target.run}-{name}",
        )
        self.made.append(created.name)
        return str(created.name)

    def listed(self, method: Callable[..., Iterable[Client]], condition: str) -> list[Client]:
        """Return this run's resources that a list method shows and that satisfy a condition."""
        wanted = f'labels.run="{self.target.run}" AND {condition}'
        return list(method({"parent": self.target.parent, "filter": wanted}))

    def begun(self, look: Callable[..., Client], name: str) -> None:
        """Return once a job runs, or has ended already, which a test that needs it running will notice."""
        waiting = ("UNSPECIFIED", "QUEUED", "PENDING")
        self.until(lambda: look(name=name), lambda job: not job.state.name.endswith(waiting))

    def ended_pipeline(self, name: str) -> Client:
        """Return a pipeline job at its end."""
        look = self.pipelines.get_pipeline_job
        return self.until(lambda: look(name=name), lambda job: job.state.name in PIPELINE_ENDS)

    def ended_job(self, name: str) -> Client:
        """Return a custom job at its end."""
        look = self.jobs.get_custom_job
        return self.until(lambda: look(name=name), lambda job: job.state.name in JOB_ENDS)


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """Return the code and the message with which a call is refused; OK and the reply if it is not."""
    try:
        answer = call()
    except exceptions.GoogleAPICallError as error:
        return _code(error), error.message or ""
    return "OK", f"{answer!r:.300}"


def _code(error: exceptions.GoogleAPICallError) -> str:
    """Return the canonical code, which REST hides behind the HTTP status."""
    if error.grpc_status_code is not None:
        return str(error.grpc_status_code.name)
    answer = error.response.json() if error.response is not None else {}
    return str(answer.get("error", {}).get("status", error.code))
