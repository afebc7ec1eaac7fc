"""Run a compiled pipeline as a Vertex AI PipelineJob."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowFailException

from vertex_airflow.hooks.calls import CALL_TIMEOUT
from vertex_airflow.jobs import JobKind, strings_of, view_pipeline
from vertex_airflow.labels import MAX_JOB_ID, job_id, with_attempt
from vertex_airflow.operators.connected import is_empty
from vertex_airflow.operators.job import VertexJobOperator
from vertex_airflow.polling import ErrorKind, classify
from vertex_airflow.specs import job_message, load_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from vertex_airflow.hooks.vertex import VertexHook
    from vertex_airflow.jobs import JobView


class VertexPipelineJobOperator(VertexJobOperator):
    """Submit the pipeline at ``spec_uri``, or attach to this DAG run's job, and wait for it.

    Returns ``{"job": name, "artifacts": {"<component>.<output>": uri}, "properties": {…}}``.

    :param spec_uri: ``gs://…/pipeline.json``: a PipelineSpec, or a PipelineJob that holds one
    :param job_id: id of the first attempt, ``[a-z][-a-z0-9]{0,126}``; empty: derived from DAG id and run id.
        Give one where a DAG runs more than one pipeline.
    :param display_name: name in the console; empty: the pipeline's
    :param pipeline_root: ``gs://…`` folder of the artifacts; empty: the spec's
    :param parameter_values: values of the pipeline's parameters
    :param parameters_uri: ``gs://…`` JSON object of more values; empty: there are none
    :param enable_caching: overrides the spec for every component; None: as compiled
    :param required_outputs: outputs, as ``component.output``, without which the task fails
    :param properties: strings in the metadata of outputs to return if they are there, as
        ``component.output.property``
    """

    kind = JobKind.PIPELINE
    template_fields: Sequence[str] = (
        *VertexJobOperator.template_fields,
        "spec_uri",
        "job_id",
        "display_name",
        "pipeline_root",
        "parameter_values",
        "parameters_uri",
        "enable_caching",
        "required_outputs",
        "properties",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **VertexJobOperator.template_fields_renderers,
        "parameter_values": "json",
    }

    def __init__(  # noqa: PLR0913  # an operator's arguments are its documentation
        self,
        *,
        spec_uri: str,
        job_id: str = "",
        display_name: str = "",
        pipeline_root: str = "",
        parameter_values: Mapping[str, Any] | None = None,
        parameters_uri: str = "",
        enable_caching: bool | str | None = None,
        required_outputs: Sequence[str] = (),
        properties: Sequence[str] = (),
        **kwargs: Any,  # noqa: ANN401  # VertexJobOperator's
    ) -> None:
        super().__init__(**kwargs)
        self.spec_uri = spec_uri
        self.job_id = job_id
        self.display_name = display_name
        self.pipeline_root = pipeline_root
        self.parameter_values = parameter_values or {}
        self.parameters_uri = parameters_uri
        self.enable_caching = enable_caching
        self.required_outputs = required_outputs
        self.properties = properties

    def find_attempts(self, hook: VertexHook, context: Context) -> list[JobView]:
        """Return the attempts that exist: their ids follow from the DAG run, one after the other."""
        attempts: list[JobView] = []
        while True:
            name = f"{hook.location}/pipelineJobs/{self._id(context, len(attempts))}"
            try:
                attempts.append(hook.get_job(self.kind, name))
            except Exception as error:
                if classify(error) is ErrorKind.MISSING:
                    return attempts
                raise

    def create(self, hook: VertexHook, context: Context, *, attempt: int) -> JobView:
        """Create the attempt's job from the spec."""
        store = self.store()
        more = {} if is_empty(self.parameters_uri) else load_document(store, self.parameters_uri)
        message = job_message(
            load_document(store, self.spec_uri),
            display_name=self.display_name,
            pipeline_root=self.pipeline_root,
            parameter_values={**more, **self.parameter_values},
            labels=with_attempt(self.labels, attempt=attempt),
            service_account=self.service_account,
            enable_caching=self.enable_caching,
        )
        created = hook.pipelines.create_pipeline_job(
            parent=hook.location,
            pipeline_job=message,
            pipeline_job_id=self._id(context, attempt),
            timeout=CALL_TIMEOUT,
        )
        return view_pipeline(created)

    def returned(self, hook: VertexHook, job: JobView) -> dict[str, Any]:
        """Return the job's name, the URI of each component's outputs, and the requested properties.

        Vertex AI does not promise that a job lists the outputs of a component that came from the cache. If it
        does not, they come from the metadata store.
        """
        artifacts, properties = dict(job.artifacts), dict(job.properties)
        listed = {output.partition(".")[0] for output in artifacts}
        for component in job.components:
            if component.cached and component.execution and component.name not in listed:
                found = hook.outputs_of(component.execution)
                made = {f"{component.name}.{key}": artifact for key, artifact in found.items()}
                artifacts |= {output: artifact.uri for output, artifact in made.items()}
                properties |= strings_of(made)
        if missing := [output for output in self.required_outputs if output not in artifacts]:
            raise AirflowFailException(
                f"{job.name} succeeded, but neither it nor its executions list {', '.join(missing)}: "
                f"run the pipeline again without its cache\n  job: {hook.page(job.name)}"
            )
        asked = {name: properties[name] for name in self.properties if name in properties}
        return {"job": job.name, "artifacts": artifacts, "properties": asked}

    def _id(self, context: Context, attempt: int) -> str:
        if not self.job_id:
            run_id = str(context["dag_run"].run_id)
            return job_id(self.dag_id, run_id, attempt)
        suffix = f"-attempt{attempt}" if attempt else ""
        return f"{self.job_id[: MAX_JOB_ID - len(suffix)]}{suffix}"
