"""The queries of resolvers: filters over the artifacts of earlier runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import InvalidArgument, Unimplemented
from local_vertex.plan.placeholders import Kind, parse_template

if TYPE_CHECKING:
    from local_vertex.domain.records import ArtifactRecord
    from local_vertex.plan.placeholders import Template

_AND = re.compile(r"\s+AND\s+")
_TERM = re.compile(
    r"(?P<field>schema_title|state|name|uri|metadata\.(?P<key>[\w-]+)\.(?P<kind>number|string|bool)_value)"
    r"\s*=\s*(?P<value>\"[^\"]*\"|[^\s\"()]+)"
)
_LIVE = "LIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One equation of a query; `key` is set for a value of the metadata."""

    field: str
    value: Any
    key: str = ""

    def matches(self, artifact: ArtifactRecord) -> bool:
        """Return whether the equation holds for the artifact."""
        match self.field:
            case "state":
                return bool(self.value == _LIVE)
            case "schema_title" | "name" | "uri":
                return bool(getattr(artifact, self.field) == self.value)
            case _:
                found = artifact.metadata.get(self.key)
                return isinstance(found, bool) == isinstance(self.value, bool) and found == self.value


def parse_filter(text: str) -> tuple[Term, ...]:
    """Return the equations of a filter.

    Raises Unimplemented for anything but equations of schema_title (required), state, name, uri and
    metadata values, joined by AND.
    """
    terms = tuple(_term(part, text) for part in _AND.split(text.strip()))
    if not any(term.field == "schema_title" for term in terms):
        raise Unimplemented(f"artifact query {text!r} names no schema_title; add one")
    return terms


def _term(part: str, text: str) -> Term:
    match = _TERM.fullmatch(part.strip())
    if match is None:
        raise Unimplemented(
            f"artifact query {text!r} has {part!r}; supported are schema_title, state, name, uri and "
            "metadata.KEY.number_value|string_value|bool_value = VALUE, joined by AND"
        )
    value = match["value"].strip('"')
    if not match["key"]:
        return Term(field=match["field"], value=value)
    return Term(field="metadata", key=match["key"], value=_metadata_value(match["kind"], value, text))


def _metadata_value(kind: str, value: str, text: str) -> str | float | bool:
    try:
        match kind:
            case "number":
                return float(value)
            case "bool":
                return _BOOLEANS[value]
            case _:
                return value
    except (ValueError, KeyError) as error:
        raise InvalidArgument(
            f"artifact query {text!r} compares with {value!r}, which is not a {kind}"
        ) from error


_BOOLEANS = {"true": True, "false": False}


def check_query(template: Template, task: str) -> None:
    """Raise InvalidArgument or Unimplemented for a query that could not be answered."""
    for placeholder in template.placeholders:
        if placeholder.kind not in (Kind.INPUT_PARAMETER, Kind.INPUT_ARTIFACT):
            raise InvalidArgument(
                f"the query of resolver '{task}' uses '{placeholder.text}', which has no value there"
            )
    parse_filter(template.render(lambda _: "0"))


def query_template(text: str, task: str) -> Template:
    """Return the filter of a resolver, checked; raises as `check_query`."""
    template = parse_template(text)
    check_query(template, task)
    return template
