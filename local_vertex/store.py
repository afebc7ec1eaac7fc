"""The state of the local Vertex AI in one SQLite file."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from local_vertex.domain.errors import ResourceExhausted
from local_vertex.domain.past import Past, Row

_LOG = logging.getLogger(__name__)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    parent TEXT NOT NULL,
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    body BLOB NOT NULL,
    UNIQUE (kind, name)
);
CREATE INDEX IF NOT EXISTS resources_by_parent ON resources (kind, parent, position);
CREATE TABLE IF NOT EXISTS tasks (
    job TEXT NOT NULL,
    task_id INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (job, task_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (ended REAL NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS samples_by_end ON samples (ended);
"""

# Primary result codes, https://www.sqlite.org/rescode.html.
_UNWRITABLE = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class DuplicateError(Exception):
    """A resource of that kind and name exists."""


class StateInUseError(Exception):
    """Another server works on the same file."""


class StateUnreadableError(Exception):
    """The file cannot be opened, or is not one that this server wrote."""


class Store:
    """Resources as opaque bodies, the tasks of pipeline jobs, counters, and samples of predictions.

    Safe for many threads: one connection behind a re-entrant lock. A `transaction` makes several
    calls atomic; single calls commit by themselves. `earlier` needs a `past` that is kept.
    """

    def __init__(self, path: Path, past: Past | None = None) -> None:
        """Open or create the file and claim it for this process.

        Raises StateInUseError, and StateUnreadableError, which leaves the file as it is.
        """
        self._past = past or Past()
        self._path = path
        self._claim = _claim(path)
        self._lock = threading.RLock()
        self._depth = 0
        self._ending = threading.Event()
        try:
            self._connection = _connect(path)
        except StateUnreadableError:
            self._claim.close()
            raise

    def unreadable(self, kind: str, error: Exception) -> StateUnreadableError:
        """Return the error of a body that is not of its kind."""
        return _unreadable(self._path, f"{kind}: {error}")

    def close(self) -> None:
        """Close the file; any later call raises sqlite3.ProgrammingError."""
        with self._lock:
            self._connection.close()
            self._claim.close()

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            # Extended codes, such as SQLITE_IOERR_WRITE, have the primary one in their lowest byte.
            if error.sqlite_errorcode & 0xFF in _UNWRITABLE:
                raise ResourceExhausted(
                    f"the disk of {self._path} cannot be written ({error}); free some space"
                ) from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls inside atomic: all are kept, or none if an exception leaves the block."""
        with self._lock:
            if self._depth == 0:
                self._execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._leave("ROLLBACK")
                raise
            self._leave("COMMIT")

    def _leave(self, statement: str) -> None:
        self._depth -= 1
        if self._depth:
            return
        try:
            # Some failures, a full disk among them, have ended the transaction already.
            if self._connection.in_transaction:
                self._execute(statement)
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()

    def record(self, event: str, write: Callable[[], object], *, final: bool) -> None:
        """Write down an event that has happened already, so that a full disk cannot refuse it.

        A `final` one is tried again until it is written or `stop_waiting` is called; meanwhile readers see
        the state before it, which is the one that a restart would begin with. Any other is superseded by a
        later one, and a failure is only logged. Not to be called inside a transaction.
        """
        pause = _FIRST_PAUSE
        while not self._is_written(event, write, first=pause == _FIRST_PAUSE):
            if not final:
                return
            if self._ending.wait(pause):
                _LOG.error("%s was never recorded: the server ended first", event)
                return
            pause = min(2 * pause, _LONGEST_PAUSE)
        if pause > _FIRST_PAUSE:
            _LOG.warning("%s is recorded now", event)

    def _is_written(self, event: str, write: Callable[[], object], *, first: bool) -> bool:
        try:
            write()
        except ResourceExhausted as error:
            if first:
                _LOG.warning("%s is not recorded: %s", event, error.message)
            return False
        return True

    def stop_waiting(self) -> None:
        """Let `record` give up events that cannot be written: the server is about to end."""
        self._ending.set()

    def insert(self, kind: str, name: str, parent: str, body: bytes) -> None:
        """Add a resource; raises DuplicateError if its name is taken."""
        with self._lock:
            self._note(kind, name)
            try:
                self._execute(
                    "INSERT INTO resources (kind, name, parent, body) VALUES (?, ?, ?, ?)",
                    (kind, name, parent, body),
                )
            except sqlite3.IntegrityError as error:
                raise DuplicateError(name) from error

    def replace(self, kind: str, name: str, body: bytes) -> None:
        """Give an existing resource a new body; does nothing if there is none."""
        with self._lock:
            self._note(kind, name)
            self._execute("UPDATE resources SET body = ? WHERE kind = ? AND name = ?", (body, kind, name))

    def find(self, kind: str, name: str) -> bytes | None:
        """Return the body of a resource, or None."""
        with self._lock:
            row = self._execute(
                "SELECT body FROM resources WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return None if row is None else row[0]

    def delete(self, kind: str, name: str) -> None:
        """Forget a resource, if it exists."""
        with self._lock:
            self._note(kind, name)
            self._execute("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))

    def bodies(self, kind: str, parent: str | None = None) -> list[bytes]:
        """Return all resources of a kind, or those of one parent, the newest first."""
        with self._lock:
            rows = self._execute(
                "SELECT body FROM resources WHERE kind = ?1 AND (?2 IS NULL OR parent = ?2)"
                " ORDER BY position DESC",
                (kind, parent),
            ).fetchall()
        return [row[0] for row in rows]

    def earlier(self, kind: str, parent: str | None = None, *, age: float) -> list[bytes]:
        """Return the result that `bodies` had `age` seconds ago, as far as the past is kept."""
        if age <= 0:
            return self.bodies(kind, parent)
        with self._lock:
            now = self._rows("SELECT position, name, parent, body FROM resources WHERE kind = ?", (kind,))
            then = self._past.rows(kind, now, age=age)
        return [row.body for row in then if parent in {None, row.parent}]

    def _note(self, kind: str, name: str) -> None:
        if not self._past.is_kept:
            return
        before = self._rows(
            "SELECT position, name, parent, body FROM resources WHERE kind = ? AND name = ?", (kind, name)
        )
        self._past.note(kind, name, before[0] if before else None)

    def _rows(self, query: str, values: tuple[object, ...]) -> list[Row]:
        return [
            Row(position=position, name=name, parent=parent, body=body)
            for position, name, parent, body in self._execute(query, values)
        ]

    def put_task(self, job: str, task_id: int, body: str) -> None:
        """Keep the record of a task, replacing an older one."""
        with self._lock:
            self._execute(
                "INSERT INTO tasks (job, task_id, body) VALUES (?, ?, ?)"
                " ON CONFLICT (job, task_id) DO UPDATE SET body = excluded.body",
                (job, task_id, body),
            )

    def tasks(self, job: str) -> list[str]:
        """Return the records of a job's tasks by task id."""
        with self._lock:
            rows = self._execute("SELECT body FROM tasks WHERE job = ? ORDER BY task_id", (job,)).fetchall()
        return [row[0] for row in rows]

    def delete_tasks(self, job: str) -> None:
        """Forget the tasks of a job."""
        with self._lock:
            self._execute("DELETE FROM tasks WHERE job = ?", (job,))

    def add_samples(self, samples: Iterable[tuple[float, str]], *, forget_before: float) -> None:
        """Keep samples, each with its end (seconds since 1970), and forget those that ended before a time."""
        with self.transaction():
            for sample in samples:
                self._execute("INSERT INTO samples (ended, body) VALUES (?, ?)", sample)
            self._execute("DELETE FROM samples WHERE ended < ?", (forget_before,))

    def samples(self, after: float, until: float) -> list[str]:
        """Return the samples that ended after one time and not after another, the oldest first."""
        with self._lock:
            rows = self._execute(
                "SELECT body FROM samples WHERE ended > ? AND ended <= ? ORDER BY ended", (after, until)
            ).fetchall()
        return [row[0] for row in rows]

    def next_value(self, counter: str) -> int:
        """Count one further and return it: 1, 2, 3, …; a value is never given twice."""
        with self._lock:
            row = self._execute(
                "INSERT INTO counters (name, value) VALUES (?, 1)"
                " ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (counter,),
            ).fetchone()
        return int(row[0])

    def forget_counter(self, counter: str) -> None:
        """Let a counter begin again at 1."""
        with self._lock:
            self._execute("DELETE FROM counters WHERE name = ?", (counter,))


def _unusable(path: Path, error: sqlite3.DatabaseError) -> StateUnreadableError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _UNWRITABLE or code == sqlite3.SQLITE_BUSY:
        return StateUnreadableError(
            f"{path} cannot be opened ({error}); free some space, end what uses it, or choose another --state"
        )
    return _unreadable(path, error)


def _unreadable(path: Path, error: object) -> StateUnreadableError:
    return StateUnreadableError(
        f"{path} is not a readable state of the local Vertex AI ({error}); "
        "put a copy of it back, or move it away to begin with an empty one"
    )


def _claim(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise StateUnreadableError(
            f"{path} cannot be opened ({error}); choose a --state that is a folder and can be written"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StateInUseError(
            f"{path.parent} is in use by another local Vertex AI; stop that one or choose another --state"
        ) from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise _unusable(path, error) from error
    try:
        # Before anything is written: damage is found here, or it would be met in the middle of a request.
        problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)  # noqa: TRY301  # one message for whatever finds the damage
        # In one transaction: each waits for the disk.
        connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _unusable(path, error) from error
    return connection
