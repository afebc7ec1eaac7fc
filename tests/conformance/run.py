"""The pytest plugin of one run: its answers, and the reasons for missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.answers import Answers

if TYPE_CHECKING:
    import pytest


class Run:
    """Gives the tests their answers; with ``recording``, no answer is wrong."""

    def __init__(self, *, recording: bool = False) -> None:
        self.answers = Answers.fresh()
        self.recording = recording

    @classmethod
    def of(cls, config: pytest.Config) -> Run:
        """Return the run that the tests are part of; a new one if no report is requested."""
        found = (plugin for plugin in config.pluginmanager.get_plugins() if isinstance(plugin, cls))
        return next(found, None) or cls()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the reason why a test failed."""
        if report.failed:
            lines = report.longreprtext.strip().splitlines()
            self.answers.problems.append(f"{report.nodeid} ({report.when}): {lines[-1] if lines else ''}")
