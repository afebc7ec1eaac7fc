"""How a model is trained, what it answers, and how its pipeline is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from taxi_ml.rules import between, matches, switch


class PipelineSchema(StrEnum):
    """The version of the PipelineSpec that is compiled; the newer one unless Vertex AI refuses it."""

    NEWER = "2.1"
    OLDER = "2.0"


class Serve(StrEnum):
    """What a promoted model answers: its own network's fare, or the mean of the last three approved ones."""

    NEWEST = "newest"
    MEAN_OF_3 = "mean_of_3"

    @property
    def earlier(self) -> int:
        """The number of earlier approved models that a new one is averaged with, at most."""
        return 2 if self is Serve.MEAN_OF_3 else 0


_STEPS: Final = between(1, 10**9, "steps")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Steps, batches and trials; what a promoted model answers; the cache."""

    __slots__ = ()

    train_steps: Annotated[int, between(0, 10**9, "steps; 0 derives them from the rows")] = 0
    batch_size: Annotated[int, between(1, 65_536, "rows")] = 256
    tuner_trials: Annotated[int, between(0, 1000, "trials; 0 turns the Tuner off")] = 7
    tuner_steps: Annotated[int, _STEPS] = 200
    seed: Annotated[int, between(0, 2**31 - 1, "as a seed")] = 20
    serve: Annotated[str, matches("|".join(Serve), f"choose one of {', '.join(Serve)}")] = Serve.NEWEST.value
    refit: Annotated[bool, switch()] = False
    """Whether an approved model is trained again with its test months before it serves."""
    cache_days: Annotated[
        int, between(1, 3650, "days; fewer by three than the bucket keeps pipeline_root/")
    ] = 30
    """The days for which components may take their outputs from the cache; see `naming.cache_period`."""
    pipeline_schema: Annotated[str, matches(r"2\.[01]", f"choose one of {', '.join(PipelineSchema)}")] = (
        PipelineSchema.NEWER.value
    )
