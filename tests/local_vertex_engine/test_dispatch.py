from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_vertex.run.dispatch import Claim, Dispatcher, next_claim

CLAIMS = st.lists(
    st.builds(
        Claim,
        owner=st.sampled_from("abc"),
        memory=st.integers(0, 12),
        number=st.integers(0, 10**6),
        cores=st.integers(1, 6),
    ),
    max_size=12,
    unique_by=lambda claim: claim.number,
)


def order_of(waiting: list[Claim], cores: int, memory: int | None) -> list[list[Claim]]:
    """Serve all claims, the longest running ending first; returns what ran together after each step."""
    running: list[Claim] = []
    together = []
    while waiting or running:
        claim = next_claim(waiting, running, cores=cores, memory=memory)
        if claim:
            waiting = [other for other in waiting if other != claim]
            running = [*running, claim]
            together.append(running)
        elif not running:
            pytest.fail("nothing runs and nothing starts")
        else:
            running = running[1:]
    return together


@given(CLAIMS, st.integers(1, 4), st.integers(1, 20))
def test_everything_runs_within_bounds(claims: list[Claim], cores: int, memory: int) -> None:
    """Every claim is served; cores and memory are exceeded only by a claim that runs alone."""
    steps = order_of(claims, cores, memory)

    assert Counter(step[-1] for step in steps) == Counter(claims)
    assert all(len(step) == 1 or sum(claim.cores for claim in step) <= cores for step in steps)
    assert all(len(step) == 1 or sum(claim.memory for claim in step) <= memory for step in steps)


def test_a_small_run_does_not_wait_for_a_large_one() -> None:
    """A run that comes late with one task gets the next core, though ten tasks of another one wait."""
    large = [Claim(owner="large", memory=0, number=number) for number in range(10)]
    small = Claim(owner="small", memory=0, number=99)
    claim = next_claim([*large[1:], small], large[:1], cores=2, memory=None)

    assert claim == small


def test_nothing_overtakes_a_claim_for_much_memory() -> None:
    """A claim for more than is free waits, and claims that would fit wait behind it."""
    running = [Claim(owner="a", memory=3, number=0)]
    much, little = Claim(owner="b", memory=9, number=1), Claim(owner="c", memory=1, number=2)

    assert next_claim([much, little], running, cores=4, memory=10) is None
    assert next_claim([much, little], [], cores=4, memory=8) == much


def test_work_is_done_side_by_side() -> None:
    """As many pieces run at once as there are cores, and each future gets its result or error."""
    dispatcher = Dispatcher(cores=2)
    barrier = threading.Barrier(2, timeout=10)
    futures = [dispatcher.submit("a", 0, barrier.wait) for _ in range(4)]
    broken = dispatcher.submit("a", 0, lambda: 1 // 0)
    results = sorted(future.result(10) for future in futures)

    assert results == [0, 0, 1, 1]
    assert isinstance(broken.exception(10), ZeroDivisionError)
    dispatcher.close()


def test_the_end_cancels_what_waits() -> None:
    """After close, running work finishes, and work that waits or comes later is cancelled."""
    dispatcher = Dispatcher(cores=1)
    release, started = threading.Event(), threading.Event()

    def work() -> bool:
        started.set()
        return release.wait(10)

    running, waiting = dispatcher.submit("a", 0, work), dispatcher.submit("a", 0, work)
    started.wait(10)
    closing = threading.Thread(target=dispatcher.close)
    closing.start()
    release.set()
    closing.join(10)
    late = dispatcher.submit("a", 0, work)

    assert running.result(10) is True
    assert waiting.cancelled()
    assert late.cancelled()
