"""KQL: the part of the Kusto Query Language that FISO's queries use, over rows in memory. What it does not know, an
unknown column among it, is refused as Azure words it (learn.microsoft.com/kusto/query).

Whether a query is KQL at all, Microsoft's own parser says in the tests; this one only has to answer it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from localcloud.azure_cloud.errors import Refused

Row: TypeAlias = dict[str, Any]
Expression: TypeAlias = Callable[[Row], Any]
Aggregate: TypeAlias = Callable[[Sequence[Row]], Any]
Tables: TypeAlias = Mapping[str, tuple[Sequence[str], Sequence[Row]]]
_TOKEN = re.compile(
    r"""\s*(?:(?P<span>\d+(?:\.\d+)?(?:d|h|m|s)\b)|(?P<number>\d+(?:\.\d+)?)|(?P<text>'[^']*'|"[^"]*")"""
    r"""|(?P<name>[A-Za-z_]\w*)|(?P<sign>==|!=|>=|<=|[-+*/()<>,|=]))"""
)
_UNITS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def bad(message: str) -> Refused:
    inner = {"code": "SemanticError", "message": message}
    return Refused(400, "BadArgumentError", f"The request had some invalid properties: {message}", details=[inner])


def answered(query: str, tables: Tables, now: datetime) -> tuple[list[str], list[Row]]:
    """The columns and rows that a query comes to. Raises `Refused`."""
    reader = _Reader(query, tables, now)
    found = reader.pipeline()
    if reader.peek():
        raise bad(f"a recognition error occurred at '{reader.peek()}'")
    return found


class _Reader:
    """Reads left to right; each operator is carried out as it is read."""

    def __init__(self, text: str, tables: Tables, now: datetime) -> None:
        self._tokens, self._at, self._tables, self._now = list(_tokens(text)), 0, tables, now
        self._columns: list[str] = []

    def peek(self, ahead: int = 0) -> str:
        return self._tokens[self._at + ahead] if self._at + ahead < len(self._tokens) else ""

    def next(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise bad(f"a recognition error occurred at '{token}'")
        self._at += 1
        return token

    def takes(self, *words: str) -> bool:
        if [self.peek(ahead) for ahead in range(len(words))] == list(words):
            self._at += len(words)
            return True
        return False

    def pipeline(self) -> tuple[list[str], list[Row]]:
        columns, rows = self._source()
        while self.takes("|"):
            name = self.next()
            operator = getattr(self, f"_{name}", None) if name in _OPERATORS else None
            if operator is None:
                raise bad(f"the operator '{name}' is not known here")
            self._columns = columns
            columns, rows = operator(columns, rows)
        return columns, rows

    def _source(self) -> tuple[list[str], list[Row]]:
        if self.takes("union"):
            is_fuzzy = self.takes("isfuzzy", "=", "true")
            columns, rows, legs = list[str](), list[Row](), 0
            while self.takes("(") or (legs and self.takes(",", "(")):
                try:
                    more, found = self.pipeline()
                    columns, rows = [*dict.fromkeys([*columns, *more])], [*rows, *found]
                    legs += 1
                except _NoTable:
                    if not is_fuzzy:
                        raise
                    self._skip()
                self.next(")")
            if not legs:
                raise bad("'union' operator: no table can be resolved")
            return columns, [{name: row.get(name) for name in columns} for row in rows]
        name = self.next()
        if name not in self._tables:
            raise _NoTable(name)
        known, held = self._tables[name]
        return list(known), list(held)

    def _skip(self) -> None:
        depth = 1
        while depth:
            depth += {"(": 1, ")": -1}.get(self.next(), 0)
        self._at -= 1

    # operators

    def _where(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        holds = self.expression()
        return columns, [row for row in rows if holds(row) is True]

    def _project(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        named = self._named()
        return list(named), [{name: each(row) for name, each in named.items()} for row in rows]

    def _extend(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        named = self._named()
        made = [row | {name: each(row) for name, each in named.items()} for row in rows]
        return [*dict.fromkeys([*columns, *named])], made

    def _take(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        return columns, rows[: int(self.next())]

    def _top(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        most = int(self.next())
        return columns, self._order(columns, rows)[1][:most]

    def _order(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        self.next("by")
        by = self.expression()
        is_rising = self.takes("asc") or not (self.takes("desc") or True)
        known = [row for row in rows if by(row) is not None]
        unknown = [row for row in rows if by(row) is None]
        ordered = sorted(known, key=by, reverse=not is_rising)
        return columns, [*unknown, *ordered] if is_rising else [*ordered, *unknown]

    def _summarize(self, columns: list[str], rows: list[Row]) -> tuple[list[str], list[Row]]:
        aggregates: dict[str, Aggregate] = {}
        others: list[str] = []
        while True:
            if self.takes("arg_max", "("):
                by, name = self.expression(), self.peek(-2)
                self.next(",")
                self.next("*")
                self.next(")")
                others = [name]
                aggregates["*"] = _latest(by)
            else:
                name = self.next()
                self.next("=")
                aggregates[name] = self.aggregate()
            if not self.takes(","):
                break
        keys = self._named() if self.takes("by") else {}
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(each(row) for each in keys.values()), []).append(row)
        made = [dict(zip(keys, key, strict=True)) | _worked_out(aggregates, group) for key, group in groups.items()]
        if not keys and not groups:
            made = [_worked_out(aggregates, [])]
        named = [each for each in aggregates if each != "*"]
        return [*dict.fromkeys([*keys, *named, *(columns if others else [])])], made

    def _named(self) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        while True:
            if self.peek(1) == "=":
                name = self.next()
                self.next("=")
            else:
                name = self.peek(2) if self.peek() == "bin" else self.peek()
            found[name] = self.expression()
            if not self.takes(","):
                return found

    # aggregates

    def aggregate(self) -> Aggregate:
        """An aggregate, or arithmetic of aggregates."""
        left = self._term()
        while self.peek() in ("*", "/", "+", "-"):
            left = _both(left, self.next(), self._term())
        return left

    def _term(self) -> Aggregate:
        token = self.next()
        if _is_number(token):
            return lambda _: _number(token)
        if token not in _AGGREGATES:
            raise bad(f"The name '{token}' does not refer to any known aggregate function.")
        self.next("(")
        given: list[Expression] = []
        while not self.takes(")"):
            given.append(self.expression())
            self.takes(",")
        work_out = _AGGREGATES[token]
        return lambda group: work_out(group, given)

    # expressions, by precedence

    def expression(self) -> Expression:
        left = self._all()
        while self.takes("or"):
            left = _both(left, "or", self._all())
        return left

    def _all(self) -> Expression:
        left = self._compared()
        while self.takes("and"):
            left = _both(left, "and", self._compared())
        return left

    def _compared(self) -> Expression:
        left = self._sum()
        if self.peek() in ("==", "!=", ">", ">=", "<", "<="):
            return _both(left, self.next(), self._sum())
        return left

    def _sum(self) -> Expression:
        left = self._product()
        while self.peek() in ("+", "-"):
            left = _both(left, self.next(), self._product())
        return left

    def _product(self) -> Expression:
        left = self._one()
        while self.peek() in ("*", "/"):
            left = _both(left, self.next(), self._one())
        return left

    def _one(self) -> Expression:
        token = self.next()
        if token == "(":  # nosec B105: of a query's text
            inner = self.expression()
            self.next(")")
            return inner
        if _is_number(token) or token[0] in "'\"" or token in ("true", "false"):
            value = _literal(token)
            return lambda _: value
        if self.takes("("):
            return self._call(token)
        if token not in self._columns:
            raise bad(f"The name '{token}' does not refer to any known column, table, variable or function.")
        return lambda row: row.get(token)

    def _call(self, name: str) -> Expression:
        given: list[Expression] = []
        while not self.takes(")"):
            given.append(self.expression())
            self.takes(",")
        if name == "ago":
            return lambda row: self._now - given[0](row)
        if name not in _FUNCTIONS:
            raise bad(f"The name '{name}' does not refer to any known function.")
        work_out = _FUNCTIONS[name]
        return lambda row: work_out(*(each(row) for each in given))


class _NoTable(Refused):
    def __init__(self, name: str) -> None:
        message = f"'where' operator: Failed to resolve table or column expression named '{name}'"
        super().__init__(400, "BadArgumentError", message)


_OPERATORS = frozenset({"where", "project", "extend", "take", "top", "order", "summarize"})


def _tokens(text: str) -> Iterable[str]:
    at = 0
    while at < len(text.rstrip()):
        match = _TOKEN.match(text, at)
        if match is None:
            raise bad(f"a recognition error occurred at column {at}")
        yield match[0].strip()
        at = match.end()


def _is_number(token: str) -> bool:
    return token[:1].isdigit()


def _number(token: str) -> Any:
    return timedelta(seconds=float(token[:-1]) * _UNITS[token[-1]]) if token[-1] in _UNITS else float(token)


def _literal(token: str) -> Any:
    if _is_number(token):
        return _number(token)
    return token == "true" if token in ("true", "false") else token[1:-1]  # nosec B105


def _both(left: Callable[[Any], Any], sign: str, right: Callable[[Any], Any]) -> Callable[[Any], Any]:
    work_out = _SIGNS[sign]

    def value(of: Any) -> Any:
        one, other = left(of), right(of)
        if sign == "or":
            return one is True or other is True
        return None if one is None or other is None else work_out(one, other)

    return value


_SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "or": lambda one, other: one or other,
    "and": lambda one, other: one and other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other if other else None,
}


def _bin(value: Any, step: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, datetime):
        return _EPOCH + ((value - _EPOCH) // step) * step
    return value // step * step


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "bin": _bin,
    "strcat": lambda *parts: "".join("" if each is None else str(each) for each in parts),
    "iff": lambda holds, one, other: one if holds is True else other,
    "todouble": lambda value: None if value is None else float(value),
    "isnotnull": lambda value: value is not None,
    "isnull": lambda value: value is None,
    "coalesce": lambda *given: next((each for each in given if each is not None), None),
    "abs": lambda value: None if value is None else abs(value),
    "not": lambda value: None if value is None else not value,
}


def _latest(by: Expression) -> Aggregate:
    return lambda group: max(group, key=by)


def _values(group: Sequence[Row], of: Expression) -> list[Any]:
    return [value for row in group if (value := of(row)) is not None]


def _percentile(group: Sequence[Row], given: Sequence[Expression]) -> Any:
    """The nearest rank."""
    found = sorted(_values(group, given[0]))
    return found[max(0, -(-len(found) * int(given[1]({})) // 100) - 1)] if found else None


def _mean(group: Sequence[Row], given: Sequence[Expression]) -> Any:
    found = _values(group, given[0])
    return sum(found) / len(found) if found else None


_AGGREGATES: Mapping[str, Callable[[Sequence[Row], Sequence[Expression]], Any]] = {
    "count": lambda group, _: len(group),
    "countif": lambda group, given: sum(given[0](row) is True for row in group),
    "sum": lambda group, given: sum(_values(group, given[0])),
    "sumif": lambda group, given: sum(_values([row for row in group if given[1](row) is True], given[0])),
    "avg": _mean,
    "dcount": lambda group, given: len(set(_values(group, given[0]))),
    "percentile": _percentile,
}


def _worked_out(aggregates: Mapping[str, Aggregate], group: Sequence[Row]) -> Row:
    made: Row = {}
    for name, each in aggregates.items():
        made |= each(group) if name == "*" else {name: each(group)}
    return made
