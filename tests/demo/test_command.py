"""`python -m demo` before and after the run itself."""

from __future__ import annotations

from datetime import date
from typing import Any
from unittest.mock import create_autospec

import pytest

from demo.__main__ import DAG_ID, FIRST_WINDOW_END, Demo, main
from local_gcp.airflow_client import AirflowClient


def run_of(state: str, window_end: str | None) -> dict[str, Any]:
    """Return a run as Airflow lists it."""
    return {"state": state, "conf": {} if window_end is None else {"window_end": window_end}}


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([], FIRST_WINDOW_END),
        ([run_of("failed", "2015-02-01"), run_of("success", None)], FIRST_WINDOW_END),
        ([run_of("success", "2015-02-01"), run_of("success", "2015-04-01")], date(2015, 5, 1)),
        ([run_of("success", "2015-12-01")], date(2016, 1, 1)),
        ([run_of("success", "2015-11-01")], date(2015, 12, 1)),
    ],
)
def test_next_window_follows_the_latest_successful_one(runs: list[dict[str, Any]], expected: date) -> None:
    """Each demo tests on the next month, across the end of a year, and a failed month is run again."""
    airflow = create_autospec(AirflowClient, instance=True)  # a server would take a minute to start
    airflow.runs.return_value = runs
    found = Demo(airflow=airflow, vertex_url="").next_window_end()

    assert found == expected
    airflow.runs.assert_called_once_with(DAG_ID)


def test_a_window_end_must_be_a_date(capsys: pytest.CaptureFixture[str]) -> None:
    """The command refuses anything else before it starts a server."""
    with pytest.raises(SystemExit):
        main(["--window-end", "July"])

    assert "python -m demo: error: argument --window-end" in capsys.readouterr().err
