"""The folders of the runs, read from the bucket into records."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taxi_ml.record.rollout import parse_roll_back
from taxi_ml.record.run import DOCUMENTS, read_record, read_run
from taxi_ml.record.track import track_record
from vertex_airflow.labels import job_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taxi_ml.record.rollout import RollBack
    from taxi_ml.record.run import PinnedRun, RunRecord
    from taxi_ml.record.track import TrackRecord
    from vertex_airflow.objects import Listed, ObjectStore

_MOST_BYTES: Final = 32 * 1024 * 1024
_MOST_ATTEMPTS: Final = 20
_MOST_RUNS: Final = 120
_READERS: Final = 8
_DIGEST: Final = 10
# These stand together in the folder of the pipeline job that was judged, which need not be the first one.
_OF_THE_GATE: Final = frozenset({"report.json", "decision.json"})


class Contents:
    """Contents by address and generation, which never change; the ones used longest ago give way."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most = most_bytes
        self._size = 0
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, store: ObjectStore, uri: str, generation: int) -> bytes:
        """Return the content of an object that a listing has found.

        Raises:
            FileNotFoundError: if it has been deleted since.

        """
        key = (uri, generation)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = store.read(uri)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = content
                self._size += len(content)
            while self._size > self._most:
                _, dropped = self._kept.popitem(last=False)
                self._size -= len(dropped)
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRun:
    """The record of a run, and the address of its model card, empty if it has none."""

    record: RunRecord
    card: str


class Folders:
    """Reads the folders under ``<bucket>/runs``."""

    def __init__(self, bucket: str) -> None:
        self._root = f"{bucket.rstrip('/')}/runs"
        self._contents = Contents()

    def find(self, store: ObjectStore, dag_id: str, run_id: str) -> FoundRun | None:
        """Return a run, or None if it has pinned no settings yet.

        Raises:
            ValueError: if its run.json cannot be read.

        """
        # The ids of a run's jobs differ in their last characters only.
        listing = store.listing(f"{self._root}/{job_id(dag_id, run_id)[:-_DIGEST]}")
        found = self._places(listing, dag_id, run_id)
        if "run.json" not in found:
            return None
        pinned = self._pinned(store, listing, found["run.json"])
        return self._record(store, listing, found, pinned)

    def track(self, store: ObjectStore, dag_id: str) -> TrackRecord:
        """Return the track record of a DAG; a run whose run.json cannot be read is not in it."""
        listing = store.listing(f"{self._root}/")
        with ThreadPoolExecutor(_READERS) as readers:
            pinned = [
                run
                for run in readers.map(
                    lambda uri: self._pinned_or_none(store, listing, uri),
                    [uri for uri in listing if uri.endswith("/run.json")],
                )
                if run is not None and run.dag_id == dag_id
            ]
            compared = sorted(
                (run for run in pinned if run.compares), key=lambda run: (run.window.end, run.run_after)
            )
            shown = compared[-_MOST_RUNS:]
            records = [
                found.record
                for found in readers.map(
                    lambda run: self._record(store, listing, self._places(listing, dag_id, run.run_id), run),
                    shown,
                )
            ]
        return track_record(
            dag_id,
            records,
            self._roll_backs(store, listing),
            left_out=len(pinned) - len(compared),
            older=len(compared) - len(shown),
        )

    def _places(self, listing: Mapping[str, Listed], dag_id: str, run_id: str) -> dict[str, str]:
        """Return the addresses of a run's documents by name: those of its last attempt that has them."""
        folders = [f"{self._root}/{job_id(dag_id, run_id, attempt)}" for attempt in range(_MOST_ATTEMPTS)]
        judged = next(
            (folder for folder in reversed(folders) if f"{folder}/decision.json" in listing), folders[0]
        )
        found = {}
        for name in (*DOCUMENTS, "card.html"):
            places = [judged] if name in _OF_THE_GATE or name == "card.html" else reversed(folders)
            for folder in places:
                if f"{folder}/{name}" in listing:
                    found[name] = f"{folder}/{name}"
                    break
        return found

    def _record(
        self, store: ObjectStore, listing: Mapping[str, Listed], found: Mapping[str, str], pinned: PinnedRun
    ) -> FoundRun:
        documents = {
            name: self._contents.read(store, uri, listing[uri].generation)
            for name, uri in found.items()
            if name in DOCUMENTS
        }
        decision = found.get("decision.json", "")
        location = f"projects/{pinned.project}/locations/{pinned.region}"
        return FoundRun(
            record=read_record(
                documents,
                decided_at=listing[decision].updated if decision else None,
                job=f"{location}/pipelineJobs/{decision.split('/')[-2]}" if decision else "",
            ),
            card=found.get("card.html", ""),
        )

    def _pinned(self, store: ObjectStore, listing: Mapping[str, Listed], uri: str) -> PinnedRun:
        return read_run(self._contents.read(store, uri, listing[uri].generation))

    def _pinned_or_none(
        self, store: ObjectStore, listing: Mapping[str, Listed], uri: str
    ) -> PinnedRun | None:
        try:
            return self._pinned(store, listing, uri)
        except (ValueError, FileNotFoundError):
            return None

    def _roll_backs(self, store: ObjectStore, listing: Mapping[str, Listed]) -> Iterable[RollBack]:
        for uri, listed in listing.items():
            if uri.endswith("/roll_back.json"):
                try:
                    yield parse_roll_back(self._contents.read(store, uri, listed.generation))
                except (ValueError, FileNotFoundError):
                    continue
