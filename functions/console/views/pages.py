"""Pages: what a person sees under /console. Each reads what it needs and hands values to a template; none writes."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from fiso.codecs.record import instant, open_to_document, to_document
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.decision import Reason
from fiso.domain.endpoint import FunctionName
from fiso.domain.errors import UnknownPath
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.routing.equivalence import quarantined
from fiso_client.core.failures import Fault
from functions.console.sources import Sources
from functions.console.views import (
    charts,
    diagnoses,
    explanations,
    graphs,
    history,
    modes,
    queries,
    summaries,
    watch,
)
from functions.console.views.queries import CalledProvider, Ending, InvocationFilter

NEWEST = 200
"""How many invocations the overview tells of."""
SEARCHED = 500
"""How many of the newest invocations the list filters and pages through."""
PAGE = 50
RUNS = 50
TROUBLES, PROMOTIONS = 100, 5
"""How many of the newest records a page tells whom trouble met by; how many models."""
LOOK_BACK = ("15m", "1h", "6h", "1d", "7d", "30d", "90d")
SPANS = ("15m", "1h", "6h", "1d", "7d")
"""What the diagnosis can be asked for by a click."""


def blueprint(sources: Sources) -> Blueprint:
    """The pages' routes."""
    pages = Pages(sources=sources)
    routes = Blueprint("pages", "functions.console.views.pages")
    routes.add_url_rule("/console", "overview", pages.overview)
    routes.add_url_rule("/console/endpoints", "endpoints", pages.endpoints)
    routes.add_url_rule("/console/diagnosis", "diagnosis", pages.diagnosis)
    routes.add_url_rule("/console/invocations", "invocations", pages.invocations)
    routes.add_url_rule("/console/invocations/<invocation_id>", "invocation", pages.invocation)
    routes.add_url_rule("/console/models", "models", pages.models)
    routes.add_url_rule("/console/changes", "changes", pages.changes)
    routes.add_url_rule("/console/functions/<function>", "function", pages.function)
    form = modes.Form(switch=modes.Switch(order=sources.order, clock=sources.clock))
    routes.add_url_rule("/console/functions/<function>/pin", "pin", form.sent, methods=["POST"])
    return routes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """One method per page."""

    sources: Sources

    def overview(self) -> str:
        """Health, and what the newest invocations come to."""
        snapshot = self.sources.snapshots.current()
        records = self.sources.log.latest(NEWEST)
        summary = summaries.summarise(records)
        length = queries.span(request.args, longest=queries.LONGEST_HISTORY)
        return render_template(
            "overview.html",
            percentile_ms=history.percentile_ms,
            watched=watch.functions(self.sources, snapshot, length),
            span=queries.span_of(request.args),
            spans=LOOK_BACK,
            snapshot=snapshot,
            champion=self.sources.models.champion(),
            summary=summary,
            shares=charts.shares(summary.providers),
            strip=charts.strip(records),
            slowest_ms=max((part.figures.latency_p95_ms or 0.0 for part in summary.providers), default=0.0),
            length=charts.length,
            newest=NEWEST,
        )

    def function(self, function: str) -> str:
        """One function: what it did in a span, how its copies stand, and the pin."""
        name, now = queries.function_name(function), self.sources.clock()
        length = queries.span(request.args, longest=queries.LONGEST_HISTORY)
        until = queries.moment(request.args, "until")
        snapshot = self.sources.snapshots.current()
        entry = snapshot.at(now).get(name) if snapshot else None
        if entry is None:
            raise UnknownPath("no function of that name is in the catalog, or none that you may see")
        watched = watch.of_function(self.sources, entry, watch.transitions(self.sources), length)
        span = history.Span.until(min(until, now) if until else now, length)
        past = history.read(self.sources, name, watched.states, span)
        kinds = {endpoint.id: str(endpoint.provider) for endpoint in entry.endpoints}
        troubles = self.sources.log.troubled(TROUBLES, after=span.start, admits=lambda each: each.function == name)
        return render_template(
            "function.html",
            watched=watched,
            entry=entry,
            past=past,
            total=past.total,
            counts=past.counts,
            ordered=sorted(kinds, key=lambda id: (kinds[id], id)),
            graphs=graphs,
            kinds=kinds,
            percentile_ms=history.percentile_ms,
            saved_usd=history.saved_usd(past.counts, entry.policy.home),
            troubles=troubles,
            affected=Counter(record.request.tenant for record in troubles).most_common(),
            span=queries.span_of(request.args),
            spans=LOOK_BACK,
            until=until,
            can_order=self.sources.order is not None,
        )

    def changes(self) -> str:
        """What the newest versions of the catalog changed."""
        before, function = queries.version(request.args, "before"), queries.function(request.args)
        found = watch.changes(self.sources, before=before, function=function)
        return render_template(
            "changes.html",
            changes=found,
            wanted=function,
            before=before,
            functions=_function_names(self.sources.snapshots.current(), []),
            champion=self.sources.models.champion(),
            runs=[run for run in self.sources.runs.latest(RUNS) if run.promoted][:PROMOTIONS],
        )

    def endpoints(self) -> str:
        """Every endpoint with its folded state, by function."""
        snapshot = self.sources.snapshots.current()
        return render_template(
            "endpoints.html", snapshot=snapshot, functions=self._health(snapshot), length=charts.length
        )

    def diagnosis(self) -> str:
        """Whose fault trouble is, since when, how sure that is, and what to do."""
        return render_template(
            "diagnosis.html",
            snapshot=self.sources.snapshots.current(),
            reading=diagnoses.read(self.sources, request.args),
            wanted=queries.function(request.args),
            span=request.args.get("since") or queries.DEFAULT_SPAN,
            spans=SPANS,
        )

    def invocations(self) -> str | AnyResponse:
        """The newest invocations that a filter admits, a page at a time."""
        sought = queries.sought(request.args)
        if sought is not None:  # a relative address: whatever prefix a gateway puts before
            return redirect(f"invocations/{quote(sought)}", code=303)
        wanted = InvocationFilter.parse(request.args)
        snapshot = self.sources.snapshots.current()
        searched = self._searched(wanted)
        found = [record for record in searched if wanted.admits(record)]
        page = first_page(found)
        older = found[len(page) :]
        link = {**wanted.arguments(), "before": instant(page[-1].timestamp)} if older else None
        return render_template(
            "invocations.html",
            page=page,
            wanted=wanted,
            older=urlencode(link) if link else None,
            newest=urlencode(wanted.arguments()) if wanted.before else None,
            searched=len(searched),
            is_cut=len(searched) == SEARCHED,
            functions=_function_names(snapshot, searched),
            choices={
                "provider": list(CalledProvider),
                "status": list(Ending),
                "verdict": list(Fault),
                "reason": list(Reason),
            },
            ending_of=queries.ending_of,
        )

    def _searched(self, wanted: InvocationFilter) -> Sequence[InvocationRecord]:
        """A tenant's own list, or that of what went wrong: neither is found by looking through the rest."""
        log = self.sources.log
        if wanted.is_of_trouble:
            return log.troubled(SEARCHED, tenant=wanted.tenant, admits=wanted.admits_trouble)
        return log.latest(SEARCHED, tenant=wanted.tenant)

    def invocation(self, invocation_id: str) -> str:
        """One decision and what came of it."""
        record = self.sources.log.find(queries.invocation_id(invocation_id))
        if record is None:
            raise UnknownPath(f"no invocation {invocation_id} is in the log")
        if isinstance(record, OpenRecord):
            return render_template("open_invocation.html", record=record, document=_pretty(open_to_document(record)))
        entry = _entry_of(self.sources.snapshots.current(), record.request.function_name)
        endpoints = {endpoint.id: endpoint for endpoint in entry.endpoints} if entry else {}
        names = explanations.Names.of(endpoints.values())
        predicted_ms = explanations.predicted_ms(record)
        return render_template(
            "invocation.html",
            record=record,
            ending=queries.ending_of(record),
            names=names,
            endpoints=endpoints,
            sentences=explanations.explain(record, names),
            timeline=charts.timeline(record),
            predicted_ms=predicted_ms,
            slower_ms=max(predicted_ms or 0.0, record.result.execution_time_ms or 0.0),
            largest=_largest(record),
            held_back=[explanations.is_held_back(record, index) for index in range(len(record.decision.candidates))],
            failed=explanations.FAILED,
            length=charts.length,
            document=_pretty(to_document(record)),
        )

    def models(self) -> str:
        """The champion, the models that decided lately, and what each retraining did."""
        return render_template(
            "models.html",
            champion=self.sources.models.champion(),
            summary=summaries.summarise(self.sources.log.latest(NEWEST)),
            runs=self.sources.runs.latest(RUNS),
            drift=self.sources.newest_drift(),
            newest=NEWEST,
        )

    def _health(self, snapshot: Snapshot | None) -> Sequence[tuple[CatalogEntry, Sequence[summaries.EndpointHealth]]]:
        now = self.sources.clock()
        entries = sorted(snapshot.at(now).values(), key=lambda entry: entry.name) if snapshot else []
        return [(entry, self._health_of(entry)) for entry in entries]

    def _health_of(self, entry: CatalogEntry) -> Sequence[summaries.EndpointHealth]:
        states = self.sources.states.of_function(entry.name)
        out = quarantined(entry, states)
        return [summaries.health(endpoint, states.get(endpoint.id), out) for endpoint in entry.endpoints]


def first_page(found: Sequence[InvocationRecord]) -> Sequence[InvocationRecord]:
    """The first PAGE records, and those of the same instant as the last, so that `before` it never skips one."""
    if len(found) <= PAGE:
        return found
    last = instant(found[PAGE - 1].timestamp)
    end = PAGE
    while end < len(found) and instant(found[end].timestamp) == last:
        end += 1
    return found[:end]


def _function_names(snapshot: Snapshot | None, records: Sequence[InvocationRecord]) -> list[FunctionName]:
    """The functions of the catalog and of the log: records outlive their function."""
    known = set(snapshot.functions) if snapshot else set()
    return sorted(known | {record.request.function_name for record in records})


def _entry_of(snapshot: Snapshot | None, function: FunctionName) -> CatalogEntry | None:
    return snapshot.functions.get(function) if snapshot else None


def _largest(record: InvocationRecord) -> Mapping[str, float]:
    """The largest value of each column that is drawn as bars."""
    return {
        "latency_ms": max((c.latency_ms for c in record.decision.candidates), default=0.0),
        "score": max((c.score for c in record.decision.candidates), default=0.0),
    }


def _pretty(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
