"""`GET /metrics`: what the caller may see, rendered once in a few seconds. Imported when it is first asked for."""

import gzip
from base64 import b64encode
from collections.abc import Mapping

from fiso.codecs.exposition import CONTENT_TYPE
from fiso.domain.access import NOBODY, Claims
from fiso.domain.errors import StoreUnavailable
from fiso.domain.request import TenantId
from fiso.services.request.scrape import FRESH_S, Knowledge, Scraped, render
from functions.orchestrator.http_answer import Response
from functions.orchestrator.wiring import App

OLDEST_S = 10.0
"""States older than that tell nobody how things are now."""
MOST_KEPT = 16


def answer(app: App, caller: Claims, headers: Mapping[str, str]) -> Response:
    """All functions for the tenant that the stage names, else those that the caller's tenant may call.
    `StoreUnavailable` while the states of one of them cannot be read."""
    tenant = None if caller.tenant == app.metrics_tenant else caller.tenant
    rendered_at, text = app.scrapes.get(tenant, (None, ""))
    now_s = app.stopwatch()
    if rendered_at is None or not 0 <= now_s - rendered_at < FRESH_S:
        text = _rendered(app, tenant)
        while len(app.scrapes) >= MOST_KEPT:
            app.scrapes.pop(next(iter(app.scrapes)))
        app.scrapes[tenant] = (now_s, text)
    answered = {"content-type": CONTENT_TYPE, "cache-control": "no-store"}
    if "gzip" not in headers.get("accept-encoding", ""):
        return {"statusCode": 200, "headers": answered, "body": text}
    packed = b64encode(gzip.compress(text.encode(), compresslevel=5, mtime=0)).decode()
    return {
        "statusCode": 200,
        "headers": {**answered, "content-encoding": "gzip", "vary": "accept-encoding"},
        "body": packed,
        "isBase64Encoded": True,
    }


def _rendered(app: App, tenant: TenantId | None) -> str:
    app.orchestrator.prefetch()
    snapshot, now = app.sources.snapshot(), app.clock()
    app.orchestrator.refresh_breakers()
    entries = [e for e in snapshot.at(now).values() if tenant is None or e.policy.admits(tenant)]
    read = app.sources.latest_states([entry.name for entry in entries])
    unknown = [name for name, states in read.items() if states.age_s is None or states.age_s > OLDEST_S]
    if unknown:
        raise StoreUnavailable(f"the states of {len(unknown)} of {len(read)} functions cannot be read")
    scraped = [
        Scraped(entry, states, app.orchestrator.breakers_of(entry, states, tenant or NOBODY.tenant))
        for entry in entries
        for states in [read[entry.name].states]
    ]
    model, age_s = app.sources.model(), app.sources.snapshot_for_health()[1]
    return render(
        scraped,
        Knowledge(
            catalog_version=snapshot.version,
            catalog_age_s=age_s or 0.0,
            tariff_age_days=app.orchestrator.tariff.age_days(now.date()),
            model=model.version if model else "baseline",
            is_spilling=app.orchestrator.log.is_spilling,
        ),
        now,
    )
