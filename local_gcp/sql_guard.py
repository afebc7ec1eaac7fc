"""Refuses features of DuckDB that GoogleSQL lacks and that could leave the folders of the local BigQuery.

`allowed_directories` restricts DuckDB's own readers and writers. It does not restrict GDAL, the library
behind `st_read`: a file inside the folders may name any other file, or a URL, which GDAL then opens.
Functions and statements that run a string or a file as SQL are refused as well, since they can name anything,
and so are functions that take the address of an object in memory.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import duckdb
from bqemulator.domain.errors import InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED_FUNCTIONS: Final = frozenset(
    {
        "arrow_scan",
        "arrow_scan_dumb",
        "enable_logging",
        "enable_profiling",
        "import_database",
        "json_execute_serialized_sql",
        "pandas_scan",
        "python_map_function",
        "query",
        "query_table",
        "read_duckdb",
        "shapefile_meta",
        "st_read",
        "st_read_meta",
        "st_readosm",
        "st_readshp",
    }
)
REFUSED_STATEMENTS: Final = frozenset(
    {
        "attach",
        "call",
        "copy",
        "detach",
        "execute",
        "explain",
        "export",
        "import",
        "install",
        "load",
        "pragma",
        "prepare",
    }
)
# Listing a table's columns, and load jobs; their file is a parameter, to which DuckDB's own rule applies.
_OF_THE_EMULATOR: Final = re.compile(
    r'PRAGMA table_info\([^;]*\)|COPY (?:"[^"]*"\.?)+ FROM \? \(FORMAT (?:CSV, HEADER|JSON)\)'
)
_NAME: Final = re.compile(rb'"([^"]+)"|(\w+)')
_exporting: Final = ContextVar("exporting", default=False)


@contextmanager
def exporting() -> Iterator[None]:
    """Allow COPY, which the emulator itself uses for EXPORT DATA and extract jobs."""
    token = _exporting.set(True)
    try:
        yield
    finally:
        _exporting.reset(token)


def check(sql: str) -> None:
    """Check the first word of each statement and every function call in DuckDB's SQL.

    Raises:
        InvalidQueryError: naming the statement or function that is refused.

    """
    if _OF_THE_EMULATOR.fullmatch(sql):
        return
    text = sql.encode()
    # DuckDB counts offsets in bytes and yields no tokens for comments. Only first bytes are kept: copying the
    # rest of the text for each token would take quadratic time.
    starts = [start for start, _ in duckdb.tokenize(sql)]
    firsts = [b";", *(text[start : start + 1] for start in starts), b";"]
    for start, before, after in zip(starts, firsts, firsts[2:], strict=False):
        found = _NAME.match(text, start)
        name = (found[1] or found[2]).decode().lower() if found else ""
        if after == b"(" and name in REFUSED_FUNCTIONS:
            raise InvalidQueryError(f"Function not found: {name}")
        is_export = name == "copy" and _exporting.get()
        if before == b";" and name in REFUSED_STATEMENTS and not is_export:
            raise InvalidQueryError(f"Syntax error: GoogleSQL has no statement {name.upper()} of this form")
