from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_gcp.layout import BUCKET, PROJECT
from tests.conformance.__main__ import main
from tests.conformance.cloud import Cloud
from tests.conformance.cost import ITEMS, estimate
from tests.conformance.target import APP, Target
from tests.waiting import wait_for

if TYPE_CHECKING:
    from tests.local_stack import LocalStack

GOOGLE = ["--project", "ml", "--bucket", "gs://fares/", "--image", "us-docker.pkg.dev/ml/taxi/pipeline:1"]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every connection an error."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_a_dry_run_says_what_it_would_do_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run names project, machines, labels, cost and time, and makes no call."""
    code = main([*GOOGLE, "--dry-run"])
    told = capsys.readouterr().out

    assert code == 0
    assert "project ml, region us-central1" in told
    assert f"labelled app={APP}" in told
    assert f"gs://fares/{APP}/" in told
    assert estimate() in told


@pytest.mark.usefixtures("no_network")
def test_a_sweep_can_be_a_dry_run_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run of a sweep lists what it would delete, and deletes nothing."""
    code = main([*GOOGLE[:4], "--sweep", "--dry-run"])

    assert code == 0
    assert f"gs://fares/{APP}/" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--sweep", "--dry-run"])
def test_what_is_for_google_needs_a_project(option: str) -> None:
    """An option that means Google Cloud does not silently run the suite here."""
    with pytest.raises(SystemExit, match="give PROJECT="):
        main([option])


@pytest.mark.usefixtures("no_network")
def test_nothing_is_done_unasked(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal for the confirmation, only YES=1 continues."""
    monkeypatch.setattr(sys, "stdin", Path(os.devnull).open())  # noqa: SIM115  # closed with the test
    code = main(GOOGLE)

    assert code == 1
    assert "YES=1" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "missing"), [(GOOGLE[:2], "BUCKET and IMAGE"), (GOOGLE[:4], "IMAGE")])
def test_a_project_alone_is_not_enough(given: list[str], missing: str) -> None:
    """A missing option is named as the variable that `make` takes."""
    with pytest.raises(SystemExit, match=f"not {missing}:"):
        main(given)


def test_the_estimate_adds_up() -> None:
    """The total is the sum of the lines, which show its parts."""
    first, *lines = estimate().splitlines()
    total = sum(item.count * item.usd * (item.hours or 1) for item in ITEMS)

    assert f"about {total:.2f} USD" in first
    assert lines[0].endswith("pipeline runs at 0.03 USD: 0.21 USD")


@pytest.fixture
def cloud(local_stack: LocalStack) -> Cloud:
    """Return clients of the local Vertex AI."""
    target = Target(
        project=PROJECT,
        bucket=BUCKET,
        image=local_stack.environment["TAXI_PIPELINE_IMAGE"],
        endpoint=local_stack.url("vertex", "grpc"),
        run="unused",
    )
    return Cloud(target=target)


def start(cloud: Cloud, stack: LocalStack, report: Path) -> subprocess.Popen[str]:
    """Start the command as for Google Cloud, with the local Vertex AI in its place."""
    target = cloud.target
    # A shell's background jobs ignore SIGINT, and so does what they start unless it is told otherwise.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "tests.conformance"]
    command += ["--yes", "--report", str(report)]
    command += ["--project", target.project, "--bucket", target.bucket, "--image", target.image]
    return subprocess.Popen(
        [*command, "--endpoint", target.endpoint],
        env={**os.environ, "STORAGE_EMULATOR_HOST": stack.environment["STORAGE_EMULATOR_HOST"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def labelled(cloud: Cloud) -> set[str]:
    """Return the names of everything that carries the suite's label; other tests have made some of it."""
    request = {"parent": cloud.target.parent, "filter": f'labels.app="{APP}"'}
    lists = (
        cloud.pipelines.list_pipeline_jobs,
        cloud.jobs.list_custom_jobs,
        cloud.endpoints.list_endpoints,
        cloud.models.list_models,
    )
    return {each.name for method in lists for each in method(request)}


def counted(what: str) -> int:
    """Return how many of one kind the estimate charges."""
    return next(item.count for item in ITEMS if item.what.startswith(what))


@pytest.mark.stack
def test_a_whole_run(cloud: Cloud, local_stack: LocalStack, tmp_path: Path) -> None:
    """The command creates what the estimate charges, deletes it and writes a report without differences."""
    before, report = labelled(cloud), tmp_path / "report.json"
    process = start(cloud, local_stack, report)
    output, _ = process.communicate(timeout=120)
    told: dict[str, Any] = json.loads(report.read_text())

    assert process.returncode == 0, output
    assert told["summary"] == {"same": len(told["checks"])}
    assert labelled(cloud) == before
    made = Counter(told["made"])
    assert (made["pipelineJobs"], made["customJobs"]) == (counted("pipeline runs"), counted("custom jobs"))
    assert PROJECT not in report.read_text()


@pytest.mark.stack
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_cleans_up(
    cloud: Cloud, local_stack: LocalStack, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM end the tests, and leave nothing but the report."""
    before, report = labelled(cloud), tmp_path / "report.json"
    process = start(cloud, local_stack, report)
    wait_for(lambda: any("pipelineJobs" in name for name in labelled(cloud) - before))
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)

    assert process.returncode != 0, output
    assert labelled(cloud) == before
    assert "unanswered" in json.loads(report.read_text())["summary"]
