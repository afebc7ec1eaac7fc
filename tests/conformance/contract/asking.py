"""Compare the answers of a cloud with the expected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local_vertex.evidence import Outcome
from tests.conformance.cloud import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.run import Run


class Asking:
    """Records answers, and fails a test whose answer differs from the expected one."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, identity: str, observed: object, detail: str = "") -> None:
        """Compare the observed answer with the expected one for the check of this id."""
        answers = self._run.answers
        answers.record(identity, observed, detail)
        if not self._run.recording and answers.outcome(identity) is not Outcome.SAME:
            pytest.fail(answers.difference(identity), pytrace=False)

    def refused(self, identity: str, call: Callable[[], object]) -> None:
        """Compare the code with which a call is refused; OK for none."""
        self(identity, *refusal(call))
