"""Builds the engine for this machine; the server's composition root calls it once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_vertex.processes.guarded import GuardedLauncher
from local_vertex.processes.model_servers import LocalModelServers
from local_vertex.processes.warm import SharedLauncher, WarmLauncher, WarmSettings
from local_vertex.run.caching import VolatileHistory
from local_vertex.run.containers import ImageTable
from local_vertex.run.custom_jobs import LocalCustomJobRunner
from local_vertex.run.pipelines import LocalPipelineEngine

if TYPE_CHECKING:
    from local_vertex.run.containers import Launcher
    from local_vertex.run.ports import EngineSettings, JobListener, RunHistory, RunListener

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
# Where pip finds packages is a matter of the machine.
_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT")
# Tasks run side by side, and a forked child must not find its parent's threads gone; logs are live.
_OURS = {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def image_table(settings: EngineSettings) -> ImageTable:
    """Return the table of images with the environment that every container gets."""
    inherited = {name: os.environ[name] for name in (*_INHERITED, *_PIP) if name in os.environ}
    environment = {**inherited, **_OURS, **settings.environment}
    return ImageTable(rules=settings.images, environment=environment, own_images=settings.own_images)


# All of TFX's executors, and the driver of file-based ExampleGens, are reached from these.
_TFX = (
    "tfx.v1",
    "tfx.components",
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngines:
    """All that runs work on this machine; close each of them."""

    pipelines: LocalPipelineEngine
    custom_jobs: LocalCustomJobRunner
    servers: LocalModelServers


def build_engines(
    settings: EngineSettings, runs: RunListener, jobs: JobListener, history: RunHistory | None = None
) -> LocalEngines:
    """Return engines of which pipeline tasks and custom jobs share their warm parents.

    Without `history` pipelines remember earlier runs as long as the engine lives.
    """
    images = image_table(settings)
    launcher = SharedLauncher(_launcher(settings, images, GuardedLauncher(), _TFX), owners=2)
    return LocalEngines(
        pipelines=_pipelines(settings, runs, history or VolatileHistory(), images, launcher),
        custom_jobs=_custom_jobs(settings, jobs, images, launcher),
        servers=build_model_servers(settings),
    )


def build_pipeline_engine(
    settings: EngineSettings,
    listener: RunListener,
    *,
    history: RunHistory | None = None,
    preload: tuple[str, ...] = _TFX,
) -> LocalPipelineEngine:
    """Return an engine that runs tasks as processes of this machine, warm ones with `preload` imported.

    Without `history` it remembers runs as long as it lives.
    """
    images = image_table(settings)
    launcher = _launcher(settings, images, GuardedLauncher(), preload)
    return _pipelines(settings, listener, history or VolatileHistory(), images, launcher)


def build_custom_job_runner(
    settings: EngineSettings, listener: JobListener, *, preload: tuple[str, ...] = _TFX
) -> LocalCustomJobRunner:
    """Return a runner of custom jobs, warm ones with `preload` imported."""
    images = image_table(settings)
    launcher = _launcher(settings, images, GuardedLauncher(), preload)
    return _custom_jobs(settings, listener, images, launcher)


def build_model_servers(settings: EngineSettings) -> LocalModelServers:
    """Return the servers of deployed models."""
    return LocalModelServers(settings=settings, images=image_table(settings), launcher=GuardedLauncher())


def _pipelines(
    settings: EngineSettings,
    listener: RunListener,
    history: RunHistory,
    images: ImageTable,
    launcher: Launcher,
) -> LocalPipelineEngine:
    return LocalPipelineEngine(
        settings=settings,
        listener=listener,
        history=history,
        images=images,
        launcher=launcher,
        reference=GuardedLauncher(),
    )


def _custom_jobs(
    settings: EngineSettings, listener: JobListener, images: ImageTable, launcher: Launcher
) -> LocalCustomJobRunner:
    return LocalCustomJobRunner(
        settings=settings,
        listener=listener,
        images=images,
        launcher=launcher,
        reference=GuardedLauncher(),
    )


def _launcher(
    settings: EngineSettings, images: ImageTable, guarded: GuardedLauncher, preload: tuple[str, ...]
) -> Launcher:
    if not settings.warm:
        return guarded
    warm_settings = WarmSettings(preload=preload, log_dir=settings.state_dir / "warm")
    launcher = WarmLauncher(settings=warm_settings, images=images, reference=guarded)
    if settings.prestart:
        launcher.prestart()
    return launcher
