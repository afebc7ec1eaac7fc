"""Monitoring filters: which time series a request is about (pure).

https://cloud.google.com/monitoring/api/v3/filters
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from local_vertex.domain.errors import InvalidArgument, Unimplemented

if TYPE_CHECKING:
    from typing import NoReturn

Fields: TypeAlias = Mapping[str, str]
"""The fields of a time series by selector, such as `metric.type` and `resource.labels.endpoint_id`."""
Predicate: TypeAlias = Callable[[Fields], bool]

METRIC_TYPE: Final = "metric.type"
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<operator><=|>=|!=|=|<|>|:)"""
    r"""|(?P<mark>[(),])"""
    r"""|(?P<word>-?[^\s"'()<>=!:,]+(?:"[^"]*")?))""",
    re.VERBOSE,
)
_LABEL: Final = re.compile(r"""(metric|resource)\.labels?\.(?:"([^"]+)"|([\w-]+))""")
_KEYWORDS: Final = frozenset({"AND", "OR", "NOT"})
_DEEPEST: Final = 50
_TESTS: Final[Mapping[str, Callable[[str, tuple[str, ...]], bool]]] = {
    "starts_with": lambda value, wanted: value.startswith(wanted[0]),
    "ends_with": lambda value, wanted: value.endswith(wanted[0]),
    "has_substring": lambda value, wanted: wanted[0] in value,
    "one_of": lambda value, wanted: value in wanted,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter: its one metric type, the selectors that it uses, and what it keeps."""

    metric_type: str
    selectors: frozenset[str]
    resource_types: frozenset[str]
    keeps: Predicate


def selector(text: str) -> str | None:
    """Return the usual spelling of a field of a time series; None if it is not one."""
    if text in (METRIC_TYPE, "resource.type", "project"):
        return text
    match = _LABEL.fullmatch(text)
    return match and f"{match[1]}.labels.{match[2] or match[3]}"


def parse(text: str) -> Filter:
    """Return the filter; raises InvalidArgument, and Unimplemented for what only the real service reads.

    Supported: `=` and `!=` with a string, `starts_with`, `ends_with`, `has_substring` or `one_of`; AND, which
    may be left out, OR, NOT, `-` and parentheses.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._tokenize()
        self._next = 0
        self._selectors: set[str] = set()
        self._types: list[tuple[str, str]] = []
        self._depth = 0

    def parse(self) -> Filter:
        if not self._tokens:
            self._refuse("it is empty; a filter must specify a metric type")
        keeps = self._conjunction()
        if self._next < len(self._tokens):
            self._refuse(f"unexpected '{self._tokens[self._next][1]}'")
        metrics = [value for name, value in self._types if name == METRIC_TYPE]
        if len(metrics) != 1:
            self._refuse(f'{len(metrics)} metric types; a filter must have one metric.type = "…"')
        resources = frozenset(value for name, value in self._types if name == "resource.type")
        return Filter(
            metric_type=metrics[0],
            selectors=frozenset(self._selectors),
            resource_types=resources,
            keeps=keeps,
        )

    def _refuse(self, problem: str) -> NoReturn:
        raise InvalidArgument.of("filter", f"{problem} in {self._text!r}")

    def _tokenize(self) -> list[tuple[str, str]]:
        tokens, position, text = [], 0, self._text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or match.lastgroup is None:
                self._refuse(f"cannot read '{text[position:]}'")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            position = match.end()
        return tokens

    def _peek(self) -> str:
        """Return the next token, unless it is a string; empty at the end."""
        if self._next == len(self._tokens):
            return ""
        kind, text = self._tokens[self._next]
        return "string" if kind == "string" else text

    def _take(self, *kinds: str) -> tuple[str, str]:
        if self._next == len(self._tokens):
            self._refuse(f"the end comes where {' or '.join(kinds)} is expected")
        kind, text = self._tokens[self._next]
        if kind not in kinds:
            self._refuse(f"'{text}' where {' or '.join(kinds)} is expected")
        self._next += 1
        return kind, text

    def _accept(self, text: str) -> bool:
        found = self._peek() == text
        self._next += found
        return found

    def _conjunction(self) -> Predicate:
        terms = [self._disjunction()]
        while self._peek() not in ("", ")"):
            self._accept("AND")
            terms.append(self._disjunction())
        return terms[0] if len(terms) == 1 else lambda fields: all(term(fields) for term in terms)

    def _disjunction(self) -> Predicate:
        terms = [self._term()]
        while self._accept("OR"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda fields: any(term(fields) for term in terms)

    def _term(self) -> Predicate:
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(f"more than {_DEEPEST} parentheses and NOTs nested")
        if self._accept("NOT"):
            term = _not(self._term())
        elif self._accept("("):
            term = self._conjunction()
            if not self._accept(")"):
                self._refuse("missing ')'")
        else:
            term = self._comparison()
        self._depth -= 1
        return term

    def _comparison(self) -> Predicate:
        _, text = self._take("word")
        name = selector(text.removeprefix("-"))
        if name is None or text in _KEYWORDS:
            self._refuse(f"'{text}' is not a field of a time series")
        _, operator = self._take("operator")
        if operator not in ("=", "!="):
            raise Unimplemented(
                f"the local Cloud Monitoring compares with = and != only, not with '{operator}'"
            )
        keeps = self._value(name, operator)
        self._selectors.add(name)
        return _not(keeps) if (operator == "!=") is not text.startswith("-") else keeps

    def _value(self, name: str, operator: str) -> Predicate:
        kind, text = self._take("string", "word")
        if self._peek() != "(":
            wanted = re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "string" else text
            if operator == "=":
                self._types.append((name, wanted))
            return lambda fields: fields.get(name, "") == wanted
        if text not in _TESTS:
            raise Unimplemented(f"the local Cloud Monitoring does not know '{text}' in a filter")
        self._accept("(")
        arguments = [self._take("string")[1][1:-1]]
        while self._accept(","):
            arguments.append(self._take("string")[1][1:-1])
        if not self._accept(")"):
            self._refuse("missing ')'")
        if len(arguments) > 1 and text != "one_of":
            self._refuse(f"{text} takes one string")
        test, values = _TESTS[text], tuple(arguments)
        return lambda fields: test(fields.get(name, ""), values)


def _not(keeps: Predicate) -> Predicate:
    return lambda fields: not keeps(fields)
