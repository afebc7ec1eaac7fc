"""List filters: the part of AIP-160 that Vertex AI documents, as predicates over messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from local_vertex.domain.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

    from local_vertex.api.messages import Message

Predicate: TypeAlias = Callable[[Any], bool]
Virtual: TypeAlias = Mapping[str, Callable[[Any], str]]
"""Fields that exist only in filters, such as `model` for the last part of a model's name."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<operator><=|>=|!=|=|<|>|:)"""
    r"""|(?P<paren>[()])"""
    r"""|(?P<word>[^\s"'()<>=!:]+(?:"[^"]*"[^\s"'()<>=!:]+)*))""",
    re.VERBOSE,
)
# A value in a Struct: metadata.KEY.number_value, or metadata."KEY".number_value for any other key.
_STRUCT_PATH = re.compile(
    r"""\w+\.(?:"(?P<quoted>[^"]*)"|(?P<key>[^."]+))\.(?P<kind>number|string|bool)_value"""
)
_LONGEST_NUMBER = 10
_STRUCT = "google.protobuf.Struct"
_KEYWORDS = frozenset({"AND", "OR"})
_DEEPEST = 50
_OPENING = frozenset({"(", "NOT"})
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda mine, theirs: bool(mine == theirs),
    "!=": lambda mine, theirs: bool(mine != theirs),
    "<": lambda mine, theirs: bool(mine < theirs),
    "<=": lambda mine, theirs: bool(mine <= theirs),
    ">": lambda mine, theirs: bool(mine > theirs),
    ">=": lambda mine, theirs: bool(mine >= theirs),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    kind: str
    text: str


def parse_filter(text: str, message_type: type[Message], virtual: Virtual | None = None) -> Predicate:
    """Return the predicate that `text` describes; an empty text keeps everything.

    Supported: comparisons of fields (`=`, `!=`, `<`, `<=`, `>`, `>=`), also of values in a Struct
    (`metadata.k.number_value`), `:` for presence (`labels.k:*`, `labels:k`) and for strings with `*`,
    `AND`, `OR`, `NOT`, `-`, parentheses; like AIP-160, `OR` binds tighter than `AND`. Raises
    InvalidArgument for anything else, and for unknown fields.
    """
    if not text.strip():
        return lambda _message: True
    return _Parser(text, message_type, virtual or {}).parse()


class _Parser:
    def __init__(self, text: str, message_type: type[Message], virtual: Virtual) -> None:
        self._text = text
        self._descriptor = message_type.DESCRIPTOR
        self._virtual = virtual
        self._tokens = self._tokenize()
        self._next = 0

    def parse(self) -> Predicate:
        if sum(token.kind != "string" and token.text in _OPENING for token in self._tokens) > _DEEPEST:
            raise self._error(f"more than {_DEEPEST} parentheses and NOTs")
        predicate = self._conjunction()
        if self._peek() is not None:
            raise self._error(f"unexpected '{self._tokens[self._next].text}'")
        return predicate

    def _tokenize(self) -> list[_Token]:
        tokens = []
        position = 0
        text = self._text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                raise self._error(f"cannot read '{text[position:]}'")
            tokens.append(_Token(kind=match.lastgroup, text=match[match.lastgroup]))
            position = match.end()
        return tokens

    def _error(self, problem: str) -> InvalidArgument:
        return InvalidArgument.of("filter", f"{problem} in {self._text!r}")

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self) -> _Token:
        token = self._peek()
        if token is None:
            raise self._error("unexpected end")
        self._next += 1
        return token

    def _accept(self, text: str) -> bool:
        token = self._peek()
        if token is None or token.kind == "string" or token.text != text:
            return False
        self._next += 1
        return True

    def _conjunction(self) -> Predicate:
        terms = [self._disjunction()]
        while (token := self._peek()) is not None and token.text != ")":
            self._accept("AND")
            terms.append(self._disjunction())
        return terms[0] if len(terms) == 1 else lambda message: all(term(message) for term in terms)

    def _disjunction(self) -> Predicate:
        terms = [self._term()]
        while self._accept("OR"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda message: any(term(message) for term in terms)

    def _term(self) -> Predicate:
        if self._accept("NOT"):
            inner = self._term()
            return lambda message: not inner(message)
        if self._accept("("):
            inner = self._conjunction()
            if not self._accept(")"):
                raise self._error("missing ')'")
            return inner
        return self._comparison()

    def _comparison(self) -> Predicate:
        field = self._take()
        negated = field.kind == "word" and field.text.startswith("-")
        name = field.text.lstrip("-") if negated else field.text
        if field.kind != "word" or name in _KEYWORDS:
            raise self._error(f"expected a field instead of '{field.text}'")
        operator = self._take()
        if operator.kind != "operator":
            raise self._error(f"expected a comparison after '{name}'")
        value = self._take()
        if value.kind not in ("string", "word"):
            raise self._error(f"expected a value after '{name}{operator.text}'")
        predicate = self._compile(name, operator.text, _unquoted(value))
        return (lambda message: not predicate(message)) if negated else predicate

    def _compile(self, name: str, operator: str, value: str) -> Predicate:
        virtual = self._virtual.get(name)
        if virtual is not None:
            return lambda message: _compare_text(virtual(message), operator, value)
        parents, field = self._resolve(name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self._map_predicate(name, field, operator, value)
        if _is_struct(field):
            return self._struct_predicate(name, field, operator, value)
        convert = self._converter(field, operator, value)
        return lambda message: convert(reduce(getattr, [*parents, field.name], message))

    def _resolve(self, name: str) -> tuple[list[str], FieldDescriptor]:
        descriptor = self._descriptor
        parents: list[str] = []
        parts = name.split(".")
        while True:
            field = descriptor.fields_by_name.get(parts[0]) or descriptor.fields_by_camelcase_name.get(
                parts[0]
            )
            if field is None:
                raise self._error(f"'{name}' is not a field of {self._descriptor.name}")
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            if len(parts) == 1 or is_map or _is_struct(field):
                return parents, field
            if field.message_type is None or field.is_repeated:
                raise self._error(f"'{name}' cannot be filtered by")
            parents.append(field.name)
            descriptor = field.message_type
            parts = parts[1:]

    def _map_predicate(self, name: str, field: FieldDescriptor, operator: str, value: str) -> Predicate:
        _, _, key = name.partition(f"{field.name}.")
        if not key and operator == ":":
            key, _, value = value.partition("=")
            operator, value = ("=", value) if value else (":", "*")
        if not key:
            raise self._error(f"expected {field.name}.KEY instead of '{name}'")
        if operator == ":" and value == "*":
            return lambda message: key in getattr(message, field.name)
        if operator == "!=":
            return lambda message: getattr(message, field.name).get(key) != value
        return lambda message: (
            key in getattr(message, field.name)
            and _compare_text(getattr(message, field.name)[key], operator, value)
        )

    def _struct_predicate(self, name: str, field: FieldDescriptor, operator: str, value: str) -> Predicate:
        path = _STRUCT_PATH.fullmatch(name)
        if path is None:
            raise self._error(
                f"expected {field.name}.KEY.number_value, string_value or bool_value, not '{name}'"
            )
        key, kind = path["quoted"] or path["key"], f"{path['kind']}_value"
        compare = self._struct_comparison(kind, operator, value)

        def keep(message: Message) -> bool:
            found = getattr(message, field.name).fields.get(key)
            if found is None or found.WhichOneof("kind") != kind:
                return operator == "!="
            return compare(getattr(found, kind))

        return keep

    def _struct_comparison(self, kind: str, operator: str, value: str) -> Predicate:
        if kind == "string_value":
            return lambda mine: _compare_text(mine, operator, value)
        if operator == ":":
            raise self._error(f"':' does not compare a {kind}")
        if kind == "bool_value":
            return lambda mine: _COMPARE[operator](_text(mine), value.lower())
        try:
            number = float(value)
        except ValueError as error:
            raise self._error(f"'{value}' is not a number") from error
        return lambda mine: _COMPARE[operator](mine, number)

    def _converter(self, field: FieldDescriptor, operator: str, value: str) -> Predicate:
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            return self._time_predicate(operator, value)
        if operator != ":" and field.enum_type is not None:
            number = self._enum_number(field.enum_type, value)
            return lambda mine: _COMPARE[operator](mine, number)
        if field.message_type is not None or field.is_repeated:
            raise self._error(f"'{field.name}' cannot be filtered by")
        return lambda mine: _compare_text(_text(mine), operator, value)

    def _enum_number(self, enum: EnumDescriptor, value: str) -> int:
        names = enum.values_by_name
        if value in names:
            return names[value].number
        if value.isdecimal() and len(value) <= _LONGEST_NUMBER:
            return int(value)
        raise self._error(f"'{value}' is not a value of {enum.name}")

    def _time_predicate(self, operator: str, value: str) -> Predicate:
        if operator == ":":
            raise self._error("':' does not compare times")
        try:
            wanted = Timestamp()
            # A date alone is midnight in UTC (https://google.aip.dev/160).
            day = None if "T" in value else datetime.strptime(value, "%Y-%m-%d")  # noqa: DTZ007  # as above
            wanted.FromJsonString(f"{day:%Y-%m-%dT00:00:00Z}" if day else value)
        except ValueError as error:
            raise self._error(f"'{value}' is not an RFC 3339 time") from error
        bound = (wanted.seconds, wanted.nanos)
        return lambda mine: bool(mine.ByteSize()) and _COMPARE[operator]((mine.seconds, mine.nanos), bound)


def _is_struct(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == _STRUCT


def _unquoted(token: _Token) -> str:
    return re.sub(r"\\(.)", r"\1", token.text[1:-1]) if token.kind == "string" else token.text


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _compare_text(mine: str, operator: str, value: str) -> bool:
    if operator == ":" or (operator in ("=", "!=") and "*" in value):
        return fnmatchcase(mine, re.sub(r"([\[\]?])", r"[\1]", value)) is (operator != "!=")
    return _COMPARE[operator](mine, value)
