"""Laws of the catalog's codec: it round-trips, and what was damaged is refused or means the same."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.address import without_misspelled
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import (
    LARGEST_MEMORY_MB,
    Authentication,
    Endpoint,
    EndpointId,
    FunctionName,
    Payload,
    Provider,
)
from fiso.domain.errors import InvalidCatalog
from fiso.domain.policy import CostSource, Idempotent, Mode, Objective, Pin, Policy, Scoring, Weights
from fiso.domain.strategy import CandidateField, Condition, Operator, RequestField, Strategy

words = st.text(max_size=12)
regions = st.frozensets(st.text(min_size=1, max_size=8), max_size=3)
providers = st.frozensets(st.sampled_from(Provider), max_size=3)
shares = st.floats(min_value=0, max_value=1e300, allow_subnormal=True)
sizes, limits = st.integers(1, LARGEST_MEMORY_MB), st.integers(1, 1_000_000)
weights = st.builds(
    Weights, latency=shares, cost=shares, reliability=shares, region_affinity=shares.map(lambda w: w or 1)
)

endpoints = st.builds(
    Endpoint,
    id=words.map(EndpointId),
    provider=st.sampled_from(Provider),
    region=words,
    memory_mb=sizes,
    address=st.text(min_size=1, max_size=30),
    path=words,
    payload=st.sampled_from(Payload),
    authentication=st.sampled_from(Authentication),
    secret_ref=st.none() | words,
    concurrency_limit=limits,
)

amounts = st.floats(min_value=0, max_value=1e300, exclude_min=True)
regions_asked = st.builds(
    Condition,
    field=st.just(RequestField.USER_REGION),
    operator=st.sampled_from([Operator.IN, Operator.NOT_IN]),
    values=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=3).map(tuple),
)
COLD = Condition(field=CandidateField.COLD_PROBABILITY, operator=Operator.AT_LEAST, values=(0.5,))
moments = st.datetimes(timezones=st.just(UTC))
pins = st.builds(
    Pin,
    by=words,
    at=moments,
    reason=words,
    until=st.none() | moments,
    then=st.sampled_from([Mode.ROUTE, Mode.OBSERVE]),
)


def tiers_of(ids: Sequence[EndpointId]) -> st.SearchStrategy[tuple[frozenset[EndpointId], ...]]:
    orders = st.permutations(ids)
    return orders.map(lambda order: tuple(frozenset({id}) for id in order)) | st.just(())


def policies(
    ids: Sequence[EndpointId], *, regions: st.SearchStrategy[frozenset[str]], names: st.SearchStrategy[str]
) -> st.SearchStrategy[Policy]:
    """Policies that name these endpoints only; `names` are for strategies."""
    rules = st.builds(
        Strategy,
        name=names,
        when=st.frozensets(regions_asked, max_size=1),
        candidates=st.just(frozenset({COLD})),
        factor=st.floats(min_value=0, max_value=10, exclude_min=True),
    )
    own = st.sampled_from(ids)
    return st.builds(
        Policy,
        version=st.integers(min_value=0),
        weights=weights,
        scoring=st.sampled_from(Scoring),
        objective=st.sampled_from(Objective),
        latency_objective_ms=amounts,
        allowed_providers=providers,
        denied_providers=providers,
        allowed_regions=regions,
        denied_regions=regions,
        residency=regions,
        max_p95_ms=st.none() | amounts,
        max_cost_usd=st.none() | amounts,
        tiers=tiers_of(ids),
        strategies=st.lists(rules, max_size=3, unique_by=lambda rule: rule.name).map(tuple),
        mode=st.sampled_from(Mode),
        home=own,
        pinned=own,
        idempotent=st.sampled_from(Idempotent),
        timeout_ms=st.integers(min_value=100, max_value=28_000),
        max_attempts=st.integers(min_value=1, max_value=5),
        exploration=st.floats(min_value=0, max_value=0.5),
        hedging=st.floats(min_value=0, max_value=0.2),
        control_share=st.floats(min_value=0, max_value=0.5),
        control_block_s=st.integers(60, 604_800),
        cost_source=st.sampled_from(CostSource),
    )


@st.composite
def entries(draw: st.DrawFn) -> CatalogEntry:
    """A function whose policy names only its own endpoints."""
    owned = draw(st.lists(endpoints, min_size=1, max_size=3, unique_by=lambda endpoint: endpoint.id))
    policy = draw(policies([each.id for each in owned], regions=regions, names=st.text(min_size=1, max_size=12)))
    pin = draw(st.none() | pins) if policy.mode is Mode.PIN else None
    policy = replace(policy, pin=pin)
    return CatalogEntry(
        name=FunctionName(draw(words)), function_type=draw(words), endpoints=tuple(owned), policy=policy
    )


snapshots = st.builds(
    Snapshot,
    version=st.integers(min_value=0),
    published_at=st.datetimes(timezones=st.just(UTC)),
    functions=st.lists(entries(), max_size=2).map(lambda found: {entry.name: entry for entry in found}),
)


@given(snapshots)
def test_a_snapshot_survives_being_bytes(snapshot: Snapshot) -> None:
    assert snapshot_from_json(snapshot_to_json(snapshot)) == without_misspelled(snapshot)


@given(snapshots)
def test_bytes_do_not_depend_on_the_order_of_functions(snapshot: Snapshot) -> None:
    turned = replace(snapshot, functions=dict(reversed(list(snapshot.functions.items()))))
    assert snapshot_to_json(turned) == snapshot_to_json(snapshot)


@given(snapshots, st.data())
def test_one_flipped_bit_never_changes_what_is_read(snapshot: Snapshot, data: st.DataObject) -> None:
    damaged = bytearray(snapshot_to_json(snapshot))
    position = data.draw(st.integers(min_value=0, max_value=len(damaged) - 1))
    damaged[position] ^= 1 << data.draw(st.integers(min_value=0, max_value=7))
    try:
        read = snapshot_from_json(bytes(damaged))
    except InvalidCatalog:
        return
    assert read == without_misspelled(snapshot)  # the case of a hexadecimal digit in an escape carries no meaning


@given(st.binary(max_size=200))
def test_any_bytes_are_a_snapshot_or_refused(data: bytes) -> None:
    try:
        snapshot_from_json(data)
    except InvalidCatalog:
        return
