"""Declarations: a `fiso.yaml` read, checked whole, and turned into catalog entries. Every problem is found at once."""

import re
from collections.abc import Iterator, Mapping
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
from fiso_cli.catalog.yaml_text import parse as parse_yaml
from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_cli.traffic.documents import items, mapping

LARGEST_FILE_BYTES = 1_000_000


class InvalidDeclaration(CommandError):
    """A file that cannot be applied: one line per problem."""


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
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise InvalidDeclaration(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidDeclaration(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from error
    if len(data) > LARGEST_FILE_BYTES:
        raise InvalidDeclaration(f"{path}: is larger than {LARGEST_FILE_BYTES} bytes")
    return parse(text, setting, source=str(path))


def parse(text: str, setting: Setting, *, source: str = "fiso.yaml") -> Declaration:
    """The declaration in a text; `source` and the line begin every line about it."""
    try:
        file = parse_yaml(text)
    except ValueError as error:
        raise InvalidDeclaration(f"{source}: {error}") from error
    if not isinstance(file.value, dict):
        raise InvalidDeclaration(f"{source}: must be a mapping with version and functions")

    def told(found: list[Problem]) -> tuple[str, ...]:
        lines = [(file.line_of(problem.place), problem) for problem in found]
        return tuple(f"{source}:{line}: {problem}" for line, problem in sorted(lines, key=lambda at: at[0]))

    found, entries, rules = _checked(file.value, setting)
    if found:
        raise InvalidDeclaration("\n".join(told(found)))
    return Declaration(
        entries=tuple(entries),
        warnings=told([doubt for entry in entries for doubt in doubts.of_entry(entry)]),
        rules=rules,
    )


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
    if wrong & {("defaults", "policy"), ("defaults", "prices"), ("defaults",)}:
        return _Checked(found, [], rules)  # what the functions would inherit is not to be relied on
    defaults, functions = mapping(document.get("defaults") or {}), document.get("functions")
    for name, raw in functions.items() if isinstance(functions, dict) else ():
        if ("functions", name) not in wrong:
            reading = _Function(name, mapping(raw), defaults, setting)
            found += [Problem(place=("functions", name, *place), message=said) for place, said in reading.problems]
            entries += [reading.entry] if reading.entry else []
    return _Checked(found, entries, rules)


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
        endpoints: list[Json] = [
            self._endpoint(n, mapping(each), setting) for n, each in enumerate(items(raw["endpoints"]))
        ]
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

    def _endpoint(self, index: int, raw: Document, setting: Setting) -> Document:
        """As stores hold it, its address filled in."""
        document = spelling.stored_endpoint(raw)
        try:
            document["address"] = address.resolved(str(raw["address"]), setting.variables)
        except BadAddress as error:
            self.problems.append((("endpoints", index, "address"), str(error)))
            return document
        where = AddressRules(own_hosts=setting.own_hosts, allow_loopback=setting.is_local)
        try:
            endpoint = endpoint_from_document(document)
        except Malformed:
            return document  # what is wrong is told with the whole entry
        found = rules.endpoint_problems(endpoint, where)
        self.problems += [(("endpoints", index, key), said) for key, said in found]
        return document


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
