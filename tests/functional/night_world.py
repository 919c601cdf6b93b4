"""A night for the console: one function fails for one tenant, a breaker is open, a canary was stopped, and somebody
changed a policy. Everything went through the genuine fold."""

from dataclasses import replace
from datetime import timedelta

from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import InvocationRecord
from fiso.domain.request import TenantId
from fiso.domain.steering import Canary
from fiso.routing.breaker_notices import Domain, Transition
from fiso.services.log.ingest import ingest
from fiso_client.core.breaker import Breaker
from fiso_client.core.failures import Failure, Fault
from tests.builders import a_record, an_attempt
from tests.functional.console_world import World, busy_world

FAILING, TENANT, COPY = FunctionName("compress"), TenantId("acme"), EndpointId("azure-eus")
BEGAN_BEFORE = timedelta(minutes=12)


def a_night(count: int = 120) -> World:
    world = busy_world(count)
    world.clock.advance(20 * 60.0)
    world.order = world.ordered
    _fail(world)
    _open_a_breaker(world)
    _change_policies(world)
    return world


def _fail(world: World) -> None:
    """Ever more seldom answered, since twelve minutes."""
    now = world.clock()
    records = [_record(number, world) for number in range(120)]
    for record in records:
        world.log.close(record)
    ingest(records, states=world.states, batch_id="night", rollups=world.rollups)
    assert max(record.timestamp for record in records) <= now


def _record(number: int, world: World) -> InvocationRecord:
    at = world.clock() - BEGAN_BEFORE + timedelta(seconds=6 * number)
    bad = an_attempt(
        COPY, started_at=at, status=500, verdict=Fault.FUNCTION, evidence="MemoryError in handler", cost_usd=2e-6
    )
    good = an_attempt("aws-use1", started_at=at, cost_usd=1e-6)
    own = {"timestamp": at, "function_name": FAILING, "tenant": TENANT}
    if number % 3:
        return a_record(
            1000 + number,
            **own,
            attempts=(bad,),
            error_occurred=True,
            response_status=500,
            endpoint=COPY,
            cloud_provider=Provider.AZURE,
            region="eastus",
        )
    return a_record(1000 + number, **own, attempts=(good,), endpoint=EndpointId("aws-use1"))


def _open_a_breaker(world: World) -> None:
    now = world.clock()
    breaker = Breaker(
        trips_in_row=2, opened_until=now + timedelta(minutes=1), changed_at=now, cause=Failure.TIMED_OUT, out_since=now
    )
    domain = Domain(Provider.GCP, "us-central1")
    world.shared_breakers.write(
        Transition(function=FunctionName("pixels"), endpoint=EndpointId("gcp-usc1"), domain=domain, breaker=breaker)
    )


def _change_policies(world: World) -> None:
    before = world.snapshots.current()
    assert before is not None
    entry = before.functions[FAILING]
    canary = Canary(endpoint=EndpointId("aws-euw1"), release="2026-11-23")
    policy = replace(entry.policy, version=4, max_attempts=1, canary=canary)
    functions = {**before.functions, FAILING: replace(entry, policy=policy)}
    world.snapshots.publish(
        replace(before, version=4, published_at=world.clock() - timedelta(minutes=14), functions=functions)
    )
