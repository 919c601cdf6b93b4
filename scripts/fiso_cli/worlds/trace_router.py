"""The router under test: the orchestrator's own services on in-memory ports, round by round on a virtual clock.

    known states -> decide -> dispatch to the trace -> record -> ingest -> now and then retrain

It is told the outcome of the arm it picked and nothing else. What it is told of cost is the trace's `cost_usd`, as a
bill would say: the record carries it, and the answer the billed time that the tariff must see to come to it. Costs are
predicted from the tariff, as in the policy. A round's record is folded before the next round. No control share.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fiso.adapters.aws.pointers import LayerModelStore
from fiso.billing import tariff
from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName
from fiso.domain.model import RetrainingRun
from fiso.domain.record import InvocationRecord
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.ports import ModelStore
from fiso.prediction import manifest, signature
from fiso.prediction.artifact import Model
from fiso.prediction.signature import PublicKeys
from fiso.services.log.ingest import ingest
from fiso.services.maintenance.retrain import Retrainer
from fiso.services.request import recording
from fiso.services.request.decide import DecisionInputs, RankingCache, decide
from fiso.services.request.decision_cache import DecisionCache
from fiso.services.request.orchestrate import failure_of
from fiso.services.resilience.breakers import Breakers
from fiso.services.resilience.dispatch import Dispatcher
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates, InMemoryModelStore, InMemoryRetrainingRuns
from fiso_cli.training import keys
from fiso_cli.worlds.trace import Call, Round, Trace
from fiso_cli.worlds.trace_catalog import Catalog
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError

RETRAIN_EVERY = 500
"""Rounds between retrainings; the retrainer's own minimums (the deployed defaults below) decide whether one happens."""
MINIMUM_ROWS, MINIMUM_NEW_ROWS, LOOKBACK_DAYS = 1_000, 100, 30
TENANT = TenantId("replay")
EPOCH = datetime.fromtimestamp(0, UTC)


class TraceCaller:
    """Answers a call with what the trace says of that arm in the current round; the time it takes is virtual."""

    def __init__(self, prices: Tariff) -> None:
        self._prices = prices
        self._calls: dict[EndpointId, Call] = {}
        self.elapsed_s = 0.0

    def play(self, played: Round) -> None:
        """Turn to a round."""
        self._calls = dict(played.calls)
        self.elapsed_s = 0.0

    def call(self, endpoint: Endpoint, request: InvocationRequest, *, timeout_ms: float) -> FunctionAnswer:
        """One call. It has ended long ago, so no timeout cuts it; one that is not ok is the provider's fault."""
        known = self._calls[endpoint.id]
        self.elapsed_s += known.latency_ms / 1000
        if not known.ok:
            raise ProviderError(Failure.PROVIDER_FAULT, "not ok in the trace")
        billed_ms = billed_ms_of(known.cost_usd, endpoint, self._prices)
        return FunctionAnswer(status=200, body=b"", cold=known.cold, billed_ms=billed_ms)


@dataclass(slots=True, kw_only=True)
class Clock:
    """A clock that stands at the current round."""

    now: datetime = EPOCH

    def __call__(self) -> datetime:
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The in-memory ports of one run."""

    states: InMemoryEndpointStates = field(default_factory=InMemoryEndpointStates)
    archive: InMemoryArchive = field(default_factory=InMemoryArchive)
    models: InMemoryModelStore = field(default_factory=InMemoryModelStore)
    runs: InMemoryRetrainingRuns = field(default_factory=InMemoryRetrainingRuns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The arms picked, one per round, what retraining did on the way, and how many contexts had been seen before.

    `hits` and `misses` leave out the rounds that had no context, since an endpoint had failed lately.
    """

    picks: tuple[EndpointId, ...]
    retrainings: tuple[RetrainingRun, ...]
    hits: int
    misses: int


class Router:
    """One run over one trace. `draw` gives uniform numbers in [0, 1)."""

    def __init__(self, catalog: Catalog, packaged: Model | None, *, draw: Callable[[], float]) -> None:
        self._catalog, self._model, self._draw = catalog, packaged, draw
        self._tariff: Tariff = tariff.current()
        self._caller, self._clock, self._stores = TraceCaller(self._tariff), Clock(), Stores()
        self._dispatcher = Dispatcher(
            caller=self._caller,
            clock=self._clock,
            stopwatch=lambda: self._caller.elapsed_s,
            breakers=Breakers(draw=draw),
        )
        self.cache: RankingCache = DecisionCache()
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

    @property
    def retrainings(self) -> tuple[RetrainingRun, ...]:
        """Every retraining so far."""
        return tuple(self._stores.runs.runs)

    def play(self, played: Round) -> EndpointId:
        """Route one round; the arm that was picked."""
        self._caller.play(played)
        self._clock.now = datetime.fromtimestamp(played.t, UTC)
        request = self._request(played)
        inputs = self._inputs(played, request.function)
        decision = decide(request, inputs, now=self._clock.now, draw=self._draw(), cache=self.cache)
        outcome = self._dispatcher.dispatch(decision, request, inputs.entry.policy, inputs.breakers)
        record = recording.record_of(
            request, inputs, decision, outcome, error=failure_of(outcome), elapsed_ms=self._caller.elapsed_s * 1000
        )
        billed = _billed(record, played)
        ingest([billed], states=self._stores.states, archive=self._stores.archive, batch_id=request.invocation_id)
        return decision.chosen.endpoint.id

    def retrain(self) -> None:
        """Retrain on what this run logged so far; what gets promoted serves from the next round on."""
        run = self._retrainer.retrain(now=self._clock.now, trigger="replay")
        if run.promoted:
            self._model = champion_of(self._stores.models, keys.trusting(keys.passing()))

    def _request(self, played: Round) -> InvocationRequest:
        return InvocationRequest(
            invocation_id=InvocationId(f"round-{played.number}"),
            function=FunctionName(played.function),
            tenant=TENANT,
            received_at=self._clock.now,
            deadline_at=self._clock.now + timedelta(minutes=15),
            body=b"",
        )

    def _inputs(self, played: Round, function: FunctionName) -> DecisionInputs:
        return DecisionInputs(
            entry=self._catalog.entry(played),
            snapshot_version=1,
            tariff=self._tariff,
            states=self._stores.states.of_function(function),
            breakers=self._dispatcher.breakers.of(self._catalog.entry(played)),
            model=self._model,
            in_flight=played.in_flight,
        )


def run(
    trace: Trace, catalog: Catalog, packaged: Model | None, *, seed: int, on_round: Callable[[], None] = lambda: None
) -> Replayed:
    """Play all rounds; `on_round` hears of each."""
    router = Router(catalog, packaged, draw=random.Random(seed).random)  # nosec B311 # draws of a replay, no secrets
    picks: list[EndpointId] = []
    for number, played in enumerate(trace.rounds, start=1):
        picks.append(router.play(played))
        if number % RETRAIN_EVERY == 0 and number < len(trace.rounds):
            router.retrain()
        on_round()
    return Replayed(
        picks=tuple(picks),
        retrainings=router.retrainings,
        hits=router.cache.hits,
        misses=router.cache.misses,
    )


def packaged_model(folder: Path) -> Model | None:
    """The model a new deployment starts with; None leaves the baseline."""
    return champion_of(LayerModelStore(folder), signature.packaged())


def champion_of(models: ModelStore, trusted: PublicKeys) -> Model | None:
    """The verified champion of a store; None when it has none."""
    pointer = models.champion()
    return None if pointer is None else manifest.read(pointer, models.artifact(pointer), trusted)


def billed_ms_of(cost_usd: float, endpoint: Endpoint, prices: Tariff) -> float | None:
    """The billed time at which the tariff comes to a bill, its steps left out; None without a price."""
    at_10_s, at_20_s = prices.cost_usd(endpoint, 10_000.0), prices.cost_usd(endpoint, 20_000.0)
    if at_10_s is None or at_20_s is None:
        return None
    return max(0.0, cost_usd - prices.per_request[endpoint.provider]) / (at_20_s - at_10_s) * 10_000.0


def _billed(record: InvocationRecord, played: Round) -> InvocationRecord:
    """The record with the trace's costs for the tariff's estimates."""
    attempts = tuple(replace(attempt, cost_usd=played.calls[attempt.endpoint].cost_usd) for attempt in record.attempts)
    total = sum(played.calls[attempt.endpoint].cost_usd for attempt in record.attempts)
    return replace(record, attempts=attempts, result=replace(record.result, cost_usd=total))
