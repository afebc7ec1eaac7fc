"""The paths of a local cloud's state, and the names of its one project, bucket and region."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT: Final = "taxi-local"
BUCKET: Final = "taxi-local"
REGION: Final = "us-central1"
STATE_VARIABLE: Final = "LOCAL_GCP_STATE_DIR"

_REPOSITORY: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Paths of one local cloud; two with different ``state`` do not touch each other."""

    state: Path
    repository: Path = _REPOSITORY

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Layout:
        """Read LOCAL_GCP_STATE_DIR; absent or empty means ``.local`` in the repository."""
        folder = environ.get(STATE_VARIABLE) or _REPOSITORY / ".local"
        return cls(state=Path(os.path.abspath(folder)))  # noqa: PTH100  # keeps symbolic links as given

    @property
    def pipeline_python(self) -> Path:
        """The interpreter of the pipeline environment; need not exist."""
        return self.repository / ".pipeline" / "bin" / "python"

    @property
    def gcs_root(self) -> Path:
        """The folder in which ``gs://bucket/object`` is the file ``bucket/object``."""
        return self.state / "gcs"

    @property
    def bigquery(self) -> Path:
        """BigQuery's database."""
        return self.state / "bigquery"

    @property
    def vertex(self) -> Path:
        """Vertex AI's database, task folders and task logs."""
        return self.state / "vertex"

    @property
    def airflow(self) -> Path:
        """Airflow's home: its database, configuration and task logs."""
        return self.state / "airflow"

    @property
    def tls(self) -> Path:
        """The certificates of `up --tls`."""
        return self.state / "tls"

    @property
    def gcs_certificates(self) -> Path:
        """The certificates between the two servers of Cloud Storage."""
        return self.state / "gcs-certificates"

    @property
    def images(self) -> Path:
        """The interpreter that stands for each container image."""
        return self.state / "images.json"

    @property
    def own_images(self) -> Path:
        """Rows that a person adds to `images`; need not exist, and is never written or removed here."""
        return self.state / "own-images.json"

    @property
    def logs(self) -> Path:
        """One file per service."""
        return self.state / "logs"

    @property
    def stack_file(self) -> Path:
        """Ports and running services."""
        return self.state / "stack.json"

    @property
    def lock_file(self) -> Path:
        """The lock held while services start or stop."""
        return self.state / "stack.lock"
