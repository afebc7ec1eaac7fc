"""The command `make conformance`: compare the answers of a Vertex AI with the expected ones."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conformance.cloud import Cloud
from tests.conformance.cost import estimate
from tests.conformance.run import Run
from tests.conformance.sweep import sweep
from tests.conformance.target import APP, Target

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_TESTS = Path(__file__).parent / "contract"
_PLAN = """\
On Google Cloud, project {project}, region {region}, with the machine's default credentials, this would
  upload 3 models with 3 more versions, served by {image}, without files;
  create 2 endpoints and deploy a model twice on one of them, on e2-standard-2;
  run 7 pipelines and 3 custom jobs of {image}, which write a few bytes to {root}/;
  send about 60 requests that are to be refused, or only read;
  delete all of it, whatever happens (entries of the metadata store and logs stay).
Everything is labelled app={app}, run={run};
`make conformance SWEEP=1 PROJECT={project} BUCKET={bucket}` deletes what carries the first label."""


_SWEEP = """\
In project {target.project}, region {target.region}, this would delete every pipeline job, custom job,
endpoint and model that is labelled app={app}, and gs://{target.bucket}/{app}/."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return 0 when everything was answered as expected and nothing was left behind."""
    options = _parser().parse_args(arguments)
    if not options.project:
        return _local(options)
    target = _target(options)
    print(_SWEEP.format(app=APP, target=target) if options.sweep else _plan(target))  # noqa: T201  # its answer
    if options.sweep and not options.dry_run:
        return _swept(target)
    if options.dry_run:
        return 0
    if not options.yes and not _agreed():
        print("nothing was done; YES=1 does not ask", file=sys.stderr)  # noqa: T201  # a command's answer
        return 1
    return _on_google(target, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--project", default="", help="project of Google Cloud; without it: the local cloud")
    parser.add_argument("--bucket", default="", help="bucket in its region, for what the pipelines write")
    parser.add_argument(
        "--image", default="", help="image in Artifact Registry in which `python` is Python 3"
    )
    parser.add_argument("--service-account", default="", help="whom jobs run as; the project's default")
    parser.add_argument("--region", default="us-central1", help="region (%(default)s)")
    parser.add_argument("--transport", choices=("grpc", "rest"), default="grpc", help="(%(default)s)")
    parser.add_argument("--report", type=Path, default=Path("conformance.json"), help="file (%(default)s)")
    parser.add_argument("--endpoint", default="", help="URL of a plaintext server that stands for Google's")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; make no call")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--sweep", action="store_true", help="only delete what earlier runs left behind")
    parser.add_argument("--record", action="store_true", help="local: keep the answers as expected ones")
    return parser


def _target(options: argparse.Namespace) -> Target:
    needed = ("bucket",) if options.sweep else ("bucket", "image")
    missing = [name.upper() for name in needed if not getattr(options, name)]
    if missing:
        names = " and ".join(missing)
        sys.exit(f"PROJECT is given, but not {names}: make conformance PROJECT=… BUCKET=… IMAGE=…")
    return Target(
        project=options.project,
        bucket=options.bucket.removeprefix("gs://").rstrip("/"),
        image=options.image,
        region=options.region,
        service_account=options.service_account,
        endpoint=options.endpoint,
        transport=options.transport,
    )


def _plan(target: Target) -> str:
    plan = _PLAN.format(
        project=target.project,
        bucket=target.bucket,
        region=target.region,
        image=target.image,
        root=target.root,
        app=APP,
        run=target.run,
    )
    return f"{plan}\n\n{estimate()}"


def _agreed() -> bool:
    return sys.stdin.isatty() and input("\nGo on? [y/N] ").strip().lower() in {"y", "yes"}


def _local(options: argparse.Namespace) -> int:
    if options.sweep or options.dry_run:
        sys.exit("SWEEP and DRY_RUN are for Google Cloud: give PROJECT=… BUCKET=… (and IMAGE=…)")
    run = Run(recording=options.record)
    status = pytest.main([str(_TESTS), "-q", "--tb=short"], plugins=[run])
    if options.record and status == pytest.ExitCode.OK:
        run.answers.keep_as_expected()
    print(run.answers.summary())  # noqa: T201  # a command's answer
    return int(status)


def _on_google(target: Target, options: argparse.Namespace) -> int:
    """Run the tests; sweep by label and write the report whatever happens, Ctrl-C and SIGTERM included."""
    os.environ.update(target.environment())
    signal.signal(signal.SIGTERM, _interrupt)
    run = Run()
    status = int(pytest.ExitCode.INTERRUPTED)
    try:
        # No test of a run may be cut off by a limit that is meant for this machine.
        status = int(pytest.main([str(_TESTS), "-q", "--tb=short", "--timeout=0"], plugins=[run]))
    finally:
        left = sweep(Cloud(target=target, made=run.answers.made), run=target.run)
        run.answers.problems += [f"not deleted: {each}" for each in left]
        run.answers.write(options.report, target)
        print(run.answers.summary())  # noqa: T201  # a command's answer
        print(f"{options.report} can be attached to a bug report")  # noqa: T201  # a command's answer
    return status or _told(left)


def _swept(target: Target) -> int:
    return _told(sweep(Cloud(target=target)))


def _told(left: list[str]) -> int:
    for each in left:
        print(f"not deleted: {each}", file=sys.stderr)  # noqa: T201  # a command's answer
    return 1 if left else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
