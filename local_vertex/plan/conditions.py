"""The conditions of tasks: the part of the Common Expression Language that TFX and kfp compile to.

https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_vertex.domain.errors import InvalidArgument, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|[-+!<>().\[\]]))"
)
# CEL requires at least 32 levels; longer conditions would need more stack than a thread has.
_OPENING = frozenset({"(", "[", "!"})
_MOST_OPENINGS = 50
_MOST_TOKENS = 500
_WORDS = {"true": True, "false": False, "null": None}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# The binary operators, the loosest first.
_LEVELS = (("||",), ("&&",), ("==", "!=", *_ORDER), ("+",))
_CONVERSIONS: Mapping[str, Callable[[Any], Any]] = {"int": int, "double": float, "string": str}


class ConditionError(Exception):
    """A condition has no value for these inputs; the message says why."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    value: Any

    def value_of(self, _inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a JSON value
        """Return the constant."""
        return self.value


@dataclass(frozen=True, slots=True)
class Inputs:
    """The task's inputs: `artifacts`, `parameter_values` (schema 2.1) and `parameters` (2.0)."""

    def value_of(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the inputs."""
        return inputs


@dataclass(frozen=True, slots=True)
class Part:
    """A field, key or index of another expression."""

    of: Expression
    key: Expression

    def value_of(self, inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a JSON value
        """Return the part; raises ConditionError if it does not exist."""
        whole: Any = self.of.value_of(inputs)
        key: Any = self.key.value_of(inputs)
        try:
            return whole[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ConditionError(f"no {key!r} in {whole!r}") from error


@dataclass(frozen=True, slots=True)
class Call:
    """A conversion: int(x), double(x) or string(x)."""

    name: str
    argument: Expression

    def value_of(self, inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a JSON value
        """Return the converted value; raises ConditionError when that fails."""
        value = self.argument.value_of(inputs)
        try:
            return _CONVERSIONS[self.name](value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConditionError(f"{value!r} is not a valid {self.name}") from error


@dataclass(frozen=True, slots=True)
class Not:
    """A negation."""

    of: Expression

    def value_of(self, inputs: Mapping[str, Any]) -> bool:
        """Return the negation; raises ConditionError for a value that is neither true nor false."""
        return not _truth(self.of.value_of(inputs))


@dataclass(frozen=True, slots=True)
class Binary:
    """Two expressions joined by an operator."""

    sign: str
    left: Expression
    right: Expression

    def value_of(self, inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a JSON value
        """Return the result; raises ConditionError for operands that cannot be combined."""
        left: Any = self.left.value_of(inputs)
        match self.sign:
            case "&&":
                return _truth(left) and _truth(self.right.value_of(inputs))
            case "||":
                return _truth(left) or _truth(self.right.value_of(inputs))
            case "==":
                return _equal(left, self.right.value_of(inputs))
            case "!=":
                return not _equal(left, self.right.value_of(inputs))
            case sign:
                right: Any = self.right.value_of(inputs)
                if _kind(left) is not _kind(right) or _kind(left) not in (float, str):
                    raise ConditionError(f"'{sign}' cannot be applied to {left!r} and {right!r}")
                return left + right if sign == "+" else _ORDER[sign](left, right)


Expression = Literal | Inputs | Part | Call | Not | Binary


def inputs_of(expression: Expression) -> frozenset[str]:
    """Return the inputs that are read: `artifacts.KEY`, `parameter_values.KEY` or `parameters.KEY`."""
    match expression:
        case Part(of=Part(of=Inputs(), key=Literal(value=group)), key=Literal(value=key)):
            return frozenset({f"{group}.{key}"})
        case Part(of=left, key=right) | Binary(left=left, right=right):
            return inputs_of(left) | inputs_of(right)
        case Call(argument=inner) | Not(of=inner):
            return inputs_of(inner)
        case _:
            return frozenset()


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConditionError(f"{value!r} is neither true nor false")
    return value


def _kind(value: object) -> type:
    # Numbers of a Struct come as doubles, and literals without a point as ints: they are of one kind here.
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _equal(left: object, right: object) -> bool:
    """Compare as CEL does: numbers by value, values of different types are never equal."""
    return _kind(left) is _kind(right) and left == right


def parse_condition(text: str) -> Expression:
    """Return the expression `text`.

    Raises InvalidArgument for an invalid expression and Unimplemented for the parts of the language that
    neither TFX nor kfp uses.
    """
    tokens = _tokens(text)
    if len(tokens) > _MOST_TOKENS or sum(token in _OPENING for _, token in tokens) > _MOST_OPENINGS:
        raise InvalidArgument(
            f"condition {text[:80]!r}… is too long: at most {_MOST_TOKENS} words and signs and "
            f"{_MOST_OPENINGS} parentheses, brackets and negations"
        )
    reader = _Reader(text=text, tokens=tokens)
    expression = reader.expression()
    if reader.position < len(reader.tokens):
        raise InvalidArgument(f"condition {text!r} has trailing text: {reader.rest()}")
    return expression


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    end = 0
    while text[end:].strip():
        match = _TOKEN.match(text, end)
        if match is None:
            raise Unimplemented(
                f"condition {text!r} has {text[end:].strip()[:20]!r}, which is not supported here"
            )
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        end = match.end()
    return found


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Parses expressions by recursive descent."""

    text: str
    tokens: list[tuple[str, str]]
    position: int = 0

    def expression(self, level: int = 0) -> Expression:
        """Read operators of `level` and of the tighter ones inside of it."""
        if level == len(_LEVELS):
            return self._unary()
        left = self.expression(level + 1)
        while (sign := self._sign(*_LEVELS[level])) is not None:
            left = Binary(sign, left, self.expression(level + 1))
        return left

    def _unary(self) -> Expression:
        if self._sign("!"):
            return Not(self._unary())
        if self._sign("-"):
            kind, number = self._next()
            if kind != "number":
                raise self._unexpected(number)
            return Literal(-_number(number))
        return self._parts(self._primary())

    def _parts(self, whole: Expression) -> Expression:
        while (sign := self._sign(".", "[")) is not None:
            if sign == ".":
                whole = Part(whole, Literal(self._next()[1]))
            else:
                whole = Part(whole, self.expression())
                self._expect("]")
        return whole

    def _primary(self) -> Expression:
        match self._next():
            case ("number", number):
                return Literal(_number(number))
            case ("text", quoted):
                return Literal(re.sub(r"\\(.)", r"\1", quoted[1:-1]))
            case ("word", word):
                return self._word(word)
            case (_, "("):
                inner = self.expression()
                self._expect(")")
                return inner
            case (_, sign):
                raise self._unexpected(sign)

    def _word(self, word: str) -> Expression:
        if word in _WORDS:
            return Literal(_WORDS[word])
        if word == "inputs":
            return Inputs()
        if word not in _CONVERSIONS:
            raise Unimplemented(f"condition {self.text!r} uses '{word}', which is not supported here")
        self._expect("(")
        argument = self.expression()
        self._expect(")")
        return Call(word, argument)

    def _sign(self, *signs: str) -> str | None:
        if self.position < len(self.tokens):
            kind, token = self.tokens[self.position]
            if kind == "sign" and token in signs:
                self.position += 1
                return token
        return None

    def _expect(self, sign: str) -> None:
        if self._sign(sign) is None:
            raise self._unexpected(self.rest(), sign)

    def _next(self) -> tuple[str, str]:
        if self.position == len(self.tokens):
            raise self._unexpected("its end")
        self.position += 1
        return self.tokens[self.position - 1]

    def rest(self) -> str:
        return "".join(token for _, token in self.tokens[self.position :]) or "its end"

    def _unexpected(self, found: str, wanted: str = "a value") -> InvalidArgument:
        return InvalidArgument(f"condition {self.text!r} has {found} where {wanted} is expected")


def _number(text: str) -> int | float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError as error:
        raise InvalidArgument(f"the number {text[:20]}… of a condition has {len(text)} digits") from error
