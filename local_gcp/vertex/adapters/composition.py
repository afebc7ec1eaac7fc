"""Builds the engine for this machine; the server's composition root calls it once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from local_gcp.vertex.adapters.guarded import GuardedLauncher
from local_gcp.vertex.engine.containers import ImageTable
from local_gcp.vertex.engine.pipelines import LocalPipelineEngine

if TYPE_CHECKING:
    from local_gcp.vertex.engine.ports import EngineSettings, RunListener

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE")
# Tasks run side by side, and a forked child must not find its parent's threads gone.
_SINGLE_THREADED = {"OPENBLAS_NUM_THREADS": "1"}


def image_table(settings: EngineSettings) -> ImageTable:
    """Return the table of images with the environment that every container gets."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = {**inherited, **_SINGLE_THREADED, **settings.environment}
    return ImageTable(rules=settings.images, environment=environment)


def build_pipeline_engine(settings: EngineSettings, listener: RunListener) -> LocalPipelineEngine:
    """Return an engine that runs tasks as processes of this machine."""
    reference = GuardedLauncher()
    return LocalPipelineEngine(
        settings=settings,
        listener=listener,
        images=image_table(settings),
        launcher=reference,
        reference=reference,
    )
