"""Composition root of the orchestrator: settings in, an `App` out. The one place that joins services and adapters."""

import json
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

from fiso.adapters.clock import utc_now
from fiso.billing import tariff
from fiso.codecs import signature
from fiso.domain.access import AuthMode
from fiso.domain.cors import Cors
from fiso.domain.endpoint import FunctionName
from fiso.domain.request import TenantId
from fiso.domain.stage_rules import TenantQuotas
from fiso.ports import Clock, InvocationLog, IssuerKeys, Metrics, TenantUse, TokenVerifier
from fiso.prediction import manifest
from fiso.routing.breaker_notices import Transition
from fiso.services.freshness.cached import CachedValue, Readers, StoreWaitBudget, staleness_clock
from fiso.services.freshness.decision_sources import TROUBLE_FRESH_S, DecisionSources
from fiso.services.freshness.health import PartHealth, lease_health, log_health
from fiso.services.freshness.models import ModelSource, Promotions
from fiso.services.identity.access import Access, IssuerKeyCache, NoVerifier
from fiso.services.log.spill import SpillingLog
from fiso.services.request.orchestrate import Orchestrator
from fiso.services.resilience.breakers import Breakers, BreakerSync
from fiso.services.resilience.dispatch import Dispatcher
from fiso.services.resilience.slow_calls import SlowCallMonitor
from fiso.settings import AccessSettings, BadSetting, OrchestratorSettings
from fiso_client.core.breaker import BreakerState
from functions.orchestrator.aws_ports import Ports, aws_ports
from functions.orchestrator.http_answer import can_return

if TYPE_CHECKING:
    from fiso.codecs.lease_token import Keyring
    from fiso.services.freshness.tokens_ahead import TokensAhead
    from fiso.services.identity.quotas import Quotas
    from fiso.services.leases.lease import Keys
    from fiso.services.leases.outcomes import Outcomes
    from fiso.services.request.idempotency import IdempotentRouting
    from fiso.services.request.key_quorum import KeyQuorum
    from fiso.services.resilience.shadowing import Shadowing

    Marking = Callable[[], CachedValue[Keyring]]

__all__ = ["App", "Ports", "access_of", "aws_ports", "build", "quotas_of", "utc_now"]

READERS = 8
"""Reads at once; one that hangs must not keep the others waiting. Threads are made when they are needed."""
WRITERS = 8
"""Reported outcomes that are written at once; a report of 100 is 13 writes long."""

WITHOUT_ACCESS_LAYER = (
    "PyJWT comes in the access layer, under /opt/python, which `serverless deploy` attaches to a stage that has "
    "`auth: jwt` in serverless.yml; to set FISO_AUTH alone does not"
)

logger = logging.getLogger("fiso.orchestrator")


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """What the handler calls. `parts` says how every part is, from what is known here; it asks no store."""

    orchestrator: Orchestrator
    access: Access
    quotas_now: "Callable[[], Quotas | None]"
    sources: DecisionSources
    log: InvocationLog
    clock: Clock
    stopwatch: Callable[[], float]
    parts: Callable[[], tuple[PartHealth, ...]]
    outcomes: Callable[[], "Outcomes"]
    """What leases need, made when the first one is asked for: most environments never see one."""
    idempotent: Callable[[], "IdempotentRouting"]
    """What idempotency keys need, made when the first one is seen."""
    connect: Callable[[], None]
    rest: Callable[[], None]
    """Leaves no thread, connection and credential, until the next are needed."""
    cors: Cors | None = None
    """The stage's rule for pages of other origins, where a function's policy has none."""
    metrics_tenant: str = ""
    """Whose callers see the metrics of all functions, whichever tenants these are for."""
    scrapes: dict[TenantId | None, tuple[float, str]] = field(default_factory=dict)
    """What `GET /metrics` was answered last, by who may see it, and when."""

    @property
    def quotas(self) -> "Quotas | None":
        """What holds tenants to their quotas; None, and nothing loaded, while nobody has one."""
        return self.quotas_now()


def build(settings: OrchestratorSettings, *, metrics: Metrics, ports: Ports | None = None) -> App:
    """Wire the orchestrator; tests and benchmarks give their own `ports`."""
    outside = ports or aws_ports(settings, os.environ, metrics)
    keys, readers = cache(lambda: _keys(outside, settings)), Readers(READERS, "refresh")
    orchestrator = _orchestrator(outside, settings, (lambda: keys().cached) if outside.lease_keys else None, readers)
    access = access_of(settings.access, outside.issuer_keys, outside.clock)
    outcomes = cache(lambda: _outcomes(outside, keys, orchestrator.sources))

    def rest() -> None:
        readers.rest()
        if orchestrator.tokens is not None:
            orchestrator.tokens.rest()
        outside.rest()

    def parts() -> tuple[PartHealth, ...]:
        has_keys = keys().cached.value is not None if keys.cache_info().currsize else None
        return (
            *access.health(),
            *orchestrator.sources.health(),
            log_health(is_spilling=orchestrator.log.is_spilling),
            lease_health(is_set_up=outside.lease_keys is not None, has_keys=has_keys),
        )

    return App(
        orchestrator=orchestrator,
        access=access,
        quotas_now=quotas_of(settings.quotas, orchestrator.sources, outside.tenant_use, outside.clock),
        sources=orchestrator.sources,
        log=outside.log,
        clock=outside.clock,
        stopwatch=outside.stopwatch,
        parts=parts,
        outcomes=outcomes,
        idempotent=cache(lambda: _idempotent(outside, orchestrator)),
        connect=outside.connect,
        rest=rest,
        cors=cors_of(settings.cors),
        metrics_tenant=settings.metrics_tenant,
    )


def _telling(sync: BreakerSync, outside: Ports) -> Callable[[Transition], None]:
    """Tells other environments of a breaker's change, and an alarm where it opened."""

    def publish(transition: Transition) -> None:
        if transition.breaker.state(outside.clock()) is BreakerState.OPEN:
            outside.metrics.add("BreakerOpened", 1, "Count", provider=transition.domain.provider.value)
        sync.publish(transition)

    return publish


def _orchestrator(
    outside: Ports, settings: OrchestratorSettings, marking: "Marking | None", readers: Readers
) -> Orchestrator:
    stopwatch = staleness_clock(outside.clock, outside.ticks)
    budget = StoreWaitBudget(readers, stopwatch=stopwatch, metrics=outside.metrics)
    sources = _sources(outside, settings, budget)
    breaker_sync = BreakerSync(outside.shared_breakers, clock=outside.clock, budget=budget)

    def in_trouble(function: FunctionName) -> None:
        """A call is slow or failed: read at once what others know, for the requests that come next."""
        sources.force_refresh(function)
        breaker_sync.refresh_in_background(oldest_s=TROUBLE_FRESH_S)

    monitor = SlowCallMonitor(
        teller=cache(lambda: uuid4().hex),
        publish=breaker_sync.publish,
        retract=breaker_sync.retract,
        clock=outside.clock,
        stopwatch=outside.ticks,
    )
    dispatcher = Dispatcher(
        caller=outside.caller,
        clock=outside.clock,
        breakers=Breakers(draw=outside.draw, publish=_telling(breaker_sync, outside)),
        stopwatch=outside.stopwatch,
        concurrent=outside.calls(),
        watched=monitor.watched,
        on_trouble=in_trouble,
        staleness=stopwatch,
    )

    def shadowing() -> "Shadowing":
        """What the first policy that asks for it needs."""
        from fiso.services.resilience.shadowing import Shadowing

        return Shadowing(dispatcher=dispatcher, metrics=outside.metrics, draw=outside.draw)

    return Orchestrator(
        sources=sources,
        dispatcher=dispatcher,
        log=SpillingLog(
            outside.log,
            metrics=outside.metrics,
            stopwatch=stopwatch,
            keys=marking,
            as_before=settings.catalog.accepts_older_forms,
        ),
        metrics=outside.metrics,
        tariff=tariff.current(),
        clock=outside.clock,
        draw=outside.draw,
        stopwatch=outside.stopwatch,
        region=settings.region,
        breaker_sync=breaker_sync,
        can_return=can_return,
        shadowing=cache(shadowing),
        tokens=_tokens_ahead(outside, budget),
        traced_share=settings.traced_share,
    )


def _tokens_ahead(outside: Ports, budget: StoreWaitBudget) -> "TokensAhead | None":
    if not outside.tokens:
        return None
    from fiso.services.freshness.tokens_ahead import TokensAhead

    return TokensAhead.of(outside.tokens, budget, outside.metrics)


def _sources(outside: Ports, settings: OrchestratorSettings, budget: StoreWaitBudget) -> DecisionSources:
    return DecisionSources(
        snapshots=outside.snapshots,
        copy=outside.copy,
        states=outside.states,
        model_source=_model_source(outside, settings, budget),
        metrics=outside.metrics,
        budget=budget,
    )


def _model_source(outside: Ports, settings: OrchestratorSettings, budget: StoreWaitBudget) -> ModelSource:
    """A setting that is no set of keys trusts none: published models are refused, and that is said."""
    try:
        stage_keys = outside.stage_keys if outside.stage_keys is not None else signature.parsed(settings.model_keys)
    except ValueError as error:
        logger.error("FISO_MODEL_KEYS: %s; no published model is trusted", error)
        stage_keys = {}
    return ModelSource(
        layer=outside.layer,
        store=outside.models,
        packaged_keys=outside.packaged_keys if outside.packaged_keys is not None else manifest.packaged_keys(),
        promotions=Promotions(
            stage=settings.stage,
            keys=stage_keys,
            witness=outside.promotions,
            accepts_older=settings.catalog.accepts_older_forms,
        ),
        metrics=outside.metrics,
        budget=budget,
    )


def _idempotent(outside: Ports, orchestrator: Orchestrator) -> "IdempotentRouting":
    from fiso.domain.errors import IdempotencyUnavailable
    from fiso.services.request.idempotency import IdempotentRouting

    if outside.idempotency_keys is None:
        raise IdempotencyUnavailable("no table for idempotency keys: set FISO_IDEMPOTENCY_TABLE")
    keys, others = outside.idempotency_keys(), outside.other_idempotency_keys

    @cache
    def quorum() -> "KeyQuorum":
        from fiso.services.request.key_quorum import STORES, KeyQuorum

        # what is asked last may still be on its way when most have answered
        executor = ThreadPoolExecutor(max_workers=4 * STORES, thread_name_prefix="key-tables")
        return KeyQuorum((keys, *(others() if others else ())), executor=executor)

    return IdempotentRouting(
        keys=keys,
        policy_of=orchestrator.sources.policy,
        clock=outside.clock,
        metrics=outside.metrics,
        quorum=quorum if others else None,
        stopwatch=outside.stopwatch,
        note_kept=orchestrator.note_kept,
    )


def _keys(outside: Ports, settings: OrchestratorSettings) -> "Keys":
    """The keys that sign leases and mark spilled records, read when they are first asked for."""
    from fiso.domain.errors import LeasingNotSetUp
    from fiso.services.leases.lease import KEYS_STALE_S, Keys

    if outside.lease_keys is None:
        raise LeasingNotSetUp("no key to sign leases with: set FISO_LEASE_KEYS_PARAMETER")
    stored, parameter = outside.lease_keys(), settings.lease_keys_parameter
    executor = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="keys")
    budget = StoreWaitBudget(executor, stopwatch=staleness_clock(outside.clock, outside.ticks))
    return Keys(
        cached=CachedValue("keys of leases", lambda _: stored.read(), budget=budget, stale_s=KEYS_STALE_S),
        budget=budget,
        missing=f"no key to sign leases with: set parameter {parameter} (`fiso lease-key`)",
    )


def _outcomes(outside: Ports, keys: "Callable[[], Keys]", sources: DecisionSources) -> "Outcomes":
    from fiso.services.leases.outcomes import Outcomes

    executor = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="outcomes")
    return Outcomes(
        keys=keys(),
        log=outside.log,
        metrics=outside.metrics,
        tariff=tariff.current(),
        clock=outside.clock,
        executor=executor,
        entry_of=sources.entry,
    )


def access_of(settings: AccessSettings, issuer: IssuerKeys | None, clock: Clock) -> Access:
    """How callers are known here. What checks tokens is loaded when the first one is shown."""
    if settings.mode is not AuthMode.JWT or issuer is None:
        return Access(
            mode=settings.mode,
            gateway_hashes=settings.gateway_hashes,
            url_account=settings.url_account,
            iam_tenant=settings.iam_tenant,
            iam_admins=settings.iam_admins,
            iam_session_roles=settings.iam_session_roles,
        )
    keys = IssuerKeyCache(issuer, clock=clock, executor=ThreadPoolExecutor(max_workers=1, thread_name_prefix="issuer"))

    def verifier() -> TokenVerifier:
        try:
            from fiso.adapters.identity.jwt_tokens import JwtVerifier
        except ImportError as error:
            logger.error("no token can be checked: %s; %s", error, WITHOUT_ACCESS_LAYER)
            return NoVerifier()
        return JwtVerifier(
            keys,
            issuer=settings.issuer,
            audiences=settings.audiences,
            clock=clock,
            tenant_claim=settings.tenant_claim,
            scopes=settings.scopes,
        )

    return Access(
        mode=settings.mode,
        gateway_hashes=settings.gateway_hashes,
        verifier=cache(verifier),
        keys=keys,
        can_check=_has_access_layer,
    )


def _has_access_layer() -> bool:
    from importlib.util import find_spec

    return find_spec("jwt") is not None


def cors_of(text: str) -> Cors | None:
    """The stage's rule for pages of other origins, of FISO_CORS: the policy key `cors` as JSON."""
    if not text:
        return None
    from fiso.codecs.policy import POLICY_CODEC

    try:
        return POLICY_CODEC.from_document(Cors, json.loads(text))
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_CORS: {error}") from error


def quotas_of(
    setting: str, sources: DecisionSources, use: TenantUse | None, clock: Clock
) -> "Callable[[], Quotas | None]":
    """What tenants may send: what the catalog says; the stage's setting where that says nothing or is not read yet."""
    said = TenantQuotas()
    if setting:
        from fiso.services.identity.quotas import in_words

        try:
            said = in_words(setting)
        except ValueError as error:
            raise BadSetting(f"environment variable FISO_QUOTAS: {error}") from error
        if said.tenants:
            logger.warning("FISO_QUOTAS names tenants, and holds 4 KB: say them in fiso.yaml (quotas: tenants:)")

    def rules() -> TenantQuotas:
        known = sources.known_snapshot()
        return known.rules.quotas if known is not None and known.rules.quotas else said

    @cache
    def quotas() -> "Quotas":
        from fiso.services.identity.quotas import Quotas

        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="quotas")
        return Quotas(rules, use, clock=clock, executor=executor)

    return lambda: quotas() if rules() else None
