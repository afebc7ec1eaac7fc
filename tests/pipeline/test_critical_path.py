"""The number of consecutive machine starts, each of which costs minutes on Vertex AI before any work."""

from __future__ import annotations

import json

import pytest
import taxi_training

from tests.pipeline.critical_path import longest, of_spec, with_jobs
from tests.pipeline.golden import GOLDENS

CHAIN = ["CsvExampleGen", "StatisticsGen", "ExampleValidator", "Transform", "Tuner", "Trainer", "Evaluator"]


@pytest.mark.parametrize(
    ("name", "made", "expected"),
    [
        ("first_run.json", {"compile"}, [*CHAIN, "Pusher"]),
        ("first_run.json", set(), ["compile", *CHAIN, "Pusher"]),
        (
            "against_champion_untuned.json",
            {"compile"},
            [
                "ParquetExampleGen",
                "StatisticsGen",
                "ExampleValidator",
                "Transform",
                "Trainer",
                "Evaluator",
                "Pusher",
            ],
        ),
    ],
)
def test_critical_path(name: str, made: set[str], expected: list[str]) -> None:
    """A month starts eight machines in a row, or nine with the compiler's if something has changed."""
    spec = json.loads((GOLDENS / name).read_text())["pipelineSpec"]
    chain = longest(with_jobs(taxi_training.dag, spec, made=made))
    print(f"{len(chain)} starts: {' → '.join(chain)}")  # noqa: T201  # the critical path itself

    assert chain == expected


def test_report_is_as_far_from_the_start_as_the_pusher() -> None:
    """The report ends the other longest chain: it waits for Evaluator and SchemaGen, not for a copy."""
    graph = of_spec(json.loads((GOLDENS / "first_run.json").read_text())["pipelineSpec"])
    without_pusher = {name: waits for name, waits in graph.items() if name != "Pusher"}

    assert longest(without_pusher) == [*CHAIN, "Report"]
    assert len(longest({name: graph[name] for name in ("CsvExampleGen", "StatisticsGen", "SchemaGen")})) == 3
