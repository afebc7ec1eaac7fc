"""Deployments with fake programs on the PATH, which record their calls and answer as a test says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deploy.composer import packages
from deploy.composer.airflow_api import Patience
from deploy.composer.deployment import NOT_COPIED, Deployment, image_tag
from deploy.composer.shell import CommandError, Shell
from deploy.composer.target import Target, TargetError
from taxi_ml import image

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENTS = ("dev", "staging", "prod")
DAG_ID = "taxi_training"
TOKEN = "the-token-of-a-test"  # noqa: S105  # not a real one
IMAGE = f"registry.example/taxi-dev/pipeline:{image_tag()}"
INSTALLED = "\n".join(f"{name} {version}" for name, version in packages.locked().items())
FAKE = f"""#!{sys.executable} -S
import json, os, sys
call = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
with open(os.environ["FAKE_CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
for words, answer, code in json.load(open(os.environ["FAKE_ANSWERS"])):
    if words in " ".join(call):
        print(answer)
        sys.exit(code)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The fake gcloud, docker and make: their answers, and their calls."""

    calls: Path
    answers: Path
    api: dict[str, object]

    def answer(self, words: str, text: str, code: int = 0) -> None:
        """Set the answer of the next calls that contain `words`, ahead of earlier answers."""
        given: list[Any] = json.loads(self.answers.read_text())
        self.answers.write_text(json.dumps([[words, text, code], *given]))

    def called(self) -> list[str]:
        """Return the calls so far, each as one line."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [" ".join(json.loads(line)) for line in lines]

    def airflow(self, path: str, answer: object) -> None:
        """Set Airflow's answer at a path of its API."""
        self.api[path] = answer

    def changes(self) -> list[str]:
        """Return the calls that change something."""
        looks = ("describe", "list-packages", "print-access-token")
        return [call for call in self.called() if not any(look in call for look in looks)]


@pytest.fixture
def airflow() -> Iterator[tuple[str, dict[str, object]]]:
    """Serve Airflow's API, which has parsed the DAG later than any deployment, and return its address."""
    answers: dict[str, object] = {f"dags/{DAG_ID}": {"last_parsed_time": "2999-01-01T00:00:00Z"}}

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.removeprefix("/api/v2/"))
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
            self.send_response(200 if found and allowed else 404 if allowed else 403)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow: tuple[str, dict[str, object]]
) -> Programs:
    """Put programs on the PATH for a fresh environment, without image and settings."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcloud", "docker", "make"):
        (folder / name).write_text(FAKE)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    fakes = Programs(calls=tmp_path / "calls", answers=tmp_path / "answers.json", api=airflow[1])
    fakes.answers.write_text("[]")
    monkeypatch.setenv("FAKE_CALLS", str(fakes.calls))
    monkeypatch.setenv("FAKE_ANSWERS", str(fakes.answers))
    fakes.answer("artifacts repositories describe", "registry.example/taxi-dev")
    fakes.answer("images describe", "", 1)
    fakes.answer("list-packages", INSTALLED)
    fakes.answer("dagGcsPrefix", "gs://environment/dags")
    fakes.answer("airflowUri", airflow[0])
    fakes.answer("print-access-token", TOKEN)
    monkeypatch.chdir(REPOSITORY)
    return fakes


def deploy(*, dry_run: bool = False, tested: bool = False) -> None:
    """Run all steps for dev."""
    target = Target.read(REPOSITORY / "deploy" / "composer" / "env" / "dev.env")
    patience = Patience(attempts=2, seconds=0)
    shell = Shell(dry_run=dry_run)
    for _, work in Deployment(shell=shell, target=target, tested=tested, patience=patience).steps():
        work()


def place(calls: list[str], words: str) -> int:
    """Return the index of the first call with these words."""
    return next(number for number, call in enumerate(calls) if words in call)


def test_the_order_lets_nothing_run_too_early(programs: Programs) -> None:
    """Tests, image, packages, settings, code, DAG, check: each before what needs it."""
    programs.answer("list-packages", INSTALLED.replace("jinja2 ", "jinja-two "))

    deploy()

    calls = programs.called()
    order = (
        "make lint test",
        "docker build --platform linux/amd64",
        f"docker push {IMAGE}",
        "--update-pypi-package jinja2==",
        f"TAXI_PIPELINE_IMAGE={IMAGE}",
        "rsync taxi_ml gs://environment/plugins/taxi_ml",
        "rsync plugins/taxi_airflow gs://environment/plugins/taxi_airflow",
        "rsync plugins/vertex_airflow gs://environment/plugins/vertex_airflow",
        "rsync dags gs://environment/dags/taxi_vertex",
        "print-access-token",
    )
    assert [place(calls, words) for words in order] == sorted(place(calls, words) for words in order)


def test_a_dry_run_starts_nothing(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command is printed and none is run, not even a read-only one."""
    deploy(dry_run=True)

    printed = capsys.readouterr().out
    assert programs.called() == []
    assert [
        words for words in ("docker push", "update-env-variables", "rsync dags") if words not in printed
    ] == []


def test_a_second_deployment_copies_only(programs: Programs) -> None:
    """An existing image, packages and settings are left alone: each would restart Airflow for nothing."""
    target = Target.read(REPOSITORY / "deploy" / "composer" / "env" / "dev.env")
    present = [f"{name}={text}" for name, text in target.settings.items()]
    programs.answer("images describe", "found")
    programs.answer("envVariables", ";".join([*present, f"TAXI_PIPELINE_IMAGE={IMAGE}"]))

    deploy(tested=True)

    assert {call.split()[1] for call in programs.changes()} == {"storage"}


@pytest.mark.parametrize("words", ["make lint test", "docker build", "docker push", "update-env", "rsync"])
def test_a_failing_step_stops(programs: Programs, words: str) -> None:
    """Nothing runs after a command that failed, and the error names the command."""
    programs.answer(words, "", 3)

    with pytest.raises(CommandError, match=r"exited with status 3"):
        deploy()

    assert words in programs.called()[-1]


def test_a_dag_that_does_not_parse_fails_the_deployment(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    """Import errors are printed, and the deployment says what to do."""
    programs.airflow(f"dags/{DAG_ID}", {"last_parsed_time": "2020-01-01T00:00:00Z"})
    programs.airflow("importErrors", {"import_errors": [{"filename": "dags/x.py", "stack_trace": "Oh"}]})

    with pytest.raises(CommandError, match=r"files that cannot be imported: 1\); fix"):
        deploy(tested=True)

    assert "dags/x.py:\nOh" in capsys.readouterr().out


def test_a_dag_that_nobody_knows_fails_the_deployment(programs: Programs) -> None:
    """A DAG that Airflow never read is not deployed."""
    programs.api.clear()

    with pytest.raises(CommandError, match="has not parsed taxi_training"):
        deploy(tested=True)


def test_a_token_that_airflow_refuses_fails_the_deployment(programs: Programs) -> None:
    """The error of an account without access to Airflow has Airflow's answer."""
    programs.answer("print-access-token", "another")

    with pytest.raises(CommandError, match="answered 403"):
        deploy(tested=True)


def test_the_token_is_not_printed(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    """The access token of a person or CI is not in any log."""
    deploy(tested=True)

    assert "print-access-token" in " ".join(programs.called())
    assert TOKEN not in capsys.readouterr().out


def test_the_image_carries_its_labels(programs: Programs) -> None:
    """The image's labels say what it was built from, which preflight compares."""
    deploy(tested=True)

    built = next(call for call in programs.called() if call.startswith("docker build"))
    assert all(f"--label {name}={text}" in built for name, text in image.labels().items())


def test_the_image_is_built_on_the_pinned_base(programs: Programs) -> None:
    """The image is named by its digest: a tag may point to another image later."""
    deploy(tested=True)

    built = next(call for call in programs.called() if call.startswith("docker build"))
    assert re.search(r"--build-arg BASE=debian:trixie-slim@sha256:[0-9a-f]{64} ", built)


def test_a_deployed_image_has_beams_worker(programs: Programs) -> None:
    """Beam's image is the one that the repository names: Dataflow starts its worker."""
    deploy(tested=True)

    built = next(call for call in programs.called() if call.startswith("docker build"))
    assert f"--build-arg BEAM_SDK={(REPOSITORY / 'deploy/docker/beam.txt').read_text().strip()} " in built


@pytest.mark.parametrize(
    "changed",
    [
        "deploy/docker/base.txt",
        "deploy/docker/beam.txt",
        "deploy/docker/pipeline.Dockerfile",
        "deploy/docker/slim.sh",
        "deploy/docker/install-uv.sh",
        "requirements/pipeline.txt",
        "taxi_ml/naming.py",
    ],
)
def test_whatever_makes_the_image_makes_its_tag(tmp_path: Path, changed: str) -> None:
    """A fixed base, another script or other code is another image, which is built and pushed."""
    for folder in ("taxi_ml", "deploy/docker", "requirements"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    before = image_tag(tmp_path)

    with (tmp_path / changed).open("a") as file:
        file.write("# fixed\n")

    assert (before, image_tag(tmp_path) == before) == (image_tag(), False)


def test_only_our_own_folders_are_emptied(programs: Programs) -> None:
    """Other people's DAGs and plugins in the environment's bucket stay."""
    deploy(tested=True)

    emptied = {call.split()[4] for call in programs.called() if "--delete-unmatched" in call}
    assert emptied == {
        "gs://environment/plugins/taxi_ml",
        "gs://environment/plugins/taxi_airflow",
        "gs://environment/plugins/vertex_airflow",
        "gs://environment/dags/taxi_vertex",
    }


@pytest.mark.parametrize(
    ("path", "copied"),
    [
        ("taxi_training.py", True),
        ("sql/build_dataset.sql", True),
        ("__pycache__/a.pyc", False),
        ("gate/__pycache__/a.pyc", False),
        (".hidden", False),
        ("a/.hidden/b", False),
        (".airflowignore", True),
    ],
)
def test_bytecode_and_hidden_files_stay_here(path: str, *, copied: bool) -> None:
    """The copied files are those that the image's label of the code covers."""
    # gcloud matches at the beginning.
    assert (re.match(NOT_COPIED, path) is None) == copied


def test_a_setting_may_hold_commas(programs: Programs) -> None:
    """Gcloud splits at another separator, which no setting holds."""
    deploy(tested=True)

    given = next(call for call in programs.called() if "update-env-variables" in call)
    assert "^|^" in given


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_can_be_read(environment: str) -> None:
    """The files that are here name everything, with settings that are accepted."""
    target = Target.read(REPOSITORY / "deploy" / "composer" / "env" / f"{environment}.env")

    assert target.settings["TAXI_BUCKET"].startswith("gs://")
    assert environment in target.composer_environment


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "does not exist"),
        ("PROJECT=p\n", "lacks REGION, COMPOSER_ENVIRONMENT"),
        ("export A\n", "is not NAME=value"),
        ("  # a remark\nPROJECT=p\n", "lacks REGION, COMPOSER_ENVIRONMENT"),
        ("PROJECT=p\nREGION=r\nCOMPOSER_ENVIRONMENT=c\nARTIFACT_REPOSITORY=a\n", "TAXI_BUCKET"),
    ],
)
def test_a_wrong_file_says_what_to_do(tmp_path: Path, text: str | None, said: str) -> None:
    """A missing name in the file is an error that names it, before anything runs."""
    file = tmp_path / "dev.env"
    if text is not None:
        file.write_text(text)

    with pytest.raises(TargetError, match=said):
        Target.read(file)


def test_the_command_prints_what_it_would_do(programs: Programs) -> None:
    """`make deploy ENV=dev DRY_RUN=1` is this command, and it needs no gcloud."""
    command = [sys.executable, "-m", "deploy.composer", "dev", "--dry-run"]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, programs.called()) == (0, [])
    assert "nothing was changed: this was a dry run" in ended.stdout


def test_the_command_names_the_step_that_failed(programs: Programs) -> None:
    """The terminal shows the step that failed, and what to do."""
    programs.answer("docker build", "", 1)

    command = [sys.executable, "-m", "deploy.composer", "dev", "--tested"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "deploy: could not build and push the pipeline image" in ended.stderr


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("composer environments update", ("--update-env-variables", "--update-pypi-package")),
        ("storage buckets create", ("--location", "--uniform-bucket-level-access")),
        ("storage rsync", ("--checksums-only", "--delete-unmatched-destination-objects", "--exclude")),
        ("composer environments list-packages", ("--location",)),
        ("artifacts repositories describe", ("--location",)),
        ("storage buckets create", ("--uniform-bucket-level-access", "--public-access-prevention")),
        ("storage buckets update", ("--versioning",)),
    ],
)
def test_gcloud_has_these_flags(command: str, flags: tuple[str, ...]) -> None:
    """The installed gcloud knows every flag that is used."""
    printed = subprocess.run(
        [str(shutil.which("gcloud")), *command.split(), "--help"], capture_output=True, text=True, check=True
    ).stdout

    assert [flag for flag in flags if flag not in printed] == []
