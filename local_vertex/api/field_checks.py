"""The check of each request against Google's documented rules for its fields, before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local_vertex.api.field_behavior import PACKAGE, Behavior, has, is_absent, purpose
from local_vertex.api.field_rules import RULES
from local_vertex.domain.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google.protobuf.descriptor import FieldDescriptor

    from local_vertex.api.messages import Message

    Handler = Callable[[Message], Message]

_LONGEST_SHOWN: Final = 100
_OF_FIELD: Final = {each.field: tuple(rule for rule in RULES if rule.field == each.field) for each in RULES}


def checked(handler: Handler) -> Handler:
    """Return a handler that refuses a request before it is acted upon, if the documentation does."""

    def answer(request: Message) -> Message:
        check(request)
        return handler(request)

    return answer


def check(request: Message) -> None:
    """Raise InvalidArgument, with every violation, for fields that are missing or beyond their limits.

    In a resource that updates another, only the fields of the update mask are checked.
    """
    violations = tuple(_violations(request, "", _mask(request)))
    if violations:
        message = "; ".join(f"{each.field}: {each.description}" for each in violations)
        raise InvalidArgument(message, violations=violations)


def _mask(request: Message) -> list[str] | None:
    """Return the paths of a request that an update is about; None for any other request."""
    if "update_mask" not in request.DESCRIPTOR.fields_by_name:
        return None
    paths: list[str] = []
    for field in request.DESCRIPTOR.fields:
        if field.message_type is None or field.name == "update_mask":
            paths.append(field.name)
        else:
            paths += [f"{field.name}.{path}" for path in request.update_mask.paths]
    return paths


def _violations(message: Message, prefix: str, mask: Sequence[str] | None) -> Iterator[FieldViolation]:
    for field in message.DESCRIPTOR.fields:
        inner = None if mask is None else [rest for path in mask for rest in _below(path, field.name)]
        if inner == []:
            continue
        whole = inner is None or "" in inner
        path = f"{prefix}{field.name}"
        if not is_absent(message, field):
            yield from _broken(message, field, path)
            yield from _nested(message, field, path, None if whole else inner)
        elif whole and has(field, Behavior.REQUIRED):
            yield FieldViolation(field=path, description=f"required; {purpose(field)}")


def _below(path: str, name: str) -> Iterator[str]:
    """Yield the rest of a path below a field, if the path goes through it."""
    first, _, rest = path.partition(".")
    if first == name:
        yield rest


def _broken(message: Message, field: FieldDescriptor, path: str) -> Iterator[FieldViolation]:
    for rule in _OF_FIELD.get(f"{message.DESCRIPTOR.full_name.removeprefix(PACKAGE)}.{field.name}", ()):
        value = getattr(message, field.name)
        if rule.of_all or not field.is_repeated:
            checked_values = (value,)
        else:
            checked_values = value.items() if hasattr(value, "items") else value
        for each in checked_values:
            if not rule.allows(each):
                problem = f"{_shown(each)} is not allowed; expected: {rule.rule}"
                yield FieldViolation(field=path, description=problem)


def _nested(
    message: Message, field: FieldDescriptor, path: str, mask: Sequence[str] | None
) -> Iterator[FieldViolation]:
    kind = field.message_type
    if kind is None or kind.GetOptions().map_entry or not kind.full_name.startswith(PACKAGE):
        return
    value = getattr(message, field.name)
    if field.is_repeated:
        for index, each in enumerate(value):
            yield from _violations(each, f"{path}[{index}].", mask)
    else:
        yield from _violations(value, f"{path}.", mask)


def _shown(value: object) -> str:
    text = "=".join(value) if isinstance(value, tuple) else str(value).strip()
    return (
        f"'{text}'" if len(text) <= _LONGEST_SHOWN else f"'{text[:_LONGEST_SHOWN]}…' ({len(text)} characters)"
    )
