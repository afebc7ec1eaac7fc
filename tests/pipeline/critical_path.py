"""The longest chain of task starts in a row, with the DAG's own jobs.

`PYTHONPATH=.:dags:plugins .venv/bin/python -m tests.pipeline.critical_path` prints those of the goldens.
"""

from __future__ import annotations

import json
import sys
from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from tests.pipeline.golden import GOLDENS
from vertex_airflow.operators.custom_job import VertexCustomJobOperator
from vertex_airflow.operators.pipeline_job import VertexPipelineJobOperator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from airflow.sdk import DAG


def of_spec(spec: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the dependencies of each task that starts a machine; importers and resolvers start none."""
    tasks, executors = spec["root"]["dag"]["tasks"], spec["deploymentSpec"]["executors"]
    labels = {
        name: spec["components"][task["componentRef"]["name"]]["executorLabel"]
        for name, task in tasks.items()
    }
    started = {name for name in tasks if "container" in executors[labels[name]]}
    return {name: started & set(tasks[name].get("dependentTasks", [])) for name in started}


def with_jobs(dag: DAG, spec: Mapping[str, Any], *, made: AbstractSet[str]) -> dict[str, set[str]]:
    """Return the same with the DAG's own jobs on Vertex AI, except those in `made`: their results exist.

    Only what starts a machine counts: an operator costs seconds, and a query what BigQuery makes of it.
    """
    jobs = {
        task.task_id: set(task.get_flat_relative_ids(upstream=True))
        for task in dag.tasks
        if isinstance(task, VertexCustomJobOperator) and task.task_id not in made
    }
    (pipeline,) = (task for task in dag.tasks if isinstance(task, VertexPipelineJobOperator))
    before = jobs.keys() & pipeline.get_flat_relative_ids(upstream=True)
    first = {name: set(before) for name, waits in of_spec(spec).items() if not waits}
    return {name: waits & jobs.keys() for name, waits in jobs.items()} | of_spec(spec) | first


def longest(graph: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return the longest chain; among several, the one whose names come first."""
    chains: dict[str, list[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        before = [chains[each] for each in graph[name]]
        chains[name] = [*min(before, key=lambda chain: (-len(chain), chain), default=[]), name]
    return min(chains.values(), key=lambda chain: (-len(chain), chain))


def main() -> int:
    """Print the chains of a month with and without a change."""
    import taxi_training  # noqa: PLC0415  # a DAG file, on the path of the tests

    for path in sorted(GOLDENS.glob("*.json")):
        spec = json.loads(path.read_text())["pipelineSpec"]
        for word, made in (("with a change", frozenset()), ("without a change", frozenset({"compile"}))):
            chain = longest(with_jobs(taxi_training.dag, spec, made=made))
            print(f"{path.name}, {word}: {len(chain)} starts: {' → '.join(chain)}")  # noqa: T201  # its answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
