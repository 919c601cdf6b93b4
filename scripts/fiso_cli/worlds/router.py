"""The router under test: the orchestrator's own services on in-memory ports, in a world that answers to its calls.

    states as last read -> decide -> dispatch, in virtual time -> record -> later folded -> now and then retrain

It is told the outcomes of the calls that it makes and nothing else. Where calls overlap, what it knows lags as it does
when deployed: a record is folded STREAM_LAG_S after its request ended, every environment reads states for itself and
has breakers of its own, of which it tells the others (`environments`). In a trace a record is folded before the next
round. Load is what the world states, else by Little's law. Failover, hedges and timeouts are the Dispatcher's. No
control share; FISO's own milliseconds and the starts of its environments are left out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from fiso.adapters.aws.models import LayerModelStore
from fiso.codecs.signature import PublicKeys
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.model import RetrainingRun
from fiso.domain.policy import Idempotent, Policy
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.ports import ModelStore
from fiso.prediction import manifest
from fiso.prediction.artifact import Model
from fiso.services.log.ingest import ingest
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.request import recording
from fiso.services.request.decide import USUAL_LAG_S, DecisionInputs, decide
from fiso.services.request.orchestrate import failure_of, within
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates, InMemoryModelStore, InMemoryRetrainingRuns
from fiso_cli.training import keys
from fiso_cli.worlds.environments import Environment, Environments
from fiso_cli.worlds.objective import Objective, policy_for
from fiso_cli.worlds.virtual_time import Arrival, Timeline, VirtualTime
from fiso_cli.worlds.world import Call, CallResult, Result, Routed, World, Worlds
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import ProviderError

RETRAIN_EVERY = 500
"""Records between retrainings; the retrainer's own minimums (deployed defaults, below) decide whether one happens."""
MINIMUM_ROWS, MINIMUM_NEW_ROWS, LOOKBACK_DAYS = 1_000, 100, 30
STREAM_LAG_S = 1.5
"""The stream's batch window of a second, and what delivery and folding take."""
TENANT = TenantId("worlds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of every request, in their order, and what the router did on the way.

    `hits` and `misses` count decisions in contexts seen before and not; those that had no context, since an endpoint
    had failed lately, are in neither.
    """

    results: tuple[Result, ...]
    retrainings: tuple[RetrainingRun, ...]
    environments: int
    hits: int
    misses: int


class WorldCaller:
    """Calls the world and waits for its answer in virtual time. Keeps what each request's calls came to."""

    def __init__(self, world: World, time: VirtualTime) -> None:
        self._world, self._time = world, time
        self.results: dict[InvocationId, list[CallResult]] = {}

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One call."""
        number = int(request.invocation_id)
        call = Call(request=number, function=request.function, arm=endpoint.id, timeout_ms=timeout_ms)
        result = self._world.call(call, self._time.now_s)
        self.results.setdefault(request.invocation_id, []).append(result)
        self._time.wait(result.latency_ms / 1000)
        if result.failure is not None:
            raise ProviderError(result.failure, "as the world has it")
        return FunctionAnswer(status=200, body=b"", cold=result.cold, billed_ms=result.billed_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stores:
    states: InMemoryEndpointStates = field(default_factory=InMemoryEndpointStates)
    archive: InMemoryArchive = field(default_factory=InMemoryArchive)
    models: InMemoryModelStore = field(default_factory=InMemoryModelStore)
    runs: InMemoryRetrainingRuns = field(default_factory=InMemoryRetrainingRuns)


class Router:
    """One run. `packaged` is the model that it starts with."""

    def __init__(self, worlds: Worlds, policy: Policy, packaged: Model | None, *, seed: int) -> None:
        self._worlds, self._policy, self._model = worlds, policy, packaged
        self._draw = worlds.draws("router", seed).random
        self.time = worlds.time()
        self._caller, self._stores = WorldCaller(worlds.world(seed), self.time), _Stores()
        self.environments = Environments(
            self._caller,
            self._stores.states,
            time=self.time,
            clock=self._now,
            kept_s=worlds.environment_kept_s,
            draw=self._draw,
        )
        signer = keys.passing()
        self._trusted = keys.trusting(signer)
        self._retrainer = Retrainer(
            models=self._stores.models,
            archive=self._stores.archive,
            runs=self._stores.runs,
            signer=signer,
            keys=self._trusted,
            minimum_rows=MINIMUM_ROWS,
            minimum_new_rows=MINIMUM_NEW_ROWS,
            lookback_days=LOOKBACK_DAYS,
        )
        self._entries: dict[tuple[str, tuple[EndpointId, ...]], CatalogEntry] = {}
        """One per function and set of arms: the decision cache knows an entry by its identity."""
        self._folded = 0
        self._results: list[Result] = []

    def route(self, arrival: Arrival) -> None:
        """One request, from its arrival to its record; in a strand, since it waits."""
        environment, request, began_s = self.environments.take(), self._request(arrival), self.time.stopwatch()
        inputs = self._inputs(arrival, request, environment)
        request, now = within(inputs, request), request.received_at
        decision = decide(request, inputs, now=now, draw=self._draw(), cache=environment.cache)
        environment.refresh_in_background(request.function, now)
        outcome = environment.dispatcher.dispatch(decision, request, inputs.entry.policy, inputs.breakers)
        elapsed_ms = (self.time.stopwatch() - began_s) * 1000
        error = None if outcome.answer else failure_of(outcome)
        routed = Routed(
            arrival=arrival,
            decision=decision,
            outcome=outcome,
            record=recording.record_of(request, inputs, decision, outcome, error=error, elapsed_ms=elapsed_ms),
            elapsed_ms=elapsed_ms,
            calls=self._caller.results.pop(request.invocation_id, []),
        )
        self._results.append(self._worlds.result(routed))
        self.environments.give_back(environment)
        self.time.after(STREAM_LAG_S, partial(self._fold, self._worlds.billed(routed)))

    def run(self) -> Run:
        """What it came to."""
        caches = [environment.cache for environment in self.environments.all]
        return Run(
            results=tuple(sorted(self._results, key=lambda result: result.number)),
            retrainings=tuple(self._stores.runs.runs),
            environments=len(caches),
            hits=sum(cache.hits for cache in caches),
            misses=sum(cache.misses for cache in caches),
        )

    def _fold(self, record: InvocationRecord) -> None:
        """What a retraining promotes serves from the next request on."""
        ingest([record], states=self._stores.states, archive=self._stores.archive, batch_id=record.invocation_id)
        self._folded += 1
        if self._folded % RETRAIN_EVERY == 0 and self._retrainer.retrain(now=self._now(), trigger="worlds").promoted:
            self._model = champion_of(self._stores.models, self._trusted)

    def _inputs(self, arrival: Arrival, request: InvocationRequest, environment: Environment) -> DecisionInputs:
        now, entry = request.received_at, self._entry(arrival)
        states = environment.states_to_decide(request.function, now)
        return DecisionInputs(
            entry=entry,
            snapshot_version=1,
            tariff=self._worlds.market.tariff,
            states=states,
            breakers=environment.breakers_of(entry, states, now),
            model=self._model,
            in_flight=arrival.in_flight,
            lag_s=USUAL_LAG_S if isinstance(self.time, Timeline) else 0.0,
        )

    def _entry(self, arrival: Arrival) -> CatalogEntry:
        key = (arrival.function, tuple(self._worlds.present(arrival)))
        if key not in self._entries:
            self._entries[key] = CatalogEntry(
                name=FunctionName(arrival.function),
                function_type=arrival.function,
                endpoints=tuple(self._worlds.market.endpoints[arm] for arm in key[1]),
                policy=self._policy,
            )
        return self._entries[key]

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

    def _now(self) -> datetime:
        return self._worlds.begins_at + timedelta(seconds=self.time.now_s)


def policy_of(objective: Objective, *, is_idempotent: bool = False) -> Policy:
    """The operator's row: the usual one but for what is wanted."""
    may_repeat = Idempotent.YES if is_idempotent else Idempotent.NO
    return replace(policy_for(objective), idempotent=may_repeat)


def run(
    worlds: Worlds,
    policy: Policy,
    packaged: Model | None,
    *,
    seed: int,
    on_request: Callable[[], None] = lambda: None,
) -> Run:
    """Route all requests; `on_request` hears of each arrival."""
    router = Router(worlds, policy, packaged, seed=seed)

    def arrive(arrival: Arrival) -> None:
        on_request()
        router.time.strand(partial(router.route, arrival))

    arrivals: Sequence[Arrival] = worlds.arrivals(seed)
    router.time.play(arrivals, arrive)
    return router.run()


def packaged_model(folder: Path) -> Model | None:
    """The model a new deployment starts with; None leaves the baseline."""
    return champion_of(LayerModelStore(folder), manifest.packaged_keys())


def champion_of(models: ModelStore, trusted: PublicKeys) -> Model | None:
    """The verified champion of a store; None when it has none."""
    pointer = models.champion()
    return None if pointer is None else manifest.read(pointer, models.artifact(pointer), trusted)
