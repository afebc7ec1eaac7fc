"""Puts the local Vertex AI together: store, services, engines and the two doors."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

import uvicorn

from local_vertex.api.collection import Collection
from local_vertex.api.custom_jobs import CustomJobs
from local_vertex.api.deployments import Deployments
from local_vertex.api.endpoint_service import EndpointService
from local_vertex.api.endpoints import ENDPOINT
from local_vertex.api.field_checks import checked
from local_vertex.api.job_service import JobService
from local_vertex.api.location_service import LocationService, ProjectService
from local_vertex.api.metadata import Metadata
from local_vertex.api.metadata_service import MetadataService
from local_vertex.api.metric_service import MetricService
from local_vertex.api.model_service import ModelService
from local_vertex.api.models import Models
from local_vertex.api.operations import Operations
from local_vertex.api.pipeline_jobs import PipelineJobs
from local_vertex.api.pipeline_service import PipelineService
from local_vertex.api.prediction_service import PredictionService
from local_vertex.api.region import PROJECT_NUMBER, Region
from local_vertex.api.run_history import StoredHistory
from local_vertex.domain.names import Project
from local_vertex.domain.past import NO_LAGS, Past
from local_vertex.guard import Guard, addresses
from local_vertex.images import NO_IMAGES
from local_vertex.monitoring.samples import Samples, Sampling
from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.processes.model_servers import LocalModelServers
from local_vertex.processes.warm import WarmLauncher, WarmSettings
from local_vertex.run.containers import Containers
from local_vertex.run.custom_jobs import LocalCustomJobRunner
from local_vertex.run.pipelines import LocalPipelineEngine
from local_vertex.server import faults, methods
from local_vertex.server.fault_orders import FaultOrders
from local_vertex.server.grpc_server import GrpcServer, PortInUseError
from local_vertex.server.image_registry import ImageRegistry
from local_vertex.server.model_faults import ModelFaults
from local_vertex.server.rest import RestApi
from local_vertex.store import Store
from local_vertex.ui.pages import Pages
from local_vertex.ui.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from local_vertex.domain.past import Lags
    from local_vertex.images import ImageTable
    from local_vertex.run.containers import Launcher
    from local_vertex.run.ports import (
        CustomJobRunner,
        EngineSettings,
        JobListener,
        ModelServers,
        PipelineEngine,
        RunHistory,
        RunListener,
    )

SERVICES: Mapping[type, str] = {
    PipelineService: f"{methods.AIPLATFORM}.PipelineService",
    JobService: f"{methods.AIPLATFORM}.JobService",
    ModelService: f"{methods.AIPLATFORM}.ModelService",
    EndpointService: f"{methods.AIPLATFORM}.EndpointService",
    PredictionService: f"{methods.AIPLATFORM}.PredictionService",
    MetadataService: f"{methods.AIPLATFORM}.MetadataService",
    Operations: methods.OPERATIONS,
    LocationService: methods.LOCATIONS,
    ProjectService: methods.PROJECTS,
    MetricService: methods.METRICS,
}
"""The methods of each gRPC service."""

HOST: Final = "127.0.0.1"
BACKLOG = 128
STOP_SECONDS = 2
# Longer than clients pause between two polls: a connection must not end just as one is sent.
KEEP_ALIVE_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a server; it listens on `host`, and port 0 means any free one.

    `images` are shown as a container registry shows them. With `faults`, requests and callers of `/faults`
    may order faults on the wire. With `lean_skipped`, the tasks of a job that came from the cache list no
    outputs: Vertex AI does not promise any, and the metadata store has them. `lags`, measured by `clock` in
    seconds, are those of a service of many replicas. `sampling` makes Cloud Monitoring's points. `addresses`
    are those by which REST is reached beyond loopback's own.
    """

    state: Path
    project: str
    region: str
    host: str = HOST
    rest_port: int = 0
    grpc_port: int = 0
    images: ImageTable = NO_IMAGES
    faults: bool = False
    lean_skipped: bool = False
    lags: Lags = NO_LAGS
    clock: Callable[[], float] = time.monotonic
    sampling: Sampling = field(default_factory=Sampling)
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The engines behind the services; `launcher` starts the processes of pipelines and custom jobs."""

    pipelines: PipelineEngine
    custom_jobs: CustomJobRunner
    servers: ModelServers
    launcher: Launcher | None = None

    def close(self) -> None:
        """End pipelines and custom jobs, then the launchers of their processes; not the model servers."""
        self.pipelines.close()
        self.custom_jobs.close()
        if self.launcher is not None:
            self.launcher.close()


# All of TFX's executors, and the driver of file-based ExampleGens, are reached from these.
_TFX: Final = (
    "tfx.v1",
    "tfx.components",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver",
)


def build_engines(
    settings: EngineSettings, images: ImageTable, runs: RunListener, jobs: JobListener, history: RunHistory
) -> Engines:
    """Return engines that run processes of this machine; pipelines and custom jobs share warm parents."""
    reference = GuardedLauncher()
    launcher: Launcher = reference
    if settings.warm:
        warm_settings = WarmSettings(preload=_TFX, log_dir=settings.state_dir / "warm")
        launcher = warm = WarmLauncher(settings=warm_settings, images=images, reference=reference)
        if settings.prestart:
            warm.prestart()
    containers = Containers(images=images, launcher=launcher, reference=reference)
    return Engines(
        pipelines=LocalPipelineEngine(
            settings=settings, listener=runs, history=history, containers=containers
        ),
        custom_jobs=LocalCustomJobRunner(settings=settings, listener=jobs, containers=containers),
        servers=LocalModelServers(settings=settings, images=images, launcher=GuardedLauncher()),
        launcher=launcher,
    )


class LocalVertex:
    """One local Vertex AI; `build_engines` makes the engines, which report to the listeners it gets."""

    def __init__(
        self, options: Options, build_engines: Callable[[RunListener, JobListener, RunHistory], Engines]
    ) -> None:
        self._store = Store(options.state / "vertex.sqlite", Past(options.lags.longest, options.clock))
        project = Project(id=options.project, number=PROJECT_NUMBER, region=options.region)
        region = Region(project=project, store=self._store, lags=options.lags)
        metadata = Metadata(region)
        jobs = PipelineJobs(region, metadata, lean_skipped=options.lean_skipped)
        self._operations = Operations(region)
        custom_jobs = CustomJobs(region)
        self._engines = build_engines(jobs, custom_jobs, StoredHistory(region))
        self._jobs = JobService(region, custom_jobs, self._operations, self._engines.custom_jobs)
        self._pipelines = PipelineService(region, jobs, self._operations, self._engines.pipelines)
        models = Models(region)
        self._deployments = Deployments(region, models, self._engines.servers)
        self.model_faults = ModelFaults()
        self._samples = Samples(self._store, options.sampling)
        endpoints = EndpointService(region, models, self._operations, self._deployments)
        answering = (
            self._pipelines,
            self._jobs,
            ModelService(region, models, self._operations),
            endpoints,
            PredictionService(region, partial(self.model_faults.ask, self._engines.servers), self._samples),
            MetadataService(region, metadata),
            self._operations,
            LocationService(region),
            ProjectService(region),
            MetricService(region, self._samples, options.sampling),
        )
        table = methods.method_table({SERVICES[type(each)]: each for each in answering})
        self.methods = tuple(
            replace(each, handler=checked(each.handler)) if each.handler else each for each in table
        )
        self.pages = Pages(
            Sources(
                region=region,
                jobs=jobs,
                custom_jobs=custom_jobs,
                models=models,
                endpoints=Collection(self._store, ENDPOINT),
            )
        )

    def recover(self) -> None:
        """Resume the work that the end of the last server cut off."""
        self._operations.recover()
        self._pipelines.recover()
        self._jobs.recover()
        self._deployments.recover()

    def close(self) -> None:
        """End all work and all children, then close the store."""
        self._store.stop_waiting()
        self._operations.cancel_all()
        self._deployments.close()
        self._operations.close()
        self._engines.close()
        self._samples.close()
        self._store.close()


class Doors:
    """The gRPC and REST servers of a local Vertex AI, bound at once, answering from `serve` on."""

    def __init__(self, vertex: LocalVertex, options: Options) -> None:
        """Bind both ports; raises PortInUseError."""
        self._socket = _bind(options.host, options.rest_port)
        self.rest_port: int = self._socket.getsockname()[1]
        self._faults = faults.Faults()
        dispatch = self._faults.dispatch if options.faults else faults.faultless
        self._grpc = GrpcServer(vertex.methods, host=options.host, port=options.grpc_port, dispatch=dispatch)
        self.grpc_port = self._grpc.port
        grpc = f"{options.host}:{self.grpc_port}"
        health = {"project": options.project, "region": options.region, "grpc": grpc}
        self._model_faults = vertex.model_faults
        orders = [FaultOrders(self._faults, self._model_faults).route()] if options.faults else []
        pages = [*vertex.pages.routes(), *orders, *ImageRegistry(options.images).routes()]
        application = RestApi(vertex.methods, health, dispatch=dispatch, pages=pages).application()
        guard = Guard(application, addresses(self.rest_port, options.addresses), _takes_json)
        self._rest = uvicorn.Server(
            uvicorn.Config(
                guard,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )

    def serve(self) -> None:
        """Answer until SIGTERM, SIGINT or `stop`."""
        self._grpc.start()
        try:
            self._rest.run(sockets=[self._socket])
        finally:
            self._faults.close()
            self._model_faults.close()
            self._grpc.stop()
            self._socket.close()

    def stop(self) -> None:
        """Make `serve` return; may be called from any thread."""
        self._rest.should_exit = True


def _takes_json(path: str) -> bool:
    """Return whether bodies sent to a path are JSON; rawPredict hands any body to a model's own server."""
    return not path.endswith(":rawPredict")


def _bind(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortInUseError(f"port {port} of {host} is in use; choose another --rest-port") from error
    listener.set_inheritable(False)
    return listener
