"""The supply chain: uv, base images, actions of the workflows, updates, and the bills of materials."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
DOCKERFILES = sorted((REPOSITORY / "deploy" / "docker").glob("*.Dockerfile"))
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))


def wheel(folder: Path) -> str:
    """Make a package that is named uv, and return its hash."""
    file = folder / "uv-1.2.3-py3-none-any.whl"
    metadata = "uv-1.2.3.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("uv.py", "")
        archive.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 1.2.3\n")
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def install_uv(folder: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """Install uv from the packages in a folder, as a lock with this hash has it, into `<folder>/target`."""
    lock = folder / "lock.txt"
    hashes = f"    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{digest}\n"
    lock.write_text(f"typing-extensions==4.0.0 \\\n{hashes}uv==1.2.3 \\\n{hashes}zipp==3.0.0 \\\n{hashes}")
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_TARGET": str(folder / "target")}
    return subprocess.run(
        [REPOSITORY / "deploy" / "docker" / "install-uv.sh", Path(sys.executable).with_name("pip"), lock],
        env={**os.environ, **pip},
        capture_output=True,
        text=True,
        check=False,
    )


def test_uv_is_installed_as_it_is_locked(tmp_path: Path) -> None:
    """The package with a hash of the lock is installed, and no other package of the lock."""
    ended = install_uv(tmp_path, wheel(tmp_path))

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "target" / "uv.py").exists()


def test_another_uv_is_refused(tmp_path: Path) -> None:
    """A package of the same name and version with other content is not installed."""
    wheel(tmp_path)

    ended = install_uv(tmp_path, "1" * 64)

    assert ended.returncode != 0
    assert "DO NOT MATCH THE HASHES" in ended.stderr
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("file", [REPOSITORY / "Makefile", *DOCKERFILES], ids=lambda file: file.name)
def test_nothing_else_asks_pip(file: Path) -> None:
    """Every package is installed by uv from a lock with hashes, and uv by the script."""
    text = file.read_text()

    assert re.findall(r"pip install|uv pip install|curl|wget", text) == []
    assert ("install-uv.sh" in text) == ("uv pip sync" in text)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_base_image_can_be_pinned(file: Path) -> None:
    """Every stage starts from an earlier one or from the build argument, to which a digest can be given."""
    text = file.read_text()
    stages = re.findall(r"(?m)^FROM (\S+)(?: AS (\S+))?$", text)

    named = {name for _, name in stages}
    beams = {"${BEAM_SDK}"} if file.name == "pipeline.Dockerfile" else set()
    assert {base for base, _ in stages} - named == {"${BASE}"} | beams
    assert re.search(r"(?m)^ARG BASE=debian:(trixie|bookworm)-slim$", text)


def test_beams_worker_is_that_of_the_image() -> None:
    """Beam's image has the lock's Beam and the Python of the lock and of the base image, in both places."""
    lock = (REPOSITORY / "requirements/pipeline.txt").read_text()
    (beam,) = re.findall(r"(?m)^apache-beam==(\S+)", lock)
    ((python,),) = {
        tuple(re.findall(r"--python-version (\S+)", line))
        for line in (REPOSITORY / "Makefile").read_text().splitlines()
        if "--python-version" in line and "manylinux" in line
    }
    dockerfile = (REPOSITORY / "deploy" / "docker" / "pipeline.Dockerfile").read_text()
    deployed = (REPOSITORY / "deploy" / "docker" / "beam.txt").read_text().strip()

    image = f"apache/beam_python{python}_sdk:{beam}"
    assert re.findall(r"(?m)^ARG BEAM_SDK=(\S+)$", dockerfile) == [image]
    assert re.fullmatch(rf"{re.escape(image)}(@sha256:[0-9a-f]{{64}})?", deployed)


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_no_container_runs_as_root(file: Path) -> None:
    """A stage that is run ends as another user; those that are only copied from are not run."""
    text = file.read_text()
    stages = re.split(r"(?m)^FROM ", text)[1:]

    run = [stage for stage in stages if "ENTRYPOINT" in stage or "CMD [" in stage]
    assert run != []
    assert [re.findall(r"(?m)^USER (\S+)$", stage)[-1] for stage in run] == ["taxi"] * len(run)


def workflow(name: str) -> dict[str, Any]:
    """Return a workflow as its keys and values."""
    document: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github" / "workflows" / name).read_text())
    return document


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_by_commit(file: Path) -> None:
    """Actions are pinned by commit, since a tag can be moved to other code; the release is beside it."""
    uses = re.findall(r"uses: (.+)", file.read_text())

    assert uses != []
    assert [
        use for use in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
    ] == []


def test_the_job_that_gets_a_token_runs_no_tests() -> None:
    """Only the deploying job can become the deployer, and it leaves tests to the job before it."""
    document = workflow("deploy.yaml")
    trusted = {
        name for name, job in document["jobs"].items() if job["permissions"].get("id-token") == "write"
    }

    (deploy,) = (document["jobs"][name] for name in trusted)
    runs = [step["run"] for step in deploy["steps"] if "run" in step]
    assert (document["permissions"], trusted, deploy["needs"]) == ({}, {"deploy"}, "test")
    assert runs == ["make deploy TESTED=1"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_checkout_leaves_no_credentials(file: Path) -> None:
    """The token of the checkout is not kept in `.git`, where code of any package could read it."""
    jobs = workflow(file.name)["jobs"].values()

    checkouts = [step for job in jobs for step in job["steps"] if "actions/checkout" in step.get("uses", "")]
    assert [step["with"]["persist-credentials"] for step in checkouts] == [False] * len(jobs)


def test_a_pull_request_runs_what_ci_runs_and_can_only_read() -> None:
    """Code from pull requests gets a read-only token, no secret, and a time limit."""
    document = workflow("ci.yaml")
    text = (REPOSITORY / ".github" / "workflows" / "ci.yaml").read_text()
    (job,) = document["jobs"].values()
    (command,) = (step["run"] for step in job["steps"] if "run" in step)

    assert re.findall(r"(?m)^  (pull_request\w*|push):", text) == ["pull_request", "push"]
    assert (document["permissions"], job.get("permissions")) == ({"contents": "read"}, None)
    assert (command, job["timeout-minutes"]) == (".ci/run", 90)
    assert "secrets." not in text


def test_renovate_reads_every_base_image() -> None:
    """The expression of `renovate.json` finds name and tag in each file that names an image."""
    (manager,) = json.loads((REPOSITORY / "renovate.json").read_text())["customManagers"]
    (expression,) = (match.replace("(?<", "(?P<") for match in manager["matchStrings"])
    files = [REPOSITORY / "deploy" / "docker" / name for name in ("base.txt", "beam.txt")]

    found = [re.match(expression, file.read_text()) for file in files]
    assert [each and each["depName"] + ":" + each["currentValue"] for each in found] == [
        file.read_text().strip().partition("@")[0] for file in files
    ]


def test_a_commit_is_checked_by_the_linters_of_make_lint() -> None:
    """`.pre-commit-config.yaml` and `make lint` run the same programs, all from the locked environment."""
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    lint = (REPOSITORY / "Makefile").read_text().partition("\nlint:")[2].partition("\n\n")[0]

    hooks = re.findall(
        r"\.venv/bin/([\w-]+(?: check| format)?)", " ".join(hook["entry"] for hook in local["hooks"])
    )
    assert hooks == re.findall(r"\$\(BIN\)/([\w-]+(?: check| format)?)", lint)


def test_a_tested_deployment_sets_up_no_pipeline_environment() -> None:
    """The deploying job installs the environment of `python -m deploy.composer`, without TFX."""
    command = ["make", "--dry-run", "--old-file=.venv/complete", "deploy", "ENV=dev", "TESTED=1"]

    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout

    assert "-m deploy.composer dev" in printed
    assert "pipeline_env.sh" not in printed


def test_the_tests_leave_a_bill_of_materials() -> None:
    """The workflow keeps what `make sbom` writes."""
    steps = workflow("deploy.yaml")["jobs"]["test"]["steps"]

    (made,) = (step["run"] for step in steps if "run" in step)
    (kept,) = (step["with"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert "sbom" in made.split()
    assert kept["path"] == "sbom/"


def test_a_bill_of_materials_has_what_is_locked(tmp_path: Path) -> None:
    """`make sbom` writes CycloneDX for each lock: every package with its version and hashes."""
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements/sbom.txt", "requirements/database.txt"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parents[1])
    lock = (tmp_path / "requirements/database.txt").read_text()

    command = ["make", "--old-file=.venv/complete", "sbom"]
    subprocess.run(command, cwd=tmp_path, check=True)

    bill = json.loads((tmp_path / "sbom" / "database.cdx.json").read_text())
    versions = {f"{each['name']}=={each['version']}" for each in bill["components"]}
    hashes = {digest for each in bill["components"] for digest in _hashes(each)}
    assert (bill["bomFormat"], len(list((tmp_path / "sbom").iterdir()))) == ("CycloneDX", 3)
    assert versions == set(re.findall(r"(?m)^([\w.-]+==[\w.]+)", lock))
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", lock))


def _hashes(component: dict[str, Any]) -> list[str]:
    return [each["content"] for each in component["externalReferences"][0]["hashes"]]
