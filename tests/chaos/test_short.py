"""The short form of `make chaos`: one run, and each part of it killed about once."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from local_gcp.stack import to_stderr
from tests.chaos.__main__ import SMALL
from tests.chaos.suite import Chaos

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.suite import RunUnderFire
    from tests.local_stack import LocalStack

KILLS = 5

pytestmark = [pytest.mark.e2e, pytest.mark.pipeline, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def run(airflow_stack: LocalStack) -> Iterator[RunUnderFire]:
    """A run of the real DAG that was killed at five moments."""
    chaos = Chaos(
        stack=airflow_stack.stack,
        layout=airflow_stack.layout,
        dice=Random(4),  # noqa: S311  # no secret
        progress=to_stderr,
    )
    chaos.cloud.empty_endpoints()
    yield chaos.run({"window_end": "2015-05-01", **SMALL}, kills=KILLS)
    chaos.cloud.empty_endpoints()


def test_nothing_is_lost_and_nothing_doubled(run: RunUnderFire) -> None:
    """After the kills there is one job per attempt, one version, a whole traffic split and no debris."""
    assert (run.violations, len(run.kills)) == ([], KILLS)
