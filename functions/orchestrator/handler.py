"""The orchestrator's handler: an HTTP API event in, one service called, its result out.

Importing needs no environment; Lambda's own import composes the application before the first event.
"""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property, lru_cache
from typing import NamedTuple, Protocol
from uuid import uuid4

from fiso import __version__, telemetry
from fiso.codecs.record import open_to_document, to_document
from fiso.domain.access import NOBODY, AuthMode, Scope
from fiso.domain.catalog import Snapshot
from fiso.domain.cors import Cors
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import (
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    QuotaExceeded,
    RequestError,
    RoutingError,
    StoreError,
    UnknownFunction,
    UnknownPath,
)
from fiso.domain.policy import Policy
from fiso.domain.record import InvocationRecord
from fiso.domain.request import METHODS, InvocationId, InvocationRequest
from fiso.services.freshness.decision_sources import policy_in
from fiso.services.freshness.health import health_document, is_fit, status_of
from fiso.services.request.orchestrate import RoutingResult
from fiso.settings import OrchestratorSettings
from functions.orchestrator import environment, wiring
from functions.orchestrator.http_answer import (
    Response,
    json_answer,
    problem,
    request_problem,
    routed_answer,
    routing_problem,
)
from functions.orchestrator.http_cors import is_preflight, preflight_answer, share
from functions.orchestrator.http_request import (
    Admitted,
    Target,
    body_of,
    credentials_of,
    event_of,
    headers_of,
    invocation_request,
    method_of,
    path_of,
    refuse_bad_json_of,
)
from functions.orchestrator.wiring import App


class Route(NamedTuple):
    """One route; `scope` is what its caller must hold, None where nobody is asked."""

    methods: frozenset[str]
    path: re.Pattern[str]
    name: str
    scope: Scope | None


_GET, _POST = frozenset({"GET"}), frozenset({"POST"})
_ROUTES = (
    Route(METHODS, re.compile(r"/v1/invoke/(?P<function>[^/]+)(?P<suffix>/.*)?", re.DOTALL), "invoke", Scope.INVOKE),
    Route(_POST, re.compile(r"/v1/explain/(?P<function>[^/]+)"), "explain", Scope.READ),
    Route(_POST, re.compile(r"/v1/decide/(?P<function>[^/]+)"), "decide", Scope.INVOKE),
    Route(_POST, re.compile(r"/v1/outcomes"), "outcomes", Scope.INVOKE),
    Route(_GET, re.compile(r"/v1/endpoints"), "endpoints", Scope.READ),
    Route(_GET, re.compile(r"/v1/invocations/(?P<id>[0-9a-f-]{36})"), "invocation", Scope.READ),
    Route(_GET, re.compile(r"/metrics"), "metrics", Scope.READ),
    Route(_GET, re.compile(r"/healthz"), "healthz", None),
)
_OWN_PATHS = re.compile(r"/(?=v1/|(?:healthz|metrics)\Z)")
_BASE = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[\w$.+!*'()-]{1,128}){1,8}", re.ASCII)
"""What a stage's name or the mapping of a custom domain puts before FISO's own paths."""

_ASKS_READINESS = "ready=1"
"""Of /healthz: whether the region should get requests while there is another one (docs/disaster.md)."""
NO_INVOCATION = InvocationId("00000000-0000-4000-8000-000000000000")

logger = logging.getLogger("fiso.orchestrator")


class Context(Protocol):
    """What is used of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


@cache
def application() -> App:
    telemetry.logger()
    return wiring.build(OrchestratorSettings.from_environ(os.environ), metrics=telemetry.metrics())


def lambda_handler(event: object, context: Context) -> Response:
    id = InvocationId(str(uuid4()))  # of the record, too: whoever gets a 500 can ask what became of the invocation
    try:
        telemetry.identify(event, context)
        return answer_event(application(), event, context, id=id)
    except Exception:
        logger.exception("unexpected error", extra={"invocation_id": id})
        return failed(id)
    finally:
        telemetry.flush()


def failed(id: InvocationId) -> Response:
    """What stands for a defect of FISO's own."""
    telemetry.metrics().add("Defects", 1, "Count")
    return problem(500, "Internal error", "FISO failed; its log has more under this id", id)


def answer_event(app: App, event: object, context: Context, *, id: InvocationId | None = None) -> Response:
    """Answer one event; FISO's own errors become problems. Every answer says what FISO itself took."""
    start = app.stopwatch()
    id = id or InvocationId(str(uuid4()))
    handler = RequestHandler(app, event, context, id=id)
    try:
        response = handler.answer()
    except RequestError as error:
        response = request_problem(error, id, challenge=app.access.challenge)
        _note_refusal(app, error, id)
    except RoutingError as error:
        response = routing_problem(error, id)
    except StoreError as error:
        logger.warning("a store is unavailable: %s", error)
        response = problem(503, "Store unavailable", "a store is unavailable", id, headers={"retry-after": "2"})
    handler.share(response)
    response["headers"].setdefault("x-fiso-invocation-id", id)  # a replay carries the first invocation's
    own_ms = (app.stopwatch() - start) * 1000 - handler.waited_ms
    response["headers"]["x-fiso-overhead-ms"] = f"{own_ms:.3f}"
    return response


class RequestHandler:
    """One event on its way through the app."""

    def __init__(self, app: App, event: object, context: Context, *, id: InvocationId) -> None:
        self._app, self._context, self._id = app, context, id
        self._given, self._event = event, event if isinstance(event, Mapping) else {}
        self._caller = NOBODY
        self._function: FunctionName | None = None
        self._policy: Policy | None = None
        self._method = ""
        self._snapshot: Snapshot | None = None
        self.waited_ms = 0.0
        """What the functions took, which is not FISO's own time."""

    def answer(self) -> Response:
        """Find the route, admit the caller, take the route. A stranger learns of no path that there is or is not."""
        path, method = self._target()
        self._method = method
        found = _found(path)
        chosen = next((route for route in found if method in route.methods), None)
        function = next(
            (FunctionName(parts["function"]) for route, parts in found.items() if route.name == "invoke"), None
        )
        if function is not None and method == "OPTIONS" and (own := self._preflight(function)) is not None:
            return own
        self._function = function
        # Before the 404: a stranger must not learn which paths there are (docs/decisions/0010-who-may-call.md).
        if chosen is None or chosen.scope is not None:
            self._caller = self._app.access.caller(credentials_of(self._event, lambda: self._headers))
        if chosen is None:
            raise _no_route(method, path, allowed=sorted({each for route in found for each in route.methods}))
        if chosen.scope is not None:
            self._admit(chosen.scope)
        response: Response = getattr(self, f"_{chosen.name}")(**found[chosen])
        self._await_pending()
        return response

    def share(self, response: Response) -> None:
        """Let pages of other origins read the answer, where the function's policy or the stage lets them."""
        if self._function is None:
            return
        origin = self._origin()
        if origin is None and self._policy is None:
            return  # an error, and nobody's page waits for it
        if (cors := self._cors(self._function)) is not None:
            share(response, cors, origin)

    def _preflight(self, function: FunctionName) -> Response | None:
        """FISO's own answer to a browser's question, None where it is the function's to answer.

        It carries no credentials, so everybody gets one: the same for a function without a rule and for none at all.
        """
        try:
            headers = self._headers
        except RequestError:
            return None  # a stranger is told that it is one first
        if not is_preflight(headers):
            return None
        cors = self._cors(function)
        if cors is None and self._app.access.mode is AuthMode.NONE:
            return None
        return preflight_answer(cors, headers["origin"])

    def _cors(self, function: FunctionName) -> Cors | None:
        """The rule for pages of other origins: the function's own, else the stage's."""
        policy = self._policy
        if policy is None:
            try:
                policy = self._policy_of(function)
            except (UnknownFunction, RoutingError, StoreError):
                return self._app.cors
        return policy.cors or self._app.cors

    def _origin(self) -> str | None:
        try:
            return self._headers.get("origin")
        except RequestError:
            return None

    @cached_property
    def _headers(self) -> dict[str, str]:
        return headers_of(self._event)

    def _target(self) -> tuple[str, str]:
        """Path and method. A stranger is told that it is one before anything is said of its event."""
        try:
            event = event_of(self._given)
            return path_of(event), method_of(event)
        except RequestError:
            self._app.access.caller(credentials_of(self._event, lambda: self._headers))
            raise

    def _admit(self, scope: Scope) -> None:
        """Let a known caller pass, and start what access and quotas refresh while it is served."""
        self._caller.require(scope)
        if (quotas := self._app.quotas) is not None:
            quotas.admit(self._caller.tenant)
        self._app.access.refresh_in_background()

    def _await_pending(self) -> None:
        self._app.access.await_pending()
        if (quotas := self._app.quotas) is not None:
            quotas.await_pending()

    def _invoke(self, function: str, suffix: str | None) -> Response:
        self._snapshot = self._app.sources.begun()
        policy = self._policy = policy_in(self._snapshot, FunctionName(function), self._caller.tenant)
        request = self._request(function, suffix or "", policy)
        if request.idempotency_key is None:
            return routed_answer(self._route(request), policy)
        from functions.orchestrator import http_idempotency

        return http_idempotency.answer_once(self._app.idempotent(), request, policy, self._route)

    def _route(self, request: InvocationRequest) -> RoutingResult:
        routed = self._app.orchestrator.route(request, self._snapshot)
        self.waited_ms = routed.outcome.waited_ms
        telemetry.log_invocation(routed.record)
        return routed

    def _explain(self, function: str) -> Response:
        from fiso.services.request import inspect

        policy = self._policy_of(function)
        refuse_bad_json_of(self._event)
        request = self._request(function, "", policy)
        decision = self._app.orchestrator.explain(request)
        return json_answer({"invocation_id": request.invocation_id, **inspect.decision_document(decision)})

    def _decide(self, function: str) -> Response:
        from fiso.services.leases import lease
        from functions.orchestrator import http_lease

        if not self._policy_of(function).leases:
            raise UnknownPath(f"{function} is not leased: invoke it")
        refuse_bad_json_of(self._event)
        request = self._request(function, "")
        size = http_lease.request_size(self._headers)
        if size is not None:
            request = replace(request, body=bytes(size))  # a stand-in: of a body, a decision sees the size alone
        outcomes = self._app.outcomes()
        granted = lease.grant(request, self._app.orchestrator, outcomes.keys, new_id=uuid4)
        return json_answer(lease.lease_document(granted))

    def _outcomes(self) -> Response:
        from functions.orchestrator import http_lease

        outcomes = self._app.outcomes()
        items = http_lease.reported(body_of(self._event))
        if (quotas := self._app.quotas) is not None:
            # a report is no way around the quota: each call in it counts like a request
            quotas.charge(self._caller.tenant, max(0, len(items) - 1))
        verdicts = outcomes.accept(items, self._caller.tenant)
        return json_answer(http_lease.verdicts_document(items, verdicts))

    def _endpoints(self) -> Response:
        from fiso.services.request import inspect

        app = self._app
        app.orchestrator.prefetch()
        snapshot = app.sources.snapshot()
        app.orchestrator.refresh_breakers()
        own = [entry for entry in snapshot.at(app.clock()).values() if entry.policy.admits(self._caller.tenant)]
        documents = inspect.endpoint_documents(
            own,
            app.sources.latest_states([entry.name for entry in own]),
            lambda entry, states: app.orchestrator.breakers_of(entry, states, self._caller.tenant),
            app.clock(),
        )
        return json_answer({"snapshot_version": snapshot.version, "endpoints": documents})

    def _invocation(self, id: str) -> Response:
        record = self._app.log.find(InvocationId(id))
        if record is None or record.request.tenant != self._caller.tenant:
            raise UnknownPath(f"no invocation {id}")
        return json_answer(to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record))

    def _metrics(self) -> Response:
        from functions.orchestrator import http_metrics

        return http_metrics.answer(self._app, self._caller, self._headers)

    def _healthz(self) -> Response:
        snapshot, age_s = self._app.sources.snapshot_for_health()
        model = self._app.sources.model()
        parts = self._app.parts()
        document = {
            "status": status_of(parts),
            "code_version": __version__,
            "snapshot_version": _version(snapshot),
            "snapshot_age_s": round(age_s, 1) if age_s is not None else None,
            "model_version": model.version if model else None,
            "tariff_version": self._app.orchestrator.tariff.version,
            "parts": {part.part: health_document(part) for part in parts},
        }
        is_out = any(part.stops_everything for part in parts)
        if _ASKS_READINESS in str(self._event.get("rawQueryString", "")).split("&"):
            document["ready"] = is_ready = is_fit(parts) and self._log_answers()
            is_out = not is_ready
        return json_answer(document, status=503 if is_out else 200)

    def _log_answers(self) -> bool:
        try:
            self._app.log.find(NO_INVOCATION)
        except StoreError:
            return False
        return True

    def _policy_of(self, function: str) -> Policy:
        """`UnknownFunction` also for one that the caller's tenant may not call. A preflight's caller is not known."""
        tenant = None if self._caller is NOBODY else self._caller.tenant
        return self._app.sources.policy(FunctionName(function), tenant=tenant)

    def _request(self, function: str, suffix: str, policy: Policy | None = None) -> InvocationRequest:
        admitted = Admitted(
            caller=self._caller,
            mode=self._app.access.mode,
            only=policy.request_headers if policy else frozenset(),
            affinity=policy.affinity if policy else None,
        )
        return invocation_request(
            self._event,
            self._method,
            self._headers,
            Target(function=FunctionName(function), suffix=suffix),
            admitted,
            invocation_id=self._id,
            now=self._app.clock(),
            remaining_ms=self._context.get_remaining_time_in_millis(),
        )


@lru_cache(maxsize=256)
def _found(path: str) -> Mapping[Route, dict[str, str]]:
    """The routes of a path, whatever their methods. Where there are none, what stands before FISO's own paths is left
    out: API Gateway puts a stage's name there, and the base path of a custom domain's mapping (both have been
    reported of one and the same setting). It guards nothing: every route asks for its caller by itself."""
    found = {route: match.groupdict() for route in _ROUTES if (match := route.path.fullmatch(path))}
    if found:
        return found
    for own in _OWN_PATHS.finditer(path, 1):
        if not _BASE.fullmatch(path, 0, own.start()):
            break
        below = path[own.start() :]
        found = {route: match.groupdict() for route in _ROUTES if (match := route.path.fullmatch(below))}
        if found:
            break
    return found


def _no_route(method: str, path: str, *, allowed: list[str]) -> RequestError:
    if allowed:
        return MethodNotAllowed(f"{method} is not allowed on {path[:200]!r}", allow=", ".join(allowed))
    return UnknownPath(f"no path {path[:200]!r}")


def _note_refusal(app: App, error: RequestError, id: InvocationId) -> None:
    """Why a caller was turned away, for the operator; never the token."""
    if not isinstance(error, NotAuthenticated | NotAllowed | QuotaExceeded):
        return
    reason = error.reason if isinstance(error, NotAuthenticated) else str(error)
    logger.info("caller refused", extra={"invocation_id": id, "status": error.status, "reason": reason})
    app.orchestrator.metrics.add("CallersRefused", 1, "Count", status=str(error.status))


def _version(snapshot: Snapshot | None) -> int | None:
    return snapshot.version if snapshot else None


if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    # while an environment starts, the processor is not yet throttled to the memory's share (docs/decisions/0008)
    try:
        environment.start(application(), os.environ)
    except Exception:
        # an environment that fails to start answers nothing at all; this way each request gets a 500 with an id
        logger.exception("the application could not be composed")
