"""Run one container as a Vertex AI CustomJob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.jobs import JobKind, view_custom
from vertex_airflow.labels import ATTACH_LABEL, ATTEMPT_LABEL, run_key, with_attempt
from vertex_airflow.operators.connected import is_empty
from vertex_airflow.operators.job import VertexJobOperator
from vertex_airflow.operators.waiting import LIST_LAG
from vertex_airflow.polling import ErrorKind, classify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.jobs import JobView


class VertexCustomJobOperator(VertexJobOperator):
    """Run a container once for this DAG run and task, or attach to the job that does, and wait for it.

    Vertex AI gives custom jobs random ids, so the job is found again by a label that stands for DAG, run,
    task and map index. Returns ``{"job": name}``.

    :param display_name: name in the console
    :param image: URI of the container image
    :param command, args: command and arguments of the container; empty: the image's own
    :param env: environment variables
    :param machine_type: such as ``n1-standard-4``
    :param produces: ``gs://…`` object that the job writes, whose address stands for all that it depends on:
        if it exists, the task succeeds without a job and returns ``{"job": ""}``. Empty: always run
    :param list_lag: seconds that a list may take to show a new job. If an earlier try, or a create call whose
        reply was lost, may have created one, the list is read for so long before another is created
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
        "produces",
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
        produces: str = "",
        list_lag: float = LIST_LAG,
        **kwargs: Any,  # noqa: ANN401  # VertexJobOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.display_name = display_name
        self.image = image
        self.command = command
        self.args = args
        self.env = env or {}
        self.machine_type = machine_type
        self.produces = produces
        self.list_lag = list_lag

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the job, unless the object that it produces exists."""
        if not is_empty(self.produces) and self.store().exists(self.produces):
            self.log.info("%s exists: no job is needed", self.produces)
            return {"job": ""}
        return super().execute(context)

    def find_attempts(self, hook: VertexHook, context: Context) -> list[JobView]:
        """Return the jobs that carry this task's label as they are now, the first attempt first."""
        jobs = hook.jobs.list_custom_jobs(
            request={
                "parent": hook.location,
                "filter": f'labels.{ATTACH_LABEL}="{self._key(context)}"',
            },
            timeout=CALL_TIMEOUT,
        )
        ordered = sorted(jobs, key=lambda job: int(job.labels.get(ATTEMPT_LABEL, "0")))
        return [job for each in ordered if (job := self._as_it_is(hook, each.name)) is not None]

    def _as_it_is(self, hook: VertexHook, name: str) -> JobView | None:
        """Return a job that a list showed, perhaps in an older state; None if it is deleted."""
        try:
            return hook.get_job(self.kind, name)
        except Exception as error:
            if classify(error) is ErrorKind.MISSING:
                return None
            raise

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
