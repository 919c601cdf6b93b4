"""The JSON API under /api, for the command line and for scripts; `openapi.yaml` describes it. Reads only, but for the
kill switch (`modes`)."""

from dataclasses import dataclass

from flask import Blueprint, Response, jsonify, request

from fiso.codecs import run as run_codec
from fiso.codecs.record import to_document
from fiso.codecs.typed import Json
from fiso.domain.errors import UnknownPath
from fiso.services.freshness.decision_sources import StatesRead
from fiso.services.request import inspect
from functions.console.sources import Sources
from functions.console.views import diagnoses, modes, queries

SEARCHED = 500
"""How many of the newest invocations are looked through for one function's."""
RUNS = 100
ELSEWHERE = frozenset({"breaker", "breaker_opened_until", "breaker_cause", "returning_share", "capped_per_s"})
"""Breakers live in each orchestrator's environment; the console has none and says nothing of them."""


def blueprint(sources: Sources) -> Blueprint:
    """The API's routes."""
    api = Api(sources=sources)
    routes = Blueprint("api", "functions.console.views.api", url_prefix="/api")
    routes.add_url_rule("/invocations", "invocations", api.invocations)
    routes.add_url_rule("/endpoints", "endpoints", api.endpoints)
    routes.add_url_rule("/diagnosis", "diagnosis", api.diagnosis)
    routes.add_url_rule("/reports/retraining", "retraining", api.retraining)
    switch = modes.Switch(order=sources.order, clock=sources.clock)
    routes.add_url_rule("/policies/<function>/pin", "pin", switch.pin, methods=["PUT"])
    routes.add_url_rule("/policies/<function>/pin", "unpin", switch.unpin, methods=["DELETE"])
    routes.add_url_rule("/", "unknown", _unknown, defaults={"path": ""})
    routes.add_url_rule("/<path:path>", "unknown", _unknown)
    return routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """One method per path."""

    sources: Sources

    def invocations(self) -> Response:
        """Closed records, newest first."""
        limit, wanted = queries.limit(request.args), queries.function(request.args)
        after = queries.moment(request.args, "after")
        records = self.sources.log.latest(limit if wanted is None else SEARCHED, after=after)
        chosen = [record for record in records if wanted in (None, record.request.function_name)][:limit]
        return jsonify({"invocations": [to_document(record) for record in chosen]})

    def endpoints(self) -> Response:
        """Every endpoint of the current catalog with its folded state."""
        snapshot = self.sources.snapshots.current()
        now = self.sources.clock()
        entries = sorted(snapshot.at(now).values(), key=lambda entry: entry.name) if snapshot else []
        reads = {entry.name: StatesRead(self.sources.states.of_function(entry.name), 0.0) for entry in entries}
        documents = inspect.endpoint_documents(entries, reads, lambda *_: {}, now)
        return jsonify(
            {
                "snapshot_version": snapshot.version if snapshot else None,
                "endpoints": [_without_breaker(document) for document in documents],
            }
        )

    def diagnosis(self) -> Response:
        """Whose fault trouble is, by function, the worst first."""
        return jsonify(diagnoses.read(self.sources, request.args).document())

    def retraining(self) -> Response:
        """What each retraining did, newest first, and the newest look for drift."""
        newest = self.sources.newest_drift()
        drift = {"drift": run_codec.RUNS.to_document(newest)} if newest is not None else {}
        return jsonify({"runs": [run_codec.RUNS.to_document(run) for run in self.sources.runs.latest(RUNS)]} | drift)


def _without_breaker(document: Json) -> Json:
    if not isinstance(document, dict):
        return document
    return {name: value for name, value in document.items() if name not in ELSEWHERE}


def _unknown(path: str) -> Response:
    raise UnknownPath(f"there is no /api/{path}")
