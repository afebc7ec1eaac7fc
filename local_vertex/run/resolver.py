"""Answers the queries of resolvers: which of the artifacts that earlier runs left behind a task gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_vertex.plan.artifact_query import parse_filter
from local_vertex.plan.placeholders import Kind

if TYPE_CHECKING:
    from local_vertex.domain.records import ArtifactRecord
    from local_vertex.plan.placeholders import Placeholder, Template
    from local_vertex.run.executor_input import TaskInputs
    from local_vertex.run.ports import ArtifactCatalog


class NoValueError(Exception):
    """The query names a value of an input artifact that does not exist."""


def answer(
    catalog: ArtifactCatalog, pipeline: str, query: Template, limit: int, inputs: TaskInputs
) -> tuple[ArtifactRecord, ...]:
    """Return the newest `limit` artifacts of runs of `pipeline` that match.

    None match when the query needs a value of an input that is empty: no blessing, no blessed model.
    """
    try:
        terms = parse_filter(query.render(lambda placeholder: _value(placeholder, inputs)))
    except NoValueError:
        return ()
    (title,) = {term.value for term in terms if term.field == "schema_title"}
    found = catalog.artifacts(pipeline, title)
    return tuple(artifact for artifact in found if all(term.matches(artifact) for term in terms))[:limit]


def _value(placeholder: Placeholder, inputs: TaskInputs) -> str:
    if placeholder.kind is Kind.INPUT_PARAMETER:
        return str(inputs.parameters.get(placeholder.key, ""))
    records = inputs.artifacts.get(placeholder.key, ())
    if not records:
        raise NoValueError(placeholder.text)
    if placeholder.field == "metadata":
        if placeholder.property not in records[0].metadata:
            raise NoValueError(placeholder.text)
        return str(records[0].metadata[placeholder.property])
    return records[0].name if placeholder.field == "name" else records[0].uri
