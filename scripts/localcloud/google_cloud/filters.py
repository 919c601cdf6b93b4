"""Filters: the language in which logs are searched and time series are chosen (cloud.google.com/logging/docs/view/
logging-query-language, cloud.google.com/monitoring/api/v3/filters): comparisons with AND, OR, NOT and parentheses.
A subset that refuses what it does not know.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from localcloud.google_cloud.discovery import Invalid

Holds: TypeAlias = Callable[[Mapping[str, Any]], bool]
_TOKEN = re.compile(
    r"""\s*(?:(?P<word>[A-Za-z_][\w.]*(?:\."[^"]*")*)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)"""
    r"""|(?P<sign>!=|>=|<=|=~|!~|[=<>:()\-]))"""
)
_LEVELS = ("DEFAULT", "DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL", "ALERT", "EMERGENCY")
_SIGNS = frozenset({"=", "!=", ">", ">=", "<", "<=", ":", "=~", "!~"})


def parsed(text: str, fields: Callable[[str], bool]) -> Holds:
    """What a filter asks of a document. `fields` says which are known. Raises `Invalid`."""
    tokens = list(_tokens(text))
    if not tokens:
        return lambda _: True
    parser = _Parser(tokens, fields)
    holds = parser.either()
    if parser.rest:
        raise Invalid(f"Unparseable filter: syntax error at {parser.rest[0][1]!r}")
    return holds


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise Invalid(f"Unparseable filter: syntax error at column {at}")
        kind = str(found.lastgroup)
        yield kind, found[kind]
        at = found.end()


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]], fields: Callable[[str], bool]) -> None:
        self.rest, self._fields = tokens, fields

    def either(self) -> Holds:
        parts = [self._all()]
        while self._take("OR"):
            parts.append(self._all())
        return lambda document: any(each(document) for each in parts)

    def _all(self) -> Holds:
        parts = [self._one()]
        while self.rest and self.rest[0][1] not in ("OR", ")"):
            self._take("AND")
            parts.append(self._one())
        return lambda document: all(each(document) for each in parts)

    def _one(self) -> Holds:
        if self._take("NOT") or self._take("-"):
            inner = self._one()
            return lambda document: not inner(document)
        if self._take("("):
            inner = self.either()
            if not self._take(")"):
                raise Invalid("Unparseable filter: a parenthesis is not closed")
            return inner
        return self._comparison()

    def _comparison(self) -> Holds:
        kind, field = self._next()
        _, sign = self._next()
        if kind != "word" or sign not in _SIGNS:
            raise Invalid(f"Unparseable filter: syntax error at {field!r}")
        if not self._fields(field):
            raise Invalid(f'Field not found: "{field}"')
        kind, value = self._next()
        if value == "starts_with" and sign == "=":
            sign, (kind, value) = "starts_with", [self._next() for _ in range(3)][1]
        wanted = re.sub(r"\\(.)", r"\1", value[1:-1]) if kind == "text" else value
        return lambda document: compared(_at(document, field), sign, wanted, field)

    def _take(self, word: str) -> bool:
        if self.rest and self.rest[0][1] == word:
            del self.rest[0]
            return True
        return False

    def _next(self) -> tuple[str, str]:
        if not self.rest:
            raise Invalid("Unparseable filter: it ends too early")
        return self.rest.pop(0)


def _at(document: Any, field: str) -> Any:
    for name in re.findall(r'"[^"]*"|[^.]+', field):
        document = document.get(name.strip('"')) if isinstance(document, Mapping) else None
    return document


def compared(found: Any, sign: str, wanted: str, field: str) -> bool:
    """Whether a field's value compares so; a field that is not there compares with nothing but by `!=`."""
    if sign in ("!=", "!~"):
        return not compared(found, "=" if sign == "!=" else "=~", wanted, field)
    if found is None:
        return False
    if sign == "=~":
        return re.search(wanted, str(found)) is not None
    if sign == "starts_with":
        return str(found).startswith(wanted)
    if sign == ":":
        return wanted.lower() in str(found).lower()
    left, right = _comparable(found, wanted, field)
    return bool(
        {"=": left == right, ">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[sign]
    )


def _comparable(found: Any, wanted: str, field: str) -> tuple[Any, Any]:
    if field == "severity":
        return _LEVELS.index(str(found)), _LEVELS.index(wanted)
    if isinstance(found, bool):
        return found, wanted == "true"
    if isinstance(found, int | float):
        return float(found), float(wanted)
    return str(found), wanted
