"""ARM template expressions, `[format('{0}/x', parameters('app'))]`: the functions that FISO's templates use.

Of the language: learn.microsoft.com/azure/azure-resource-manager/templates/syntax and .../template-functions.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from localcloud.azure_cloud.errors import Refused

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<name>[A-Za-z_]\w*)|(?P<sign>[()\[\].,]))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an expression may ask for."""

    parameters: Mapping[str, Any]
    variables: Mapping[str, Any]
    group: Mapping[str, Any]
    subscription: str
    reference: Callable[[str, bool], Any]

    def value(self, given: Any) -> Any:
        """A value of a template with every expression in it worked out."""
        if isinstance(given, Mapping):
            return {name: self.value(each) for name, each in given.items()}
        if isinstance(given, list):
            return [self.value(each) for each in given]
        if not (isinstance(given, str) and given.startswith("[") and given.endswith("]")):
            return given
        return given[1:] if given.startswith("[[") else _Reader(given[1:-1], self).whole()


class _Reader:
    """Reads left to right and works out what it reads."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._tokens, self._at, self._scope, self._text = _tokens(text), 0, scope, text

    def whole(self) -> Any:
        found = self._expression()
        if self._at != len(self._tokens):
            raise _unreadable(self._text)
        return found

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self, wanted: str = "") -> str:
        token = self._peek()
        if not token or (wanted and token != wanted):
            raise _unreadable(self._text)
        self._at += 1
        return token

    def _expression(self) -> Any:
        token = self._next()
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token.lstrip("-").isdigit():
            return int(token)
        found = self._call(token)
        while self._peek() in {".", "["}:
            if self._next() == ".":
                key: Any = self._next()
            else:
                key = self._expression()
                self._next("]")
            found = _member(found, key, self._text)
        return found

    def _call(self, name: str) -> Any:
        self._next("(")
        given: list[Any] = []
        while self._peek() != ")":
            given.append(self._expression())
            if self._peek() == ",":
                self._next()
        self._next(")")
        return _call(name, given, self._scope)


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text)
        found.append(match[0].strip())
        at = match.end()
    return found


def _member(found: Any, key: Any, text: str) -> Any:
    if isinstance(found, list) and isinstance(key, int):
        return found[key]
    if isinstance(found, Mapping):
        for name, value in found.items():  # property names are compared without their case
            if name.lower() == str(key).lower():
                return value
    raise Refused(400, "InvalidTemplate", f"The language expression property '{key}' doesn't exist: '{text}'")


def _call(name: str, given: list[Any], scope: Scope) -> Any:
    known: Mapping[str, Callable[[], Any]] = {
        "parameters": lambda: _named(scope.parameters, given[0], "parameter"),
        "variables": lambda: replace(scope, reference=_nowhere).value(_named(scope.variables, given[0], "variable")),
        "format": lambda: re.sub(r"\{(\d+)\}", lambda match: str(given[1 + int(match[1])]), given[0]),
        "concat": lambda: [*chain(*given)] if isinstance(given[0], list) else "".join(map(str, given)),
        "createarray": lambda: given,
        "createobject": lambda: dict(zip(given[::2], given[1::2], strict=True)),
        "resourceid": lambda: resource_id(str(scope.group["id"]), given),
        "reference": lambda: scope.reference(str(given[0]), "full" in [str(each).lower() for each in given[1:]]),
        "resourcegroup": lambda: scope.group,
        "subscription": lambda: {"subscriptionId": scope.subscription, "id": f"/subscriptions/{scope.subscription}"},
        "not": lambda: not given[0],
        "empty": lambda: not given[0],
        "if": lambda: given[1] if given[0] else given[2],
        "tolower": lambda: str(given[0]).lower(),
    }
    if name.lower() not in known:
        raise Refused(400, "InvalidTemplate", f"The template function '{name}' is not valid.")
    return known[name.lower()]()


def _nowhere(path: str, is_full: bool) -> Any:
    raise Refused(400, "InvalidTemplate", "The template function 'reference' is not expected at this location.")


def _named(known: Mapping[str, Any], name: Any, what: str) -> Any:
    if name not in known:
        raise Refused(400, "InvalidTemplate", f"The template {what} '{name}' is not found.")
    return known[name]


def resource_id(group: str, given: list[Any]) -> str:
    """`Microsoft.Web/sites/config`, `x`, `web` as an id in the group."""
    kinds = str(given[0]).split("/")
    if len(kinds) - 1 != len(given) - 1:
        raise Refused(400, "InvalidTemplate", f"resourceId: '{given[0]}' needs {len(kinds) - 1} names.")
    pairs = "/".join(f"{kind}/{name}" for kind, name in zip(kinds[1:], given[1:], strict=True))
    return f"{group}/providers/{kinds[0]}/{pairs}"


def _unreadable(text: str) -> Refused:
    return Refused(400, "InvalidTemplate", f"Unable to parse language expression '{text}'.")
