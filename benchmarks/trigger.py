"""The cost of waiting for many pipeline jobs in one triggerer: our trigger against the Google provider's.

Both wait for the same jobs of the local Vertex AI, one after the other, each in a process of its own, with
the same fixed time between two polls of a job, by name or by a list. The provider's hook supports only
Google's endpoint: it is given a plaintext channel to the local one, and is otherwise unchanged. That saves it
the TLS handshake of the channel that it opens for every poll.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

REPOSITORY = Path(__file__).parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "plugins")]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_vertex.run.ports import JobListener, RunHistory, RunListener

PROJECT, REGION = "taxi-local", "us-central1"
PARENT = f"projects/{PROJECT}/locations/{REGION}"
_WARM_UP_SECONDS = 300.0
_PAGE = 100
_QUESTIONS = frozenset({"GetPipelineJob", "ListPipelineJobs"})
OURS, PROVIDER = "ours", "provider"
SPEC = {"pipelineInfo": {"name": "p"}, "schemaVersion": "2.1.0", "root": {"dag": {"tasks": {}}}}


def serve() -> None:
    """Run a local Vertex AI without executors; obey lines: `end NAME` ends a job, `asked` counts requests."""
    from local_vertex.composition import Doors, Engines, LocalVertex, Options  # noqa: PLC0415
    from local_vertex.domain.states import RunState  # noqa: PLC0415
    from tests.local_vertex.fakes import FakeCustomJobRunner, FakeModelServers, FakePipelineEngine  # noqa: PLC0415

    engines: list[FakePipelineEngine] = []
    asked = [0]

    def build(runs: RunListener, jobs: JobListener, _history: RunHistory) -> Engines:
        engines.append(FakePipelineEngine(runs))
        return Engines(
            pipelines=engines[0], custom_jobs=FakeCustomJobRunner(jobs), servers=FakeModelServers()
        )

    def counting(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def count(request: Any) -> Any:  # noqa: ANN401  # a message
            asked[0] += 1
            return handler(request)

        return count

    with tempfile.TemporaryDirectory() as folder:
        options = Options(state=Path(folder), project=PROJECT, region=REGION)
        vertex = LocalVertex(options, build)
        vertex.methods = tuple(
            replace(each, handler=counting(each.handler)) if each.rpc in _QUESTIONS and each.handler else each
            for each in vertex.methods
        )
        doors = Doors(vertex, options)
        thread = threading.Thread(target=doors.serve)
        thread.start()
        print(doors.grpc_port, flush=True)
        for line in sys.stdin:
            order, _, name = line.strip().partition(" ")
            if order == "end":
                engines[0].end(name, RunState.SUCCEEDED)
                print(time.time(), flush=True)
            else:
                print(asked[0], flush=True)
        doors.stop()
        thread.join(20)
        vertex.close()


def wait_for_jobs(kind: str, port: str, interval: float, names: list[str]) -> None:
    """Run a triggerer with one trigger for each job; print its usage twice, then the times of the events."""
    os.environ["AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT"] = json.dumps(
        {
            "conn_type": "google_cloud_platform",
            "extra": {
                "is_anonymous": True,
                "project": PROJECT,
                "vertex_endpoint": f"http://127.0.0.1:{port}",
            },
        }
    )
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # triggers log to standard output
    triggers = list(_ours(names, interval) if kind == OURS else _provider(names, interval, port))
    ended: dict[str, float] = {}

    async def one(name: str, trigger: Any) -> None:  # noqa: ANN401  # either trigger
        async for _ in trigger.run():
            ended[name] = time.time()
            return

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(one(name, each)) for name, each in zip(names, triggers, strict=True)]
        print(json.dumps(_usage()), file=answers)
        await asyncio.to_thread(sys.stdin.readline)
        print(json.dumps(_usage()), file=answers)
        await asyncio.gather(*tasks)

    asyncio.run(all_of_them())
    print(json.dumps(ended), file=answers)


def _ours(names: list[str], interval: float) -> Iterator[Any]:
    from vertex_airflow.triggers.vertex_job import VertexJobTrigger  # noqa: PLC0415

    for name in names:
        yield VertexJobTrigger(
            kind="pipeline",
            name=name,
            region=REGION,
            gcp_conn_id="google_cloud_default",
            shortest=interval,
            longest=interval,
        )


def _provider(names: list[str], interval: float, port: str) -> Iterator[Any]:
    import grpc.aio  # noqa: PLC0415
    from airflow.providers.google.cloud.hooks.vertex_ai.pipeline_job import (  # noqa: PLC0415
        PipelineJobAsyncHook,
    )
    from airflow.providers.google.cloud.triggers.vertex_ai import RunPipelineJobTrigger  # noqa: PLC0415
    from google.cloud.aiplatform_v1 import PipelineServiceAsyncClient  # noqa: PLC0415

    async def client(hook: Any, region: str | None = None) -> Any:  # noqa: ANN401, ARG001  # the hook's own
        await hook.get_sync_hook()
        transport: Any = PipelineServiceAsyncClient.get_transport_class("grpc_asyncio")
        return PipelineServiceAsyncClient(
            transport=transport(channel=grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        )

    PipelineJobAsyncHook.get_pipeline_service_client = client
    for name in names:
        yield RunPipelineJobTrigger(
            conn_id="google_cloud_default",
            project_id=PROJECT,
            location=REGION,
            job_id=name.rpartition("/")[2],
            poll_interval=interval,
        )


def _usage() -> dict[str, float]:
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measure(kind: str, jobs: int, interval: float, seconds: float) -> dict[str, float]:
    """Return the usage of a triggerer of this kind during `seconds`, and the delays of its events."""
    with _child("serve") as server:
        port = _line(server)
        names = _create(port, jobs)
        with _child("wait", kind, port, str(interval), *names) as waiting:
            _line(waiting)
            # Twice as many as one round takes, which is one for each job or for each page of the list.
            _warm_up(server, questions=2 * (jobs if kind == PROVIDER else -(-jobs // _PAGE)))
            time.sleep(interval)
            begin_asked, begun = int(_ask(server, "asked")), _cpu(waiting.pid)
            time.sleep(seconds)
            end_asked, end_cpu = int(_ask(server, "asked")), _cpu(waiting.pid)
            ends = {}
            for name in names:
                ends[name] = float(_ask(server, f"end {name}"))
                time.sleep(interval / jobs)
            usage = json.loads(_ask(waiting, "measure"))
            events: dict[str, float] = json.loads(_line(waiting))
        delays = [events[name] - ends[name] for name in names]
    return {
        "CPU, % of a core": 100 * (end_cpu - begun) / seconds,
        "memory, MiB": usage["mib"],
        "requests a second": (end_asked - begin_asked) / seconds,
        "delay, median s": statistics.median(delays),
        "delay, worst s": max(delays),
    }


def _warm_up(server: subprocess.Popen[str], *, questions: int) -> None:
    """Wait until that many requests were sent."""
    until = time.monotonic() + _WARM_UP_SECONDS
    while int(_ask(server, "asked")) < questions:
        if time.monotonic() > until:
            raise RuntimeError(f"{questions} requests were not sent in {_WARM_UP_SECONDS:.0f} s")
        time.sleep(0.5)


def _child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(child: subprocess.Popen[str]) -> str:
    line = child.stdout.readline() if child.stdout else ""
    if not line:
        raise RuntimeError("a child of the benchmark has ended; its error is above")
    return line.strip()


def _ask(child: subprocess.Popen[str], order: str) -> str:
    if child.stdin is None:
        raise RuntimeError("the child has no input")
    child.stdin.write(f"{order}\n")
    child.stdin.flush()
    return _line(child)


def _cpu(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _create(port: str, jobs: int) -> list[str]:
    import grpc  # noqa: PLC0415
    from google.cloud.aiplatform_v1 import PipelineServiceClient  # noqa: PLC0415

    transport: Any = PipelineServiceClient.get_transport_class("grpc")
    client = PipelineServiceClient(transport=transport(channel=grpc.insecure_channel(f"127.0.0.1:{port}")))
    job: Any = {
        "display_name": "p",
        "labels": {"attempt": "0"},  # as the operators have it
        "pipeline_spec": SPEC,
        "runtime_config": {"gcs_output_directory": "gs://bucket/root"},
    }
    return [
        client.create_pipeline_job(parent=PARENT, pipeline_job=job, pipeline_job_id=f"p-{number}").name
        for number in range(jobs)
    ]


def main() -> None:
    """Measure the provider's trigger, then ours, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds between two questions")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure")
    chosen = parser.parse_args()
    arguments = (chosen.jobs, chosen.interval, chosen.seconds)
    baseline, ours = measure(PROVIDER, *arguments), measure(OURS, *arguments)
    print(f"{chosen.jobs} waiting jobs, asked about every {chosen.interval:g} s")
    print(f"{'':20}{'provider':>10}{'ours':>10}{'ratio':>8}")
    for name, value in baseline.items():
        ratio = f"{ours[name] / value:8.2f}" if value else ""
        print(f"{name:20}{value:10.2f}{ours[name]:10.2f}{ratio}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["wait"]:
        wait_for_jobs(sys.argv[2], sys.argv[3], float(sys.argv[4]), sys.argv[5:])
    else:
        main()
