"""Declarations: a `fiso.yaml` read, checked whole, and turned into catalog entries. Every problem is found at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

from fiso.codecs.catalog import endpoint_from_document, entry_from_document, rules_from_document
from fiso.codecs.typed import Document, Json, Malformed
from fiso.domain import identity
from fiso.domain.address import AddressRules, hosts_in
from fiso.domain.catalog import CatalogEntry
from fiso.domain.errors import BadAddress, InvalidCatalog
from fiso.domain.fields import Impossible, Place
from fiso.domain.stage_rules import NO_RULES, StageRules
from fiso_cli.catalog import address, doubts, problems, rules, spelling
from fiso_cli.catalog.rules import Problem
from fiso_cli.catalog.yaml_text import BadYaml
from fiso_cli.catalog.yaml_text import parse as parse_yaml
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.rendering import plain
from fiso_cli.stage import Stage
from fiso_cli.traffic.documents import items, mapping

LARGEST_FILE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with a file, as one line: `fiso.yaml:7: functions.bfs.type: is missing`. A file that cannot be
    read has no line; one that is no YAML has a column and no field."""

    file: str
    line: int | None
    problem: str
    column: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        at = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        said = ": ".join(part for part in (at, self.field, self.problem) if part is not None)
        return plain(said).replace("\n", "\\n")

    def to_document(self) -> Document:
        """All but what there is not."""
        named = {"file": self.file, "line": self.line, "column": self.column, "field": self.field}
        return {**{key: value for key, value in named.items() if value is not None}, "problem": self.problem}


class InvalidDeclaration(BadInput):
    """A file that cannot be applied: one line per fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a file asks for, and what in it was probably not meant."""

    entries: tuple[CatalogEntry, ...]
    warnings: tuple[str, ...]
    rules: StageRules = NO_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a file is applied: the variables its addresses may name, whether the stage is this machine, and which hosts
    of one's own endpoints may be at."""

    variables: Mapping[str, str]
    is_local: bool
    own_hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, stage: Stage, own_hosts: str | None = None) -> Self:
        """A stage's own. Without network `own_hosts` are FISO_ENDPOINT_HOSTS; `CommandError` when they hold what no
        public host can be."""
        said = stage.environ.get("FISO_ENDPOINT_HOSTS", "") if own_hosts is None else own_hosts
        try:
            rules = AddressRules(own_hosts=hosts_in(said))
        except ValueError as error:
            raise CommandError(f"FISO_ENDPOINT_HOSTS: {error}: it takes exact names, as in api.example.com") from error
        return cls(variables=stage.address_variables, is_local=stage.is_local, own_hosts=rules.own_hosts)


def read(path: Path, setting: Setting) -> Declaration:
    """The declaration in a file; `InvalidDeclaration` lists what is wrong with it."""

    def refused(problem: str, line: int | None = None) -> InvalidDeclaration:
        return InvalidDeclaration([Fault(file=str(path), line=line, problem=problem)])

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise refused(error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise refused(f"is not UTF-8 text: {error.reason} at byte {error.start}", line) from error
    if len(data) > LARGEST_FILE_BYTES:
        raise refused(f"is larger than {LARGEST_FILE_BYTES} bytes")
    return parse(text, setting, source=str(path))


def parse(text: str, setting: Setting, *, source: str = "fiso.yaml") -> Declaration:
    """The declaration in a text; `source` and the line begin every line about it."""
    try:
        file = parse_yaml(text)
    except BadYaml as error:
        flaws = [Fault(file=source, line=each.line, column=each.column, problem=each.problem) for each in error.flaws]
        raise InvalidDeclaration(flaws) from error
    if not isinstance(file.value, dict):
        said = "must be a mapping with version and functions"
        raise InvalidDeclaration([Fault(file=source, line=1, problem=said)])

    def told(found: list[Problem]) -> list[Fault]:
        faults = [
            Fault(file=source, line=file.line_of(each.place), field=each.field, problem=each.message) for each in found
        ]
        return sorted(faults, key=lambda fault: fault.line or 0)

    found, entries, rules = _checked(file.value, setting)
    if found:
        raise InvalidDeclaration(told(found))
    doubtful = told([doubt for entry in entries for doubt in doubts.of_entry(entry)])
    return Declaration(entries=tuple(entries), warnings=tuple(map(str, doubtful)), rules=rules)


class _Checked(NamedTuple):
    """What is wrong, the entries of the functions that are not, and what holds for all of them."""

    found: list[Problem]
    entries: list[CatalogEntry]
    rules: StageRules


def _checked(document: Document, setting: Setting) -> _Checked:
    """One function's fault hides no other's."""
    found, entries = list(problems.of_shape(document)), list[CatalogEntry]()
    wrong = {problem.place[:2] for problem in found}
    rules = NO_RULES
    if not any(place[0] in spelling.STAGE_KEYS for place in wrong if place):
        rules, of_rules = _rules(document)
        found += of_rules
        setting = replace(setting, own_hosts=setting.own_hosts | rules.hosts)
    is_relied_on = not wrong & {("defaults", "policy"), ("defaults", "prices"), ("defaults",)}
    defaults, functions = _part(document, "defaults") if is_relied_on else {}, document.get("functions")
    for name, raw in functions.items() if isinstance(functions, dict) else ():
        if is_relied_on and ("functions", name) not in wrong:
            reading = _Function(name, mapping(raw), defaults, setting)
            problems_here, entry = reading.problems, reading.entry
        else:
            problems_here, entry = _of_sound_endpoints(name, raw, {problem.place for problem in found}, setting), None
        found += [Problem(place=("functions", name, *place), message=said) for place, said in problems_here]
        entries += [entry] if entry else []
    return _Checked(found, entries, rules)


def _of_sound_endpoints(name: str, raw: Json, wrong: set[Place], setting: Setting) -> list[tuple[Place, str]]:
    """A fault elsewhere in its function hides none of an endpoint."""
    listed = raw.get("endpoints") if isinstance(raw, dict) else None
    faulty = {place[3] if len(place) > 3 else None for place in wrong if place[:3] == ("functions", name, "endpoints")}
    if not isinstance(listed, list) or None in faulty:
        return []
    sound = [(index, mapping(each)) for index, each in enumerate(listed) if index not in faulty]
    return [problem for index, each in sound for problem in _endpoint(index, each, setting).problems]


def _rules(document: Document) -> tuple[StageRules, list[Problem]]:
    """What the file says of the stage, of the right shape."""
    try:
        rules = rules_from_document(spelling.stored_rules(document))
    except Malformed as error:
        return NO_RULES, [Problem(place=place, message=said) for place, said in _places_of(error)]
    try:
        AddressRules(own_hosts=rules.hosts)
    except ValueError as error:
        return NO_RULES, [Problem(place=("hosts",), message=f"{error}: exact names, as in api.example.com")]
    flaws = identity.flaws_of(rules.identities or {})
    return rules, [Problem(place=("identities", name), message=said) for name, said in flaws.items()]


def _part(document: Document, key: str) -> Document:
    return mapping(document.get(key, {}))


class _Function:
    """One function of the right shape, on its way to an entry; what is wrong with it is gathered on the way."""

    def __init__(self, name: str, raw: Document, defaults: Document, setting: Setting) -> None:
        self.problems: list[tuple[Place, str]] = []
        self.entry: CatalogEntry | None = None
        endpoints: list[Json] = []
        for index, each in enumerate(items(raw["endpoints"])):
            endpoint = _endpoint(index, mapping(each), setting)
            endpoints.append(endpoint.document)
            self.problems += endpoint.problems
        policy = spelling.stored_policy(spelling.merged(_part(defaults, "policy"), _part(raw, "policy")))
        document: Document = {"name": name, "function_type": raw["type"], "endpoints": endpoints, "policy": policy}
        if prices := {**_part(defaults, "prices"), **_part(raw, "prices")}:
            document["prices"] = prices
        try:
            entry = entry_from_document(document)
        except InvalidCatalog as error:
            self.problems += _places_of(error.__cause__)
            return
        self.entry = entry
        if not self.problems:
            self.problems += rules.eligibility_problems(entry)


class _Endpoint(NamedTuple):
    """As stores hold it, its address filled in, and what is wrong with it."""

    document: Document
    problems: list[tuple[Place, str]]


def _endpoint(index: int, raw: Document, setting: Setting) -> _Endpoint:
    document = spelling.stored_endpoint(raw)
    try:
        document["address"] = address.resolved(str(raw["address"]), setting.variables)
    except BadAddress as error:
        return _Endpoint(document, [(("endpoints", index, "address"), str(error))])
    where = AddressRules(own_hosts=setting.own_hosts, allow_loopback=setting.is_local)
    try:
        endpoint = endpoint_from_document(document)
    except Malformed:
        return _Endpoint(document, [])  # what is wrong is told with the whole entry
    found = rules.endpoint_problems(endpoint, where)
    return _Endpoint(document, [(("endpoints", index, key), said) for key, said in found])


def _places_of(error: BaseException | None) -> Iterator[tuple[Place, str]]:
    """What the codec, or a type's own check, could not accept, by its place in the file."""
    if not isinstance(error, Malformed):
        raise TypeError(f"not told where: {error!r}") from error
    around = tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", error.place))
    inner: BaseException | None = error
    while isinstance(inner, Malformed):
        inner = inner.__cause__
    for place, said in inner.problems if isinstance(inner, Impossible) else [((), error.problem)]:
        yield tuple("mode" if part == "pinned" else part for part in (*around, *place)), said
