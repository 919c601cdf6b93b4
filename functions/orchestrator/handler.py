"""The orchestrator's edge: an HTTP API event in, one service called, its result out. Importing needs no environment."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from time import perf_counter
from typing import Any, Protocol
from uuid import uuid4

from fiso import __version__, telemetry
from fiso.domain.catalog import Snapshot
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import MethodNotAllowed, RequestError, RoutingError, StoreError, UnknownPath
from fiso.domain.record import InvocationRecord
from fiso.domain.record_codec import open_to_document, to_document
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.services import inspect
from fiso.services.condition import condition_document, status_of
from fiso.settings import OrchestratorSettings
from functions.orchestrator import wiring
from functions.orchestrator.http_answer import (
    Response,
    json_answer,
    problem,
    request_problem,
    routed_answer,
    routing_problem,
)
from functions.orchestrator.http_request import (
    Target,
    body_of,
    headers_of,
    invocation_request,
    method_of,
    path_of,
    tenant_of,
)
from functions.orchestrator.wiring import Edge

_ROUTES = (
    ("POST", re.compile(r"/v1/invoke/(?P<function>[^/]+)(?P<suffix>/.*)?", re.DOTALL), "invoke"),
    ("POST", re.compile(r"/v1/explain/(?P<function>[^/]+)"), "explain"),
    ("POST", re.compile(r"/v1/decide/(?P<function>[^/]+)"), "decide"),
    ("POST", re.compile(r"/v1/outcomes"), "outcomes"),
    ("GET", re.compile(r"/v1/endpoints"), "endpoints"),
    ("GET", re.compile(r"/v1/invocations/(?P<id>[0-9a-f-]{36})"), "invocation"),
    ("GET", re.compile(r"/healthz"), "healthz"),
)

logger = logging.getLogger("fiso.orchestrator")


class Context(Protocol):
    """What is used of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int: ...


@cache
def _edge() -> Edge:
    return wiring.build(OrchestratorSettings.from_environ(os.environ), metrics=telemetry.metrics())


def lambda_handler(event: Mapping[str, Any], context: Context) -> Response:
    """One request."""
    try:
        return answer_event(_edge(), event, context)
    except Exception:
        invocation_id = str(uuid4())
        logger.exception("unexpected error", extra={"invocation_id": invocation_id})
        return problem(500, "Internal error", "FISO failed; its log has more under this id", invocation_id)
    finally:
        telemetry.flush()


def answer_event(edge: Edge, event: Mapping[str, Any], context: Context) -> Response:
    """Answer one event; FISO's own errors become problems. Every answer says what FISO itself took."""
    start = perf_counter()
    id = InvocationId(str(uuid4()))
    exchange = Exchange(edge, event, context, id=id)
    try:
        response = exchange.answer()
    except RequestError as error:
        response = request_problem(error, id)
    except RoutingError as error:
        response = routing_problem(error, id)
    except StoreError as error:
        logger.warning("a store is away: %s", error)
        response = problem(503, "Store unavailable", "a store is away", id, headers={"retry-after": "2"})
    response["headers"]["x-fiso-invocation-id"] = id
    own_ms = (perf_counter() - start) * 1000 - exchange.waited_ms
    response["headers"]["x-fiso-overhead-ms"] = f"{own_ms:.3f}"
    return response


class Exchange:
    """One event on its way through the edge."""

    def __init__(self, edge: Edge, event: Mapping[str, Any], context: Context, *, id: InvocationId) -> None:
        self._edge, self._event, self._context, self._id = edge, event, context, id
        self.waited_ms = 0.0
        """What the functions took, which is not FISO's own time."""

    def answer(self) -> Response:
        """Find the route and take it."""
        path, method = path_of(self._event), method_of(self._event)
        allowed = []
        for route_method, pattern, name in _ROUTES:
            found = pattern.fullmatch(path)
            if found and route_method == method:
                response: Response = getattr(self, f"_{name}")(**found.groupdict())
                return response
            if found:
                allowed.append(route_method)
        if allowed:
            raise MethodNotAllowed(f"{method} is not allowed on {path[:200]!r}", allow=", ".join(allowed))
        raise UnknownPath(f"no path {path[:200]!r}")

    def _invoke(self, function: str, suffix: str | None) -> Response:
        routed = self._edge.orchestrator.route(self._request(function, suffix or ""))
        self.waited_ms = sum(attempt.latency_ms for attempt in routed.record.attempts)
        telemetry.log_invocation(routed.record)
        return routed_answer(routed)

    def _explain(self, function: str) -> Response:
        request = self._request(function, "")
        decision = self._edge.orchestrator.explain(request)
        return json_answer({"invocation_id": request.invocation_id, **inspect.decision_document(decision)})

    def _decide(self, function: str) -> Response:
        from fiso.services import lease
        from functions.orchestrator import http_lease

        request = self._request(function, "")
        size = http_lease.request_size(headers_of(self._event))
        if size is not None:
            request = replace(request, body=bytes(size))  # a stand-in: of a body, a decision sees the size alone
        outcomes = self._edge.outcomes()
        granted = lease.grant(request, self._edge.orchestrator, outcomes.keys, new_id=uuid4)
        return json_answer(lease.lease_document(granted))

    def _outcomes(self) -> Response:
        from functions.orchestrator import http_lease

        outcomes = self._edge.outcomes()
        items = http_lease.reported(body_of(self._event))
        verdicts = outcomes.accept(items, tenant_of(self._event))
        return json_answer(http_lease.verdicts_document(items, verdicts))

    def _endpoints(self) -> Response:
        edge = self._edge
        snapshot = edge.knowledge.snapshot()
        states = edge.knowledge.latest_states(snapshot.functions)
        documents = inspect.endpoint_documents(
            snapshot.functions.values(), states, edge.orchestrator.dispatcher.breakers, edge.clock()
        )
        return json_answer({"snapshot_version": snapshot.version, "endpoints": documents})

    def _invocation(self, id: str) -> Response:
        record = self._edge.log.find(InvocationId(id))
        if record is None:
            raise UnknownPath(f"no invocation {id}")
        return json_answer(to_document(record) if isinstance(record, InvocationRecord) else open_to_document(record))

    def _healthz(self) -> Response:
        snapshot, age_s = self._edge.knowledge.known_snapshot()
        model = self._edge.knowledge.model()
        conditions = self._edge.conditions()
        document = {
            "status": status_of(conditions),
            "code_version": __version__,
            "snapshot_version": _version(snapshot),
            "snapshot_age_s": round(age_s, 1) if age_s is not None else None,
            "model_version": model.version if model else None,
            "tariff_version": self._edge.orchestrator.tariff.version,
            "parts": {condition.part: condition_document(condition) for condition in conditions},
        }
        is_out = any(condition.stops_everything for condition in conditions)
        return json_answer(document, status=503 if is_out else 200)

    def _request(self, function: str, suffix: str) -> InvocationRequest:
        return invocation_request(
            self._event,
            Target(function=FunctionName(function), suffix=suffix),
            invocation_id=self._id,
            now=self._edge.clock(),
            remaining_ms=self._context.get_remaining_time_in_millis(),
        )


def _version(snapshot: Snapshot | None) -> int | None:
    return snapshot.version if snapshot else None
