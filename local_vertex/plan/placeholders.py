"""The placeholders of ExecutorInput in command lines: `{{$.inputs.parameters['x']}}` and its kin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

_PLACEHOLDER = re.compile(r"\{\{\$(?P<path>.*?)\}\}", re.DOTALL)
_OPEN = "{{$"
_SHOWN = 80
_KEYED = re.compile(
    r"\.(?P<side>inputs|outputs)\.(?P<group>parameters|artifacts)"
    r"\[(?P<quote>['\"])(?P<key>[^'\"]+)(?P=quote)\]"
    r"(?:\.(?P<field>uri|path|name|value|output_file)"
    r"|\.metadata(?:\[(?P<mquote>['\"])(?P<property>[^'\"]+)(?P=mquote)\])?)?"
)


class Kind(StrEnum):
    """The kinds of values that placeholders stand for."""

    EXECUTOR_INPUT = "$"
    INPUT_PARAMETER = "inputs.parameters"
    INPUT_ARTIFACT = "inputs.artifacts"
    OUTPUT_PARAMETER = "outputs.parameters"
    OUTPUT_ARTIFACT = "outputs.artifacts"
    OUTPUT_FILE = "outputs.output_file"
    RUN = "run"


RUN_FIELDS = frozenset(
    {
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_root",
        "pipeline_job_create_time_utc",
        "pipeline_google_cloud_project_id",
        "pipeline_google_cloud_location",
    }
)

# The fields of each kind; the empty one is a placeholder that ends after its key.
_FIELDS = {
    Kind.INPUT_PARAMETER: frozenset({""}),
    Kind.OUTPUT_PARAMETER: frozenset({"output_file"}),
    Kind.INPUT_ARTIFACT: frozenset({"uri", "path", "name", "value", "metadata"}),
    Kind.OUTPUT_ARTIFACT: frozenset({"uri", "path", "name", "metadata"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placeholder:
    """One placeholder; `field` is uri, path, name, value, metadata, output_file or a field of the run."""

    text: str
    kind: Kind
    key: str = ""
    field: str = ""
    property: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A string with placeholders in it."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The placeholders, in order."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    def render(self, resolve: Callable[[Placeholder], str]) -> str:
        """Return the string with each placeholder replaced by `resolve` of it."""
        return "".join(part if isinstance(part, str) else resolve(part) for part in self.parts)

    def __str__(self) -> str:
        """Return the string that the template was parsed from."""
        return self.render(lambda placeholder: placeholder.text)


def parse_template(text: str) -> Template:
    """Split `text` into literals and placeholders.

    Raises InvalidArgument for a placeholder that does not exist or is not closed: unlike kfp, which
    puts `null` in its place.
    """
    parts: list[str | Placeholder] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        parts += [text[end : match.start()], parse_placeholder(match[0], match["path"])]
        end = match.end()
    if _OPEN in text[end:]:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
        raise InvalidArgument(f"placeholder in {shown!r} is not closed; end it with '}}}}'")
    parts.append(text[end:])
    return Template(tuple(part for part in parts if part != ""))


def parse_placeholder(text: str, path: str) -> Placeholder:
    """Return the placeholder `text`, whose part between `{{$` and `}}` is `path`."""
    if path == "":
        return Placeholder(text=text, kind=Kind.EXECUTOR_INPUT)
    if path == ".outputs.output_file":
        return Placeholder(text=text, kind=Kind.OUTPUT_FILE)
    if path.removeprefix(".") in RUN_FIELDS:
        return Placeholder(text=text, kind=Kind.RUN, field=path.removeprefix("."))
    return _parse_keyed(text, path)


def _parse_keyed(text: str, path: str) -> Placeholder:
    match = _KEYED.fullmatch(path)
    if match is None:
        raise _unknown(text)
    kind = Kind(f"{match['side']}.{match['group']}")
    field = match["field"] or ("metadata" if ".metadata" in path[match.end("key") :] else "")
    if field not in _FIELDS[kind]:
        raise _unknown(text)
    wanted = match["property"] or ""
    return Placeholder(text=text, kind=kind, key=match["key"], field=field, property=wanted)


_KNOWN = (
    "{{$}}",
    "{{$.inputs.parameters['x']}}",
    "{{$.inputs.artifacts['x'].uri|path|name|value|metadata['k']}}",
    "{{$.outputs.artifacts['x'].uri|path|name|metadata['k']}}",
    "{{$.outputs.parameters['x'].output_file}}",
    "{{$.outputs.output_file}}",
    *(f"{{{{$.{field}}}}}" for field in sorted(RUN_FIELDS)),
)


def _unknown(text: str) -> InvalidArgument:
    return InvalidArgument(f"placeholder '{text}' is unknown; known are {', '.join(_KNOWN)}")
