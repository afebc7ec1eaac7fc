"""The cost of importing the DAG, against importing airflow.sdk alone: the median of fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
REPEATS = 7
PROGRAM = """
import sys, time
sys.path[:0] = {path!r}
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def seconds_to_import(module: str) -> float:
    """Return the seconds that a fresh process needs to import a module."""
    path = [str(REPOSITORY), str(REPOSITORY / "plugins"), str(REPOSITORY / "dags")]
    program = PROGRAM.format(path=path, module=module)
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(printed.stdout.splitlines()[-1])


def main() -> None:
    """Measure both in turns, so that a busy machine slows both alike, and print the ratio."""
    pairs = [(seconds_to_import("airflow.sdk"), seconds_to_import("taxi_training")) for _ in range(REPEATS)]
    baseline, dag = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"import airflow.sdk    {baseline:6.2f} s  (baseline)")
    print(f"import taxi_training  {dag:6.2f} s  {dag / baseline:.2f} x the baseline; the aim is 1.5 or less")


if __name__ == "__main__":
    main()
