"""Statements as GoogleSQL's own analyzer resolves them: names, types, functions and parameters."""

from __future__ import annotations

import inspect
from datetime import date
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest
from zetasql.api import CatalogBuilder, TableBuilder
from zetasql.core.exceptions import ZetaSQLError
from zetasql.core.local_service import ZetaSqlLocalService
from zetasql.types import (
    AnalyzerOptions,
    LanguageOptions,
    ProductMode,
    ResolvedCreateTableAsSelectStmt,
    ResolvedExportDataStmt,
    ResolvedQueryStmt,
    Type,
    TypeKind,
    ZetaSQLBuiltinFunctionOptions,
)

from taxi_ml import naming, sql
from taxi_ml.settings import Settings
from taxi_ml.splits import ExamplesFormat, Split
from taxi_ml.sql import columns, statements
from taxi_ml.window import Window
from tests.taxi_ml.trips import COLUMN_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zetasql.types import ResolvedStatement

WINDOW: Final = Window(end=date(2015, 7, 1), train_months=24, test_months=1)
SETTINGS: Final = Settings(project="taxi-local", bucket="gs://taxi-local", pipeline_image="taxi:1")
SOURCES: Final = {
    f"{name}-{form}": SETTINGS.with_overrides(source_table=table, examples_format=form)
    for name, table in {"public_table": "", "own_table": "taxi-local.mine.trips"}.items()
    for form in ExamplesFormat
}
TYPES: Final = {
    "STRING": TypeKind.TYPE_STRING,
    "TIMESTAMP": TypeKind.TYPE_TIMESTAMP,
    "INT64": TypeKind.TYPE_INT64,
    "FLOAT64": TypeKind.TYPE_DOUBLE,
    "DATE": TypeKind.TYPE_DATE,
}
NAMES: Final = {kind: name for name, kind in TYPES.items()}
DATASET: Final = {
    "trip_id": "STRING",
    **{column.name: column.type.value for column in columns.COLUMNS},
    "trip_start_timestamp": "TIMESTAMP",
}


def _statements(settings: Settings) -> dict[str, sql.Statement]:
    """Return every statement of a run, by the function that makes it."""
    return {
        "create_schema": sql.create_schema(settings),
        "newest_trip": sql.newest_trip(settings, WINDOW),
        "build_dataset": sql.build_dataset(settings, WINDOW),
        "count_dropped": sql.count_dropped(settings, WINDOW),
        "count_months": sql.count_months(settings, WINDOW),
        "count_splits": sql.count_splits(settings, WINDOW),
        "list_days": sql.list_days(settings, WINDOW),
        "export_averages": sql.export_averages(settings, WINDOW),
        **{f"export_split {each}": sql.export_split(settings, WINDOW, each) for each in Split},
        **{
            f"export_split {each}": sql.export_split(settings, WINDOW, Split.TEST, share=each)
            for each in (0.1, 1)
        },
        **{f"scans {name}": each for name, each in sql.scans(settings, WINDOW).items()},
        "build_dataset absent": sql.build_dataset(settings, WINDOW, absent=columns.OPTIONAL),
        "count_dropped absent": sql.count_dropped(settings, WINDOW, absent=columns.OPTIONAL),
    }


STATEMENTS: Final = [
    pytest.param(settings, statement, id=f"{source}-{name}")
    for source, settings in SOURCES.items()
    for name, statement in _statements(settings).items()
]


def _language() -> LanguageOptions:
    """Return the language as BigQuery's users have it, without Google's internal types."""
    language = LanguageOptions.maximum_features()
    language.product_mode = ProductMode.PRODUCT_EXTERNAL
    return language


@cache
def _catalog(settings: Settings) -> int:
    """Register the tables that a run reads, with their columns' types, and BigQuery's functions."""
    source, _ = columns.source(settings)
    catalog = CatalogBuilder("bigquery").with_builtin_functions(
        ZetaSQLBuiltinFunctionOptions(language_options=_language())
    )
    tables: Mapping[str, Mapping[str, str]] = {
        source: DATASET if settings.source_table else COLUMN_TYPES,
        naming.dataset_table(settings, WINDOW): DATASET,
    }
    for name, types in tables.items():
        table = TableBuilder(name)
        for column, kind in types.items():
            table.add_column(column, TYPES[kind])
        catalog.add_table(table.build())
    registered = ZetaSqlLocalService.get_instance().register_catalog(simple_catalog=catalog.build())
    return int(registered.registered_id)


def analyze(settings: Settings, statement: sql.Statement) -> ResolvedStatement:
    """Resolve a statement with its parameters' types, as BigQuery does before it runs one."""
    parameters = [
        AnalyzerOptions.QueryParameter(name=each.name, type=Type(type_kind=TYPES[each.type]))
        for each in statement.parameters
    ]
    options = AnalyzerOptions(language_options=_language(), query_parameters=parameters)
    return (
        ZetaSqlLocalService.get_instance()
        .analyze(sql_statement=statement.sql, options=options, registered_catalog_id=_catalog(settings))
        .resolved_statement
    )


def written(resolved: ResolvedStatement) -> dict[str, str]:
    """Return the columns of a statement's result with their types."""
    assert isinstance(resolved, ResolvedCreateTableAsSelectStmt | ResolvedExportDataStmt | ResolvedQueryStmt)
    return {each.name: NAMES[each.column.type.type_kind] for each in resolved.output_column_list}


@pytest.mark.parametrize(("settings", "statement"), STATEMENTS)
def test_every_statement_resolves(settings: Settings, statement: sql.Statement) -> None:
    """Names, types, functions and typed parameters are those of GoogleSQL."""
    resolved = analyze(settings, statement)

    assert type(resolved).__name__.startswith("Resolved")


def test_no_statement_is_left_out() -> None:
    """Every function that makes a statement is among those that are resolved."""
    makers = {
        name
        for name, function in inspect.getmembers(statements, inspect.isfunction)
        if not name.startswith("_") and "Statement" in str(inspect.signature(function).return_annotation)
    }

    assert {name.partition(" ")[0] for name in _statements(SETTINGS)} == makers


@pytest.mark.parametrize("settings", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("absent", [frozenset[str](), columns.OPTIONAL])
def test_the_dataset_has_the_types_that_its_readers_take(settings: Settings, absent: frozenset[str]) -> None:
    """The window's table is written with the columns that counts, exports and days are resolved against."""
    built = analyze(settings, sql.build_dataset(settings, WINDOW, absent=absent))

    assert written(built) == DATASET


@pytest.mark.parametrize(
    ("form", "floats"), [(ExamplesFormat.CSV, "STRING"), (ExamplesFormat.PARQUET, "FLOAT64")]
)
def test_both_formats_export_the_same_columns(form: ExamplesFormat, floats: str) -> None:
    """A CSV has its floats as strings with a point, Parquet as numbers; times are seconds in both."""
    settings = SETTINGS.with_overrides(examples_format=form)

    exported = written(analyze(settings, sql.export_split(settings, WINDOW, Split.TRAIN)))

    assert exported == {
        name: {"FLOAT64": floats, "TIMESTAMP": "INT64"}.get(kind, kind) for name, kind in DATASET.items()
    }


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (sql.Statement(sql="SELECT TIMESTAMP_SECOND(1)", parameters=()), "Function not found"),
        (sql.Statement(sql=f"SELECT tip FROM `{SETTINGS.trips_table}`", parameters=()), "Unrecognized name"),
        (
            sql.Statement(
                sql=f"SELECT fare FROM `{SETTINGS.trips_table}` WHERE trip_start_timestamp > @a",
                parameters=(statements.Parameter(name="a", value=1),),
            ),
            "No matching signature for operator >",
        ),
    ],
)
def test_what_bigquery_refuses_does_not_resolve(statement: sql.Statement, problem: str) -> None:
    """An unknown function, an unknown column and a parameter of another type are found."""
    with pytest.raises(ZetaSQLError, match=problem):
        analyze(SETTINGS, statement)
