from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from airflow.sdk import BaseOperator

import taxi_airflow.operators
import vertex_airflow.operators

PACKAGES = (taxi_airflow.operators, vertex_airflow.operators)
NAMES = tuple(package.__name__ for package in PACKAGES)
# Objects of Python, bounds of the waiting, and what the DAG file decides for all runs.
NOT_TEMPLATED = {
    "deferrable",
    "list_lag",
    "look_every",
    "longest_poll",
    "max_attempts",
    "outage",
    "patience",
    "policy",
    "read_golden",
    "replaces",
    "settle",
    "shortest_poll",
    "split",
    "statement",
}


def operator_classes() -> list[type[BaseOperator]]:
    """Return every operator of both packages."""
    modules = [
        importlib.import_module(found.name)
        for package in PACKAGES
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ]
    found = {
        each
        for module in modules
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseOperator) and each.__module__.startswith(NAMES)
    }
    return sorted(found, key=lambda each: each.__name__)


@pytest.mark.parametrize("operator", operator_classes(), ids=lambda each: each.__name__)
def test_every_field_of_a_user_is_a_template(operator: type[BaseOperator]) -> None:
    """Each argument that an operator adds to Airflow's own may hold a template."""
    arguments = {
        name
        for each in operator.__mro__
        if each.__module__.startswith(NAMES) and "__init__" in vars(each)
        for name, parameter in inspect.signature(vars(each)["__init__"]).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }

    assert arguments - NOT_TEMPLATED <= set(operator.template_fields)
