"""The router under test: the orchestrator's own services on in-memory ports, in a world that answers to its calls.

    states as last read -> decide -> dispatch, waiting in virtual time -> record -> later folded -> now and then retrain

What it knows lags as it does when deployed: a record is folded STREAM_LAG_S after its request ended, every environment
reads states for itself and has breakers of its own, of which it tells the others (`simulate.environments`). Load comes
from Little's law. Failover, hedges and timeouts are the Dispatcher's. No control share; a request's time is that of its
attempts: FISO's own milliseconds and the starts of its environments are left out.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from fiso.domain.attempt import Outcome
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, FunctionName, Provider
from fiso.domain.model import RetrainingRun
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.prediction.artifact import Model
from fiso.services.log.ingest import ingest
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.request import recording
from fiso.services.request.decide import DecisionInputs, decide
from fiso.services.request.orchestrate import failure_of, within
from fiso_cli.training import keys
from fiso_cli.worlds.clouds.arrivals import Arrival
from fiso_cli.worlds.clouds.concurrency import StrandCalls
from fiso_cli.worlds.clouds.results import Served
from fiso_cli.worlds.clouds.world import Call, Happened, Setting, World
from fiso_cli.worlds.environments import Environment, Environments
from fiso_cli.worlds.objective import WEIGHTS, Objective
from fiso_cli.worlds.trace_router import (
    LOOKBACK_DAYS,
    MINIMUM_NEW_ROWS,
    MINIMUM_ROWS,
    RETRAIN_EVERY,
    TENANT,
    Stores,
    champion_of,
)
from fiso_cli.worlds.virtual_time import Timeline
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

BEGINS_AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
"""Second 0, a Monday morning."""
STREAM_LAG_S = 1.5
"""The stream's batch window of a second, and what delivery and folding take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What became of every request, in their order, what retraining did, and how many environments were started."""

    served: tuple[Served, ...]
    retrainings: tuple[RetrainingRun, ...]
    environments: int


class WorldCaller:
    """Calls the world and waits for its answer in virtual time. Keeps what each request's calls came to."""

    def __init__(self, world: World, timeline: Timeline) -> None:
        self._world, self._timeline = world, timeline
        self.happened: dict[InvocationId, list[Happened]] = {}

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One call."""
        number = int(request.invocation_id)
        call = Call(request=number, function=request.function, arm=endpoint.id, timeout_ms=timeout_ms)
        happened = self._world.call(call, self._timeline.now_s)
        self.happened.setdefault(request.invocation_id, []).append(happened)
        self._timeline.wait(happened.latency_ms / 1000)
        if happened.failure is not None:
            raise ProviderError(happened.failure, "simulated")
        return FunctionAnswer(status=200, body=b"", cold=happened.cold, billed_ms=happened.billed_ms)


class Router:
    """One run. `draw` gives uniform numbers in [0, 1)."""

    def __init__(
        self, setting: Setting, policy: Policy, packaged: Model | None, *, world: World, draw: Callable[[], float]
    ) -> None:
        self._setting, self._model, self._draw = setting, packaged, draw
        self._entries = {name: _entry(name, setting, policy) for name in setting.services}
        self.timeline = Timeline()
        self._caller, self._stores = WorldCaller(world, self.timeline), Stores()
        self.environments = Environments(
            self._caller,
            self._stores.states,
            clock=self._now,
            stopwatch=lambda: self.timeline.now_s,
            beside=StrandCalls(self.timeline),
            remind=lambda after_s, rank_candidates: self.timeline.plan(self.timeline.now_s + after_s, rank_candidates),
            kept_s=setting.curves[Provider.AWS].median_s,
            draw=draw,
        )
        self._retrainer = Retrainer(
            models=self._stores.models,
            archive=self._stores.archive,
            runs=self._stores.runs,
            signer=keys.passing(),
            keys=keys.trusting(keys.passing()),
            minimum_rows=MINIMUM_ROWS,
            minimum_new_rows=MINIMUM_NEW_ROWS,
            lookback_days=LOOKBACK_DAYS,
        )
        self._folded = 0
        self.served: list[Served] = []

    @property
    def retrainings(self) -> tuple[RetrainingRun, ...]:
        """Every retraining so far."""
        return tuple(self._stores.runs.runs)

    def route(self, arrival: Arrival) -> None:
        """One request, from its arrival to its record; to be run in a strand of the timeline."""
        environment, request = self.environments.take(), self._request(arrival)
        now, function = request.received_at, request.function
        inputs = self._inputs(function, environment)
        request = within(inputs, request)
        decision = decide(request, inputs, now=now, draw=self._draw(), cache=environment.cache)
        environment.refresh_in_background(function, now)
        outcome = environment.dispatcher.dispatch(decision, request, inputs.entry.policy, inputs.breakers)
        elapsed_ms = (self.timeline.now_s - arrival.at_s) * 1000
        record = recording.record_of(
            request, inputs, decision, outcome, error=failure_of(outcome), elapsed_ms=elapsed_ms
        )
        self.served.append(self._ended(arrival, outcome, elapsed_ms, self._caller.happened.pop(request.invocation_id)))
        self.environments.give_back(environment)
        self.timeline.plan(self.timeline.now_s + STREAM_LAG_S, lambda: self._fold(record))

    def _fold(self, record: InvocationRecord) -> None:
        ingest([record], states=self._stores.states, archive=self._stores.archive, batch_id=record.invocation_id)
        self._folded += 1
        if self._folded % RETRAIN_EVERY == 0 and self._retrainer.retrain(now=self._now(), trigger="simulate").promoted:
            self._model = champion_of(self._stores.models, keys.trusting(keys.passing()))

    def _inputs(self, function: FunctionName, environment: Environment) -> DecisionInputs:
        entry, now = self._entries[function], self._now()
        states = environment.states_to_decide(function, now)
        return DecisionInputs(
            entry=entry,
            snapshot_version=1,
            tariff=self._setting.tariff,
            states=states,
            breakers=environment.breakers_of(entry, states, now),
            model=self._model,
        )

    def _request(self, arrival: Arrival) -> InvocationRequest:
        now = self._now()
        return InvocationRequest(
            invocation_id=InvocationId(str(arrival.number)),
            function=FunctionName(arrival.function),
            tenant=TENANT,
            received_at=now,
            deadline_at=now + timedelta(minutes=15),
            body=b"",
        )

    def _ended(self, arrival: Arrival, outcome: Outcome, elapsed_ms: float, happened: Sequence[Happened]) -> Served:
        last = outcome.attempts[-1] if outcome.attempts else None
        return Served(
            number=arrival.number,
            at_s=arrival.at_s,
            function=arrival.function,
            arm=last.endpoint if last else None,
            latency_ms=elapsed_ms,
            cost_usd=sum(call.cost_usd for call in happened),
            ok=outcome.answered_by is not None,
            cold=any(call.cold for call in happened),
            attempts=len(outcome.attempts),
        )

    def _now(self) -> datetime:
        return BEGINS_AT + timedelta(seconds=self.timeline.now_s)


def policy_of(objective: Objective, *, is_idempotent: bool) -> Policy:
    """The operator's row in a simulation: the usual one but for what is wanted."""
    may_repeat = Idempotent.YES if is_idempotent else Idempotent.NO
    return replace(Policy(version=1), weights=WEIGHTS[objective], idempotent=may_repeat)


def run(
    setting: Setting,
    arrivals: Sequence[Arrival],
    policy: Policy,
    packaged: Model | None,
    *,
    seed: int,
    on_request: Callable[[], None] = lambda: None,
) -> Simulated:
    """Route all requests; `on_request` hears of each arrival."""
    draw = random.Random(f"router/{seed}").random  # nosec B311 # draws of a simulation, no secrets
    router = Router(setting, policy, packaged, world=World(setting, seed=seed), draw=draw)

    def arrive(arrival: Arrival) -> None:
        on_request()
        router.timeline.strand(lambda: router.route(arrival))

    for arrival in arrivals:
        router.timeline.plan(arrival.at_s, partial(arrive, arrival))
    router.timeline.run()
    served = sorted(router.served, key=lambda request: request.number)
    return Simulated(served=tuple(served), retrainings=router.retrainings, environments=router.environments.started)


def _entry(name: str, setting: Setting, policy: Policy) -> CatalogEntry:
    return CatalogEntry(
        name=FunctionName(name), function_type=name, endpoints=tuple(setting.endpoints.values()), policy=policy
    )
