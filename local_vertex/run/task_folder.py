"""Maps gs:// to folders of this machine and back, with a task's own outputs in a staging folder.

A file in the object store's root is not an object, and breaks listings, until it is adopted. A task
therefore writes into a staging root of the same layout, and its folder moves into the store in one step.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local_vertex.run.ports import Adopt

_SCHEME = "gs://"
_URI = re.compile(r"gs://[^\s\"'\\,@]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFolder:
    """The folder of one task: `uri` for readers, below `staging_root` until it is published."""

    uri: str
    gcs_root: Path
    staging_root: Path

    @property
    def staged(self) -> Path:
        """The folder that the task writes to."""
        return self.staging_root / self.uri.removeprefix(_SCHEME)

    @property
    def published(self) -> Path:
        """The folder of the outputs once the task has ended."""
        return self.gcs_root / self.uri.removeprefix(_SCHEME)

    def create(self) -> None:
        """Make the folder, empty: TFX reads a stale executor_output.json as its driver's."""
        self.discard()
        self.staged.mkdir(parents=True)

    def discard(self) -> None:
        """Remove the staging folder."""
        shutil.rmtree(self.staged, ignore_errors=True)

    def publish(self, adopt: Adopt) -> None:
        """Turn everything that was written into objects, all at once."""
        adopt(self.staging_root, self.staged)
        shutil.rmtree(self.published, ignore_errors=True)
        self.published.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(self.staged, self.published)

    def to_local(self, text: str) -> str:
        """Replace each gs:// in `text` by its folder on this machine."""
        own = re.escape(self.uri) + r"(?![\w-])"
        text = re.sub(own, lambda _: str(self.staged), text)
        return text.replace(_SCHEME, f"{self.gcs_root}/")

    def to_gcs(self, text: str) -> str:
        """Undo `to_local`."""
        return text.replace(str(self.staged), self.uri).replace(f"{self.gcs_root}/", _SCHEME)

    def written_elsewhere(self, text: str, since: float) -> Iterator[Path]:
        """Yield the files below the gs:// URIs in `text` that were written after `since` (POSIX seconds).

        A Pusher writes to a destination of its own, which is in its parameters.
        """
        for uri in sorted(set(_URI.findall(text))):
            path = self.gcs_root / uri.removeprefix(_SCHEME).rstrip("/")
            if not uri.startswith(self.uri) and path.is_relative_to(self.gcs_root) and path != self.gcs_root:
                candidates = path.rglob("*") if path.is_dir() else iter((path,))
                yield from (file for file in candidates if file.is_file() and file.stat().st_mtime >= since)
