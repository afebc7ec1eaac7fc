"""The steps of a deployment, in order. Each can be repeated: finished work is skipped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from deploy.composer import packages
from deploy.composer.airflow_api import AirflowApi, Patience
from taxi_ml import image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deploy.composer.shell import Shell
    from deploy.composer.target import Target

DAG_ID: Final = "taxi_training"
DOCKERFILE: Final = "deploy/docker/pipeline.Dockerfile"
BASE: Final = "deploy/docker/base.txt"
BEAM: Final = "deploy/docker/beam.txt"
# The files that determine the image, besides the code and the lock that its labels name.
RECIPE: Final = (DOCKERFILE, BASE, BEAM, "deploy/docker/install-uv.sh", "deploy/docker/slim.sh")
# Folders and their destinations in the environment's bucket. Each destination is ours alone, so that files
# deleted here can be deleted there. Composer puts plugins/ on the import path, so taxi_ml goes there, too.
FOLDERS: Final = {
    "taxi_ml": "plugins/taxi_ml",
    "plugins/taxi_airflow": "plugins/taxi_airflow",
    "plugins/vertex_airflow": "plugins/vertex_airflow",
    "dags": "dags/taxi_vertex",
}
LOCK: Final = ("requirements/pipeline.txt", "plugins/requirements/pipeline.txt")
NOT_COPIED: Final = r"(^|.*/)(__pycache__|\.(?!airflowignore$)[^/]*)(/.*|$)"
IMAGE_SETTING: Final = "TAXI_PIPELINE_IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Deploys the working tree to a target."""

    shell: Shell
    target: Target
    tested: bool = False
    patience: Patience = field(default_factory=Patience)

    def steps(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the steps with their names, each after those that it depends on."""
        if not self.tested:
            yield "lint and test", lambda: self.shell.run("make", "lint", "test")
        yield "build and push the pipeline image", self.push_image
        yield "install packages that the environment lacks", self.install_packages
        yield "set the environment's variables", self.set_variables
        yield "copy the files", self.copy_files
        yield "check that the DAG parsed", self.check_dag

    def push_image(self) -> None:
        """Build and push the image, tagged by a digest of its content, unless the registry has it."""
        name = self._image()
        if self.shell.succeeds("gcloud", "artifacts", "docker", "images", "describe", name):
            self.shell.say(f"{name} exists already")
            return
        labels = [part for label, text in image.labels().items() for part in ("--label", f"{label}={text}")]
        self.shell.run("gcloud", "auth", "configure-docker", name.partition("/")[0], "--quiet")
        self.shell.run(
            *("docker", "build", "--platform", "linux/amd64", "--target", "pipeline", *labels),
            *("--build-arg", f"BASE={image_in(BASE)}", "--build-arg", f"BEAM_SDK={image_in(BEAM)}"),
            *("--file", DOCKERFILE, "--tag", name, "."),
        )
        self.shell.run("docker", "push", name)

    def install_packages(self) -> None:
        """Install packages that are missing or too old, and leave all others at their pinned releases."""
        pretended = "\n".join(f"{name} {version}" for name, version in packages.locked().items())
        listed = self.shell.ask(*self._composer("list-packages"), pretended=pretended)
        lacking = packages.missing(packages.wanted(), packages.listed(listed.splitlines()), packages.locked())
        if lacking:
            flags = [part for each in lacking for part in ("--update-pypi-package", each)]
            self.shell.run(*self._composer("update", *flags))
        else:
            self.shell.say("no package is missing")

    def set_variables(self) -> None:
        """Set the settings and the image's name as environment variables."""
        variables = {**self.target.settings, IMAGE_SETTING: self._image()}
        # Settings may contain commas, so choose another separator, which gcloud reads between carets.
        given = "^|^" + "|".join(f"{name}={text}" for name, text in sorted(variables.items()))
        described = self._describe("value(config.softwareConfig.envVariables)", pretended="")
        if all(f"{name}={text}" in described.split(";") for name, text in variables.items()):
            self.shell.say("they are set already")
            return
        self.shell.run(*self._composer("update", "--update-env-variables", given))

    def copy_files(self) -> None:
        """Copy the modules that the DAG imports, then the DAG, and delete removed files from our folders."""
        dags = self._describe("value(config.dagGcsPrefix)", pretended="gs://<bucket of the environment>/dags")
        bucket = dags.removesuffix("/dags")
        self.shell.run("gcloud", "storage", "cp", LOCK[0], f"{bucket}/{LOCK[1]}")
        for source, folder in FOLDERS.items():
            self.shell.run(
                *("gcloud", "storage", "rsync", source, f"{bucket}/{folder}", "--recursive"),
                *("--checksums-only", "--delete-unmatched-destination-objects", f"--exclude={NOT_COPIED}"),
            )

    def check_dag(self) -> None:
        """Wait until Airflow has parsed the copied DAG; raise CommandError if it cannot be imported."""
        uri = self._describe("value(config.airflowUri)", pretended="<Airflow>")
        token = self.shell.ask("gcloud", "auth", "print-access-token", pretended="")
        self.shell.say(f"+ GET {uri}/api/v2/dags/{DAG_ID} until it is parsed, else /api/v2/importErrors")
        if not self.shell.dry_run:
            api = AirflowApi(uri=uri, token=token)
            api.wait_parsed(DAG_ID, datetime.now(UTC), patience=self.patience, say=self.shell.say)

    def _image(self) -> str:
        registry = self.shell.ask(
            *("gcloud", "artifacts", "repositories", "describe", self.target.artifact_repository),
            *("--project", self.target.project, "--location", self.target.region),
            *("--format", "value(registryUri)"),
            pretended="<registry>",
        )
        return f"{registry}/pipeline:{image_tag()}"

    def _describe(self, fields: str, *, pretended: str) -> str:
        return self.shell.ask(*self._composer("describe", "--format", fields), pretended=pretended)

    def _composer(self, verb: str, *arguments: str) -> tuple[str, ...]:
        place = ("--project", self.target.project, "--location", self.target.region)
        return (
            "gcloud",
            "composer",
            "environments",
            verb,
            self.target.composer_environment,
            *place,
            *arguments,
        )


def image_in(file: str) -> str:
    """Return the image that a file of the repository names, with its digest if it has one."""
    return (packages.REPOSITORY / file).read_text().strip()


def image_tag(repository: Path = packages.REPOSITORY) -> str:
    """Return the tag of the working tree's image: a digest of its labels and its build files.

    These include the names of the base image and of Beam's, so that a newer base gives another tag.
    """
    labels = image.labels(repository / image.CODE.name, repository / LOCK[0])
    recipe = b"".join((repository / file).read_bytes() for file in RECIPE)
    return hashlib.sha256("".join(labels.values()).encode() + recipe).hexdigest()[:16]
