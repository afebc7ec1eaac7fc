"""Run one container as a Vertex AI CustomJob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from taxi_airflow.hooks.calls import CALL_TIMEOUT
from taxi_airflow.jobs import view_custom
from taxi_airflow.labels import ATTACH_LABEL, ATTEMPT_LABEL, run_key, with_attempt
from taxi_airflow.operators.vertex_job import VertexJobOperator
from taxi_airflow.states import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from taxi_airflow.hooks.vertex import VertexHook
    from taxi_airflow.jobs import JobView


class VertexCustomJobOperator(VertexJobOperator):
    """Run a container once for this DAG run and task, or attach to the job that does, and wait for it.

    Vertex AI gives custom jobs random ids, so that the job is found again by a label that stands for DAG,
    run, task and map index. Returns ``{"job": name}``.

    :param display_name: name in the console
    :param image: URI of the container image
    :param command, args: what it runs; empty: the image's own
    :param env: environment variables
    :param machine_type: such as ``n1-standard-4``
    """

    kind = JobKind.CUSTOM
    template_fields: Sequence[str] = (
        *VertexJobOperator.template_fields,
        "display_name",
        "image",
        "command",
        "args",
        "env",
        "machine_type",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **VertexJobOperator.template_fields_renderers,
        "env": "json",
    }

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        display_name: str,
        image: str,
        command: Sequence[str] = (),
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        machine_type: str = "n1-standard-4",
        **kwargs: Any,  # noqa: ANN401  # VertexJobOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.display_name = display_name
        self.image = image
        self.command = command
        self.args = args
        self.env = env or {}
        self.machine_type = machine_type

    def find_attempts(self, hook: VertexHook, context: Context) -> list[JobView]:
        """Return the jobs that carry this task's label, the first attempt first."""
        jobs = hook.jobs.list_custom_jobs(
            request={
                "parent": hook.location,
                "filter": f'labels.{ATTACH_LABEL}="{self._key(context)}"',
            },
            timeout=CALL_TIMEOUT,
        )
        ordered = sorted(jobs, key=lambda job: int(job.labels.get(ATTEMPT_LABEL, "0")))
        return [view_custom(job) for job in ordered]

    def create(self, hook: VertexHook, context: Context, *, attempt: int) -> JobView:
        """Create the attempt's job."""
        job = {
            "display_name": self.display_name,
            "labels": {**with_attempt(self.labels, attempt=attempt), ATTACH_LABEL: self._key(context)},
            "job_spec": self._job_spec(),
        }
        created = hook.jobs.create_custom_job(
            {"parent": hook.location, "custom_job": job}, timeout=CALL_TIMEOUT
        )
        return view_custom(created)

    def _job_spec(self) -> dict[str, Any]:
        container = {
            "image_uri": self.image,
            "command": list(self.command),
            "args": list(self.args),
            "env": [{"name": name, "value": value} for name, value in self.env.items()],
        }
        return {
            "worker_pool_specs": [
                {
                    "machine_spec": {"machine_type": self.machine_type},
                    "replica_count": 1,
                    "container_spec": container,
                }
            ],
            "service_account": self.service_account,
        }

    def _key(self, context: Context) -> str:
        task = context["ti"]
        return run_key(self.dag_id, str(context["dag_run"].run_id), self.task_id, str(task.map_index))
