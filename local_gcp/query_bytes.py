"""An estimate of the bytes that a query reads, which bqemulator leaves at 0.

BigQuery bills whole columns: 8 bytes for a number or timestamp, 2 plus its UTF-8 length for a string
(https://cloud.google.com/bigquery/docs/estimate-costs). A column counts as read if its name appears anywhere
in the statement, and all columns of a table do if the statement selects `*` directly from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlglot
from bqemulator.storage.sql_identifiers import quoted_table_ref
from duckdb import CatalogException
from sqlglot import exp
from sqlglot.errors import ParseError

if TYPE_CHECKING:
    from bqemulator.storage.engine import DuckDBEngine

_NAME_PARTS: Final = 3


def bytes_read(engine: DuckDBEngine, statement: str, project: str) -> int:
    """Return the bytes of all columns that `statement` names, once for each table; 0 without tables."""
    try:
        trees = [tree for tree in sqlglot.parse(statement, dialect="bigquery") if tree]
    except ParseError:
        return 0
    tables = {name for tree in trees for name in _tables(tree, project)}
    wanted = {column.name.lower() for tree in trees for column in tree.find_all(exp.Column)}
    starred = {name for tree in trees for name in _starred(tree, project)}
    return sum(_size(engine, table, None if table in starred else wanted) for table in tables)


def _tables(tree: exp.Expr, project: str) -> set[tuple[str, str, str]]:
    target = tree.this if isinstance(tree, exp.Create) else None
    return {
        parts
        for table in tree.find_all(exp.Table)
        if table is not target and (parts := _parts(table, project)) is not None
    }


def _parts(table: exp.Table, project: str) -> tuple[str, str, str] | None:
    names = [part.name for part in table.parts]
    if len(names) < _NAME_PARTS - 1:
        return None  # a common table expression
    first, dataset, name = [project, *names][-_NAME_PARTS:]
    return first, dataset, name


def _starred(tree: exp.Expr, project: str) -> set[tuple[str, str, str]]:
    found = set()
    for select in tree.find_all(exp.Select):
        if any(isinstance(each, exp.Star) for each in select.expressions):
            source = select.args.get("from_") or select.args.get("from")
            if source and isinstance(source.this, exp.Table) and (parts := _parts(source.this, project)):
                found.add(parts)
    return found


def _size(engine: DuckDBEngine, table: tuple[str, str, str], wanted: set[str] | None) -> int:
    reference = quoted_table_ref(*table)
    try:
        columns = engine.execute(f"DESCRIBE {reference}").fetchall()
    except CatalogException:
        return 0
    terms = [
        f'COALESCE(SUM(2 + octet_length("{name}"::BLOB)), 0)'
        if kind in {"VARCHAR", "BLOB"}
        else f'8 * COUNT("{name}")'
        for name, kind, *_ in columns
        if wanted is None or name.lower() in wanted
    ]
    if not terms:
        return 0
    row = engine.execute(f"SELECT {' + '.join(terms)} FROM {reference}").fetchone()  # noqa: S608  # names of its catalog
    return int(row[0] or 0) if row else 0
