"""List requests: filter, order, page, mask; the same for every collection."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.api.filters import parse_filter
from local_vertex.api.messages import masked
from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.descriptor import FieldDescriptor

    from local_vertex.api.filters import Virtual
    from local_vertex.api.messages import Message

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list, and the token of the next one (empty on the last)."""

    items: list[Message]
    next_page_token: str


def page_of(
    messages: Sequence[Message],
    request: Message,
    message_type: type[Message],
    *,
    virtual: Virtual | None = None,
) -> Page:
    """Return the requested page of a list; raises InvalidArgument.

    `messages` are in the default order. Uses the request's `filter`, `order_by`, `page_size`,
    `page_token` and `read_mask`, as far as it has them.
    """
    keep = parse_filter(_option(request, "filter", ""), message_type, virtual)
    kept = [message for message in messages if keep(message)]
    ordered = _ordered(kept, _option(request, "order_by", ""), message_type)
    start = _start(request, ordered)
    if request.page_size < 0:
        raise InvalidArgument.of("page_size", f"{request.page_size} is negative")
    end = start + min(request.page_size or DEFAULT_PAGE, LARGEST_PAGE)
    paths = request.read_mask.paths if "read_mask" in request.DESCRIPTOR.fields_by_name else ()
    return Page(
        items=[masked(message, paths) for message in ordered[start:end]],
        next_page_token=_token(request, ordered[end - 1], end) if end < len(ordered) else "",
    )


def _option(request: Message, name: str, default: str) -> str:
    return str(getattr(request, name, default))


def _ordered(messages: list[Message], order_by: str, message_type: type[Message]) -> list[Message]:
    ordered = list(messages)
    for part in reversed([part.split() for part in order_by.split(",") if part.strip()]):
        name, *direction = part
        descriptor = message_type.DESCRIPTOR
        field = descriptor.fields_by_name.get(name) or descriptor.fields_by_camelcase_name.get(name)
        if field is None or field.is_repeated or direction not in ([], ["asc"], ["desc"]):
            raise InvalidArgument.of(
                "order_by", f"cannot order by '{' '.join(part)}'; expected FIELD or FIELD desc"
            )
        key = _sort_key(field)
        ordered.sort(key=key, reverse=direction == ["desc"])
    return ordered


def _sort_key(field: FieldDescriptor) -> Callable[[Message], Any]:
    def key(message: Message) -> Any:  # noqa: ANN401  # a field of any type
        value = getattr(message, field.name)
        if field.message_type is None:
            return value
        return (value.seconds, value.nanos) if hasattr(value, "seconds") else str(value)

    return key


def _query(request: Message) -> str:
    return f"{_option(request, 'filter', '')}\n{_option(request, 'order_by', '')}"


def _identity(message: Message) -> str:
    return f"{message.name}@{getattr(message, 'version_id', '')}"


def _token(request: Message, last: Message, position: int) -> str:
    content = json.dumps([_query(request), _identity(last), position])
    return base64.urlsafe_b64encode(content.encode()).decode()


def _start(request: Message, ordered: list[Message]) -> int:
    """Return where the page begins: after the last one's last item, wherever that is now."""
    if not request.page_token:
        return 0
    query, last, position = _read_token(request.page_token)
    if query != _query(request):
        raise InvalidArgument.of("page_token", "it belongs to a list with another filter or order_by")
    for index, message in enumerate(ordered):
        if _identity(message) == last:
            return index + 1
    return position


def _read_token(token: str) -> tuple[str, str, int]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token))
    except (binascii.Error, ValueError, RecursionError):
        content = None
    match content:
        case [str(query), str(last), int(position)] if position >= 0:
            return query, last, position
    raise InvalidArgument.of("page_token", f"'{token}' is not a next_page_token of an earlier page")
