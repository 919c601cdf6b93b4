"""The start of an execution environment: what its first request would otherwise wait for, read and done before it.

Lambda gives a whole processor until the first event comes, and a share by the memory from then on. Where it takes
snapshots (SnapStart), what is one environment's own must not be in one: every restored environment would have it.
"""

import logging
from collections.abc import Mapping, Sequence
from uuid import uuid4

from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import RoutingError, StoreError
from fiso.domain.request import InvocationId, InvocationRequest, TenantId
from fiso.services.freshness.cached import FIRST_STORE_WAIT_S
from fiso_client.core.transport import TransportError
from functions.orchestrator.wiring import App

MOST_FUNCTIONS = 8
"""Functions whose states are read ahead: as many as are read at once."""

logger = logging.getLogger("fiso.orchestrator")


def start(app: App, environ: Mapping[str, str]) -> None:
    """Get ready, and before each snapshot at rest."""
    get_ready(app)
    if environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start":
        return
    from snapshot_restore_py import register_after_restore, register_before_snapshot

    register_before_snapshot(app.rest)
    register_after_restore(get_ready, app)


def get_ready(app: App) -> None:
    """Read catalog, model and states, connect, and decide once for nobody, so that what deciding needs is loaded. What
    cannot be had now is for the requests to wait for."""
    try:
        app.orchestrator.prefetch()
        app.connect()
        functions = list(app.sources.snapshot().functions)[:MOST_FUNCTIONS]
        _fetch_tokens(app, functions)
        app.sources.latest_states(functions)
        if app.orchestrator.tokens is not None:
            app.orchestrator.tokens.await_pending(within_s=FIRST_STORE_WAIT_S)
        for function in functions[:1]:
            app.orchestrator.explain(_nobodys(app, function))
    except (RoutingError, StoreError, TransportError) as error:
        logger.warning("not all is ready before the first request: %s", error)


def _fetch_tokens(app: App, functions: Sequence[FunctionName]) -> None:
    """Begin to fetch those of the functions' endpoints."""
    if app.orchestrator.tokens is not None:
        known = app.sources.snapshot().functions
        app.orchestrator.tokens.begin(endpoint for function in functions for endpoint in known[function].endpoints)


def _nobodys(app: App, function: FunctionName) -> InvocationRequest:
    return InvocationRequest(
        invocation_id=InvocationId(str(uuid4())),
        function=function,
        tenant=TenantId(""),
        body=b"",
        headers={},
        received_at=app.clock(),
        deadline_at=app.clock(),
    )
