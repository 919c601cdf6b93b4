"""The one codec: frozen dataclasses as plain JSON documents and back, by their type hints. Standard library only.

A type is compiled to two closures the first time it is met, and kept: this runs while the orchestrator starts and with
every request. What a format does otherwise (another key, a row instead of an object, rounded numbers) stands in its
`Codec`, not in the domain's types. Whatever cannot be read raises `Malformed`, which names the place.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from threading import RLock
from types import NoneType, UnionType
from typing import NewType, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Json: TypeAlias = "str | int | float | bool | None | list[Json] | dict[str, Json]"
Document: TypeAlias = dict[str, Json]
T = TypeVar("T")
_DAMAGE = (TypeError, ValueError, OverflowError, RecursionError)


class Malformed(ValueError):
    """A document is not what was written: `problem` at `place` (`policy.weights.latency: must be a number`)."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.place = problem, place

    def inside(self, part: str) -> "Malformed":
        """The same, seen from one level further out."""
        dot = "." if self.place and not self.place.startswith("[") else ""
        return Malformed(self.problem, f"{part}{dot}{self.place}")


@dataclass(frozen=True, slots=True)
class Form:
    """How values of one type are written and read; `read` raises `ValueError` or `TypeError` with the problem."""

    write: Callable[..., Json]
    read: Callable[..., object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How one dataclass differs from an object with its fields' names.

    `is_row`: a list of the fields' values in their order, of which the last may be missing where they have defaults.
    `keys`: other names. `forms`: of single fields. `inline`: fields whose own fields stand in this object. `left_out`:
    fields that are neither written nor read. `required`: fields that must be there although they have a default.
    `omits_none`: fields of None are not written, all or those named.
    """

    is_row: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)
    forms: Mapping[str, Form] = field(default_factory=dict)
    inline: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    omits_none: bool | frozenset[str] = False


class Codec:
    """One format: `forms` by type (or `NewType`) where the usual ones do not do, `shapes` by dataclass.

    `is_strict`: unknown keys are refused, else ignored. A field that is absent has its default, or None where that is
    allowed; any other must be there.
    """

    def __init__(
        self,
        *,
        forms: Mapping[object, Form] | None = None,
        shapes: Mapping[type, Shape] | None = None,
        is_strict: bool = False,
    ) -> None:
        self._forms: dict[object, Form] = {**USUAL, **(forms or {})}
        self._shapes, self._columns_of = shapes or {}, dict[object, list[_Column]]()
        self._is_strict, self._lock = is_strict, RLock()

    def to_document(self, value: object) -> Document:
        return cast(Document, self.form(type(value)).write(value))

    def from_document(self, kind: type[T], document: object, *, where: str = "") -> T:
        """What `to_document` made of a `kind`; `Malformed` for anything else."""
        return cast(T, _read_at(where, self.form(kind), document))

    def form(self, kind: object) -> Form:
        """The compiled form of any type hint."""
        found = self._forms.get(kind)
        if found is None:
            with self._lock:  # two threads of a starting environment may meet a type at once
                found = self._forms[kind] = self._compiled(kind)
        return found

    def _compiled(self, kind: object) -> Form:
        origin, arms = get_origin(kind), get_args(kind)
        if isinstance(kind, NewType):
            return self.form(kind.__supertype__)
        if origin in (Union, UnionType):
            return self._union([self.form(arm) for arm in arms if arm is not NoneType], is_optional=NoneType in arms)
        if origin is tuple:
            return _sequence(self.form(arms[0]), list, tuple)
        if origin is frozenset:  # sorted: equal sets have equal bytes
            return _sequence(self.form(arms[0]), sorted, frozenset)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _mapping(Form(str, int) if arms[0] is int else self.form(arms[0]), self.form(arms[1]))
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return _choice(kind)
        if isinstance(kind, type) and is_dataclass(kind):
            return self._dataclass(kind)
        raise TypeError(f"no form for {kind!r}")

    def _union(self, arms: list[Form], *, is_optional: bool) -> Form:
        """The first arm that reads it. Of objects there must be no two: their format says what tells them apart."""
        *before, last = arms

        def write(value: object) -> Json:
            return None if value is None else (self.form(type(value)) if before else last).write(value)

        def read(value: object) -> object:
            if value is None and is_optional:
                return None
            for form in before:
                try:
                    return form.read(value)
                except _DAMAGE:
                    continue
            return last.read(value)

        return Form(write, read)

    def _dataclass(self, kind: type) -> Form:
        shape, hints = self._shapes.get(kind, Shape()), get_type_hints(kind)
        columns = self._columns_of[kind] = []
        for known in (known for known in fields(kind) if known.name not in shape.left_out):
            hint = hints[known.name]
            form = shape.forms.get(known.name) or self.form(hint)
            inline = self._columns_of[hint] if known.name in shape.inline else None
            has_default = known.default is not MISSING or known.default_factory is not MISSING
            columns.append(
                _Column(
                    name=known.name,
                    key=shape.keys.get(known.name, known.name),
                    form=form if inline is None else Form(form.write, _inline_reader(hint, inline)),
                    inline=inline,
                    is_optional=NoneType in get_args(hint),
                    is_required=known.name in shape.required or not (has_default or NoneType in get_args(hint)),
                    has_default=has_default,
                )
            )
        return (
            _row(kind, columns)
            if shape.is_row
            else _object(kind, columns, omits_none=shape.omits_none, is_strict=self._is_strict)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    name: str
    key: str
    form: Form
    inline: "list[_Column] | None"
    is_optional: bool
    is_required: bool
    has_default: bool

    def absent(self) -> dict[str, object]:
        """What stands for this column where the document has none: its default, by saying nothing, or None."""
        if self.is_required:
            raise Malformed("is missing")
        return {} if self.has_default else {self.name: None}


def _object(kind: type, columns: list[_Column], *, omits_none: bool | frozenset[str], is_strict: bool) -> Form:
    known = frozenset(_keys(columns)) if is_strict else None
    omitted = {c.name for c in columns} if omits_none is True else omits_none or frozenset()
    writes = [(column.name, column.key, column.form.write, column.inline is not None) for column in columns]

    def write(value: object) -> Document:
        document: Document = {}
        for name, key, write_part, is_inline in writes:
            part = getattr(value, name)
            if part is None:
                if name not in omitted:
                    document[key] = None
            elif is_inline:
                document.update(cast(Document, write_part(part)))
            else:
                document[key] = write_part(part)
        return document

    def read(document: object) -> object:
        if not isinstance(document, dict):
            raise Malformed("must be an object")
        if known is not None and not document.keys() <= known:
            raise Malformed(f"unknown key {min(map(str, document.keys() - known))!r:.80}")
        return kind(**_values(columns, document))

    return Form(write, read)


def _values(columns: list[_Column], document: Mapping[str, object]) -> dict[str, object]:
    values: dict[str, object] = {}
    place = ""
    try:  # one for all columns: records are read with every request
        for column in columns:
            place = column.key if column.inline is None else ""
            part = document if column.inline is not None else document.get(place, _ABSENT)
            if part is _ABSENT:
                values |= column.absent()
            else:
                values[column.name] = None if part is None and column.is_optional else column.form.read(part)
    except _DAMAGE as error:
        raise _placed(error, place) from error
    return values


_ABSENT = object()


def _inline_reader(kind: Callable[..., object], columns: list[_Column]) -> Callable[..., object]:
    """Reads its own keys of an object that has others as well, which are no strangers there."""
    return lambda document: kind(**_values(columns, document))


def _keys(columns: Iterable[_Column]) -> Iterable[str]:
    for column in columns:
        yield from [column.key] if column.inline is None else _keys(column.inline)


def _row(kind: type, columns: list[_Column]) -> Form:
    fewest = sum(not column.has_default for column in columns)

    def write(value: object) -> list[Json]:
        return [column.form.write(getattr(value, column.name)) for column in columns]

    def read(row: object) -> object:
        if not isinstance(row, list) or not fewest <= len(row) <= len(columns):
            raise Malformed(f"must be a list of {len(columns)} values")
        return kind(**{c.name: _read_at(c.key, c.form, value) for c, value in zip(columns, row, strict=False)})

    return Form(write, read)


def _sequence(item: Form, arrange: Callable[..., list[Json]], collect: Callable[..., object]) -> Form:
    def read(values: object) -> object:
        if not isinstance(values, list):
            raise Malformed("must be a list")
        return collect([_read_at(f"[{place}]", item, value) for place, value in enumerate(values)])

    return Form(lambda values: arrange(map(item.write, values)), read)


def _mapping(key: Form, item: Form) -> Form:
    def write(values: Mapping[object, object]) -> Document:
        return {str(key.write(name)): item.write(value) for name, value in values.items()}

    def read(document: object) -> object:
        if not isinstance(document, dict):
            raise Malformed("must be an object")
        return {_read_at(name, key, name): _read_at(name, item, value) for name, value in document.items()}

    return Form(write, read)


def _choice(kind: type[StrEnum]) -> Form:
    by_value = {member.value: member for member in kind}

    def read(value: object) -> object:
        if not isinstance(value, str) or value not in by_value:
            raise Malformed(f"must be one of {', '.join(by_value)}, not {value!r:.80}")
        return by_value[value]

    return Form(lambda member: member.value, read)


def _read_at(place: str, form: Form, value: object) -> object:
    """Read one part; what is wrong with it is told with its place."""
    try:
        return form.read(value)
    except _DAMAGE as error:
        raise _placed(error, place) from error


def _placed(error: BaseException, place: str) -> Malformed:
    if not isinstance(error, Malformed):
        return Malformed(str(error), place)
    return error.inside(place) if place else Malformed(error.problem, error.place)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Malformed(f"must be text, not {value!r:.80}")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise Malformed(f"must be a number, not {value!r:.80}")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Malformed(f"must be a whole number, not {value!r:.80}")
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Malformed(f"must be true or false, not {value!r:.80}")
    return value


def _moment(value: object) -> datetime:
    read = datetime.fromisoformat(_text(value))
    if read.tzinfo is None:
        raise Malformed(f"must name its time zone: {value!r:.80}")
    return read.astimezone(UTC)


USUAL: Mapping[object, Form] = {
    str: Form(str, _text),
    int: Form(int, _whole),
    float: Form(float, _number),
    bool: Form(bool, _flag),
    datetime: Form(lambda at: at.astimezone(UTC).isoformat(), _moment),
}
PLAIN = Codec()
to_document, from_document = PLAIN.to_document, PLAIN.from_document
