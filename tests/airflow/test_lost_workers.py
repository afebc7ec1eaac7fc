"""A worker may be lost at any call of a promotion that changes something, as SIGKILL ends it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from google.cloud.aiplatform_v1 import EndpointServiceClient, ModelServiceClient

from tests.airflow.promotion import Promotion, count_versions, live, serving
from tests.airflow.tasks import context, run_task
from vertex_airflow.objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.airflow.promotion import Begin
    from tests.airflow.servers import Vertex

STEPS = ("champion", "register", "deploy", "smoke", "shift", "undeploy")
CHANGES = [
    (ObjectStore, "write_once"),
    (ModelServiceClient, "upload_model"),
    (ModelServiceClient, "merge_version_aliases"),
    (EndpointServiceClient, "deploy_model"),
    (EndpointServiceClient, "update_endpoint"),
    (EndpointServiceClient, "undeploy_model"),
]


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker is lost at a change of `step` after `earlier` others, before or after it has `acted`."""

    step: str
    earlier: int
    acted: bool = False

    def __str__(self) -> str:
        """Name the test."""
        return f"{self.step} {self.earlier} {'after' if self.acted else 'before'}"


# Every change of a second promotion.
LOSSES = [
    Loss(step, earlier, acted)
    for step, changes in {
        "champion": 1,
        "register": 2,
        "deploy": 1,
        "smoke": 2,
        "shift": 2,
        "undeploy": 1,
    }.items()
    for earlier in range(changes)
    for acted in (False, True)
]
OF_WHAT_SERVES = [loss for loss in LOSSES if loss.step in {"deploy", "smoke", "shift"}]


class LostError(BaseException):
    """The worker is gone: nothing in it goes on, not even what cleans up."""


@contextmanager
def losing(loss: Loss) -> Iterator[None]:
    """Lose the worker in the block."""
    made = 0

    def watched(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # any client's
            nonlocal made
            made += 1
            if made <= loss.earlier:
                return change(*args, **kwargs)
            if loss.acted and made == loss.earlier + 1:
                change(*args, **kwargs)
            raise LostError

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in CHANGES:
            patch.setattr(owner, name, watched(getattr(owner, name)))
        with pytest.raises(LostError):
            yield


def run(promotion: Promotion, step: str, *, tries: int = 1) -> None:
    """Run one task of a promotion."""
    ctx = context(promotion.run_id)
    ctx["ti"].try_number = tries
    returned = run_task(getattr(promotion, f"{step}_task")(), ctx)
    if step == "register":
        promotion.model = str(returned["model"])


def lose(vertex: Vertex, folder: str, loss: Loss) -> Promotion:
    """Begin a DAG run and lose its worker."""
    promotion = Promotion(vertex=vertex, folder=folder, run_id="run-2")
    for each in STEPS[: STEPS.index(loss.step)]:
        run(promotion, each)
    with losing(loss):
        run(promotion, loss.step)
    return promotion


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_the_next_try_goes_on(vertex: Vertex, begin: Begin, bucket: str, loss: Loss) -> None:
    """Another try finishes what the lost one began, and does nothing twice."""
    first = begin("run-1").promote()
    second = lose(vertex, bucket, loss)

    for each in STEPS[STEPS.index(loss.step) :]:
        run(second, each, tries=2)

    assert (serving(vertex), len(live(vertex).deployed), count_versions(vertex)) == ({"2": 100}, 1, 2)
    assert (first.aliases, second.aliases) == (set(), {"challenger", "champion", "default"})


@pytest.mark.parametrize("loss", OF_WHAT_SERVES, ids=str)
def test_a_roll_back_leaves_one_whole_promotion(
    vertex: Vertex, begin: Begin, bucket: str, loss: Loss
) -> None:
    """What served before serves again, unless the lost worker made the last change of all."""
    first = begin("run-1").promote()
    second = lose(vertex, bucket, loss)
    promoted = loss == Loss("shift", 1, acted=True)

    second.roll_back()

    serves, served = (second, first) if promoted else (first, second)
    assert serving(vertex) == {"2" if promoted else "1": 100}
    assert served.aliases == set()
    assert serves.aliases >= {"champion", "default"}
    assert (second.deployed is None) is not promoted
