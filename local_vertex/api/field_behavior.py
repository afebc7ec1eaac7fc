"""The documentation of each field of a message: its comment, and the annotations that open it.

The published clients carry no annotations (google.api.field_behavior), but each of their fields has its
proto's comment, which begins with the annotations: "Required. Immutable. The …".
"""

from __future__ import annotations

import inspect
import re
from enum import StrEnum
from functools import cache, reduce
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from local_vertex.api.messages import Message

PACKAGE = "google.cloud.aiplatform.v1."
"""The prefix of the full names of Vertex AI's messages."""


class Behavior(StrEnum):
    """An annotation of a field, as comments spell it."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    OUTPUT_ONLY = "Output only"
    INPUT_ONLY = "Input only"
    IMMUTABLE = "Immutable"


_ANNOTATIONS = re.compile(rf"\A(?:(?:{'|'.join(Behavior)})\.\s*)*")


@cache
def comments(message: Descriptor) -> Mapping[str, str]:
    """Return the comment of each field of one of Vertex AI's messages; of another's, nothing."""
    if not message.full_name.startswith(PACKAGE) or message.GetOptions().map_entry:
        return {}
    path = message.full_name.removeprefix(PACKAGE).split(".")
    documented = inspect.getdoc(reduce(getattr, path, aiplatform_v1)) or ""
    _, _, attributes = documented.partition("\nAttributes:\n")
    # "name (type):" is followed by the comment, indented by one step more.
    parts = re.split(r"^ {4}(\w+) \(.*\):$", attributes, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def behaviors(message: Descriptor) -> Mapping[str, frozenset[Behavior]]:
    """Return the annotations of each field of a message that has any."""
    found = {name: frozenset(_annotations(comment)) for name, comment in comments(message).items()}
    return {name: each for name, each in found.items() if each}


def _annotations(comment: str) -> Iterator[Behavior]:
    annotations = comment.removesuffix(_ANNOTATIONS.sub("", comment))
    yield from (Behavior(each.strip()) for each in annotations.split(".") if each.strip())


def purpose(field: FieldDescriptor) -> str:
    """Return the first sentence about a field of Vertex AI's, such as "The display name of the Model"."""
    text = _ANNOTATIONS.sub("", comments(field.containing_type)[field.name])
    return text.partition(". ")[0].rstrip(".")


def has(field: FieldDescriptor, behavior: Behavior) -> bool:
    """Return whether a field's comment opens with an annotation."""
    return behavior in behaviors(field.containing_type).get(field.name, ())


def clear_output_only(message: Message) -> None:
    """Clear the fields that only the service sets: a create request may carry them, and they are ignored.

    https://google.aip.dev/203#output-only
    """
    for field, value in message.ListFields():
        if has(field, Behavior.OUTPUT_ONLY):
            message.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for each in value if field.is_repeated else (value,):
                clear_output_only(each)


def is_absent(message: Message, field: FieldDescriptor) -> bool:
    """Return whether a field is left out or has a value that means so: an empty string, list or map, or 0.

    https://google.aip.dev/203#required
    """
    if field.is_repeated or not field.has_presence:
        return not getattr(message, field.name)
    return not message.HasField(field.name)
