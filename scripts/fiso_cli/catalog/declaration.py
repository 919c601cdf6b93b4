"""Declarations: a `fiso.yaml` read, checked whole, and turned into catalog entries. Every problem is found at once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from fiso.domain.address import AddressRules, hosts_in
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.policy import Mode, Policy, Weights
from fiso_cli.catalog import address, policy_rules, rules
from fiso_cli.catalog.problems import Problem, problems_of
from fiso_cli.catalog.schema import DeclaredCatalog, DeclaredEndpoint, DeclaredFunction, DeclaredPolicy
from fiso_cli.catalog.strategies import to_domain
from fiso_cli.catalog.yaml_text import parse as parse_yaml
from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage

LARGEST_FILE_BYTES = 1_000_000


class InvalidDeclaration(CommandError):
    """A file that cannot be applied: one line per problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What a file asks for, and what in it was probably not meant."""

    entries: tuple[CatalogEntry, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a file is applied: the variables its addresses may name, whether the stage is this machine, and which hosts
    of one's own endpoints may be at."""

    variables: Mapping[str, str]
    is_local: bool
    own_hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, stage: Stage) -> Self:
        """A stage's own; `CommandError` when FISO_ENDPOINT_HOSTS holds what no public host can be."""
        try:
            rules = AddressRules(own_hosts=hosts_in(stage.environ.get("FISO_ENDPOINT_HOSTS", "")))
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
    """The declaration in a text; `source` begins every line about it."""
    try:
        document = parse_yaml(text)
    except ValueError as error:
        raise InvalidDeclaration(f"{source}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidDeclaration(f"{source}: must be a mapping with version and functions")
    problems, entries = _checked(document, setting)
    if problems:
        raise InvalidDeclaration("\n".join(f"{source}: {problem}" for problem in problems))
    doubts = tuple(f"{source}: {problem}" for entry in entries for problem in _doubts(entry))
    return Declaration(entries=tuple(entries), warnings=doubts)


def _doubts(entry: CatalogEntry) -> Iterator[Problem]:
    yield from rules.warnings(entry)
    yield from policy_rules.warnings(entry)


def _checked(document: dict[object, object], setting: Setting) -> tuple[list[Problem], list[CatalogEntry]]:
    problems: list[Problem] = []
    entries: list[CatalogEntry] = []
    defaults = DeclaredPolicy()
    try:
        defaults = DeclaredCatalog.model_validate(document).defaults.policy
    except ValidationError as error:
        problems += problems_of(error)
    functions = document.get("functions")
    for name, raw in functions.items() if isinstance(functions, dict) else ():
        try:
            declared = DeclaredFunction.model_validate(raw)
        except ValidationError as error:
            problems += problems_of(error, within=("functions", str(name)))
            continue
        policy = _merged(defaults, declared.policy)
        found = list(_function_problems(str(name), declared, policy, setting))
        if not found:
            entry = _entry(str(name), declared, policy, setting)
            found = list(rules.eligibility_problems(entry))
            entries.append(entry)
        problems += found
    return problems, entries


def _function_problems(
    name: str, declared: DeclaredFunction, policy: DeclaredPolicy, setting: Setting
) -> Iterator[Problem]:
    where = AddressRules(own_hosts=setting.own_hosts, allow_loopback=setting.is_local)
    found = rules.endpoint_problems(declared, variables=setting.variables, where=where)
    for place, message in (*found, *policy_rules.problems(declared, policy)):
        yield Problem(place=("functions", name, *place), message=message)


def _merged(defaults: DeclaredPolicy, own: DeclaredPolicy) -> DeclaredPolicy:
    """The function's keys over the defaults'. `allow` and `deny` merge key by key, so that a default denial stays."""
    fields: dict[str, Any] = defaults.model_dump(exclude_unset=True)
    for name, value in own.model_dump(exclude_unset=True).items():
        merges = name in ("allow", "deny")
        fields[name] = {**fields.get(name, {}), **value} if merges else value
    return DeclaredPolicy.model_validate(fields)


def _entry(name: str, declared: DeclaredFunction, policy: DeclaredPolicy, setting: Setting) -> CatalogEntry:
    return CatalogEntry(
        name=FunctionName(name),
        function_type=declared.type,
        endpoints=tuple(_endpoint(endpoint, setting.variables) for endpoint in declared.endpoints),
        policy=_policy(policy),
    )


def _endpoint(declared: DeclaredEndpoint, variables: Mapping[str, str]) -> Endpoint:
    return Endpoint(
        id=EndpointId(declared.id),
        provider=declared.provider,
        region=declared.region,
        memory_mb=declared.memory_mb,
        address=address.resolved(declared.address, variables),
        path=declared.path,
        payload=declared.payload,
        authentication=rules.authentication_of(declared),
        secret_ref=declared.secret_ref,
        concurrency_limit=declared.concurrency_limit,
    )


def _policy(declared: DeclaredPolicy) -> Policy:
    """The policy as the domain has it. Its version is the store's to give."""
    mode, _, pinned = declared.mode.partition(":")
    weights = declared.weights
    return Policy(
        version=0,
        weights=Weights() if weights is None else Weights(**weights.model_dump()),
        scoring=declared.scoring,
        objective=declared.objective,
        latency_objective_ms=declared.latency_objective_ms,
        allowed_providers=frozenset(declared.allow.providers),
        denied_providers=frozenset(declared.deny.providers),
        allowed_regions=frozenset(declared.allow.regions),
        denied_regions=frozenset(declared.deny.regions),
        residency=frozenset(declared.residency),
        max_p95_ms=declared.max_p95_ms,
        max_cost_usd=declared.max_cost_usd,
        tiers=tuple(frozenset(map(EndpointId, tier)) for tier in declared.tiers),
        strategies=tuple(map(to_domain, declared.strategies)),
        mode=Mode(mode),
        home=EndpointId(declared.home) if declared.home else None,
        pinned=EndpointId(pinned) if pinned else None,
        idempotent=declared.idempotent,
        timeout_ms=declared.timeout_ms,
        max_attempts=declared.max_attempts,
        exploration=declared.exploration,
        hedging=declared.hedging,
        control_share=declared.control_share,
        control_block_s=declared.control_block_s,
        cost_source=declared.cost_source,
    )
