"""Copies: each copy of a function held against its siblings in the same time. Pure.

How sure a verdict is comes from an exact test (`chance`), from the provider's own word, or from what the states hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from math import exp

from fiso.domain.endpoint import Endpoint, EndpointId
from fiso.services.diagnosis import advice
from fiso.services.diagnosis.cases import EXPECTED, SEVERAL, Case, finding_of, is_within, usual_verdict, what_of
from fiso.services.diagnosis.chance import Stretch, base_rate, of_split, worst_stretch
from fiso.services.diagnosis.findings import LIKELY, Finding, Sureness, sureness
from fiso.services.diagnosis.history import Call, by_copy
from fiso_client.core.conduct import CONVICTED
from fiso_client.core.failures import Fault

EXPECTED_REFUSED = 0.005
"""The share of calls that never ran, that nobody wonders about."""
CONVICTED_BY_CHANCE = exp(-CONVICTED)
FEW = 10
"""A function with fewer calls than these is told of at its first bad one."""
SLOW_TIMES, SLOW_MS = 3.0, 20.0
"""A call is slow that takes so many times as long as usual, and at least so much longer."""
PROVIDERS_WORD = frozenset({Fault.THROTTLE, Fault.CONFIGURATION, Fault.PROVIDER})
"""Verdicts that the provider's own answer gives: nothing is left to be told by siblings."""


def of_copy(case: Case, copy: Endpoint) -> Finding | None:
    """What is wrong with one copy alone; None for nothing."""
    return _of_calls(case, copy) or _of_state(case, copy) or _of_slowness(case, copy)


def _of_calls(case: Case, copy: Endpoint) -> Finding | None:
    """A copy whose calls are bad, or stand out, and its siblings' are not."""
    own = case.of(copy.id)
    refused = _direct(case, copy, own)
    return refused or _against_siblings(case, copy, own, lambda call: call.oddity is not None)


def _direct(case: Case, copy: Endpoint, own: Sequence[Call]) -> Finding | None:
    """What never ran, or failed by the provider's own word: whose fault that is, the answer says itself."""
    row = [call.never_ran or (call.failure is not None and call.told_by_itself in PROVIDERS_WORD) for call in own]
    stretch = worst_stretch(row, EXPECTED_REFUSED)
    if stretch is None or case.badness(stretch, EXPECTED_REFUSED) > LIKELY:
        return None
    bad = [call for call, is_bad in zip(own, row, strict=True) if is_bad][-stretch.bad :]
    verdict = usual_verdict(bad)
    sure = Sureness.CERTAIN if verdict is not Fault.NETWORK else sureness(case.badness(stretch, EXPECTED_REFUSED))
    text = advice.for_copy(what_of(bad), copy, case.entry.name) if verdict is Fault.COPY else ""
    return finding_of(
        case,
        copy,
        own,
        stretch,
        bad,
        verdict=verdict,
        sure=sure,
        chance=None,
        why="the provider says so itself" if verdict is not Fault.NETWORK else "nobody answers at its address",
        what_to_do=text or advice.for_verdict(verdict, copy, what_of(bad), None),
    )


def _against_siblings(
    case: Case, copy: Endpoint, own: Sequence[Call], is_event: Callable[[Call], bool], *, of_slow: bool = False
) -> Finding | None:
    siblings = [call for call in case.calls if call.endpoint != copy.id]
    rate = min(0.9, base_rate(sum(map(is_event, siblings)), len(siblings)))
    row = [is_event(call) for call in own]
    stretch = worst_stretch(row, max(rate, EXPECTED))
    if stretch is None:
        return None
    start, end = own[stretch.first].at, _end(own, stretch)
    theirs = [call for call in siblings if start <= call.at and (end is None or call.at < end)]
    chance = max(
        _of_trouble(case, own, stretch, siblings, is_event),
        _of_alike(case, copy, stretch, theirs, (start, end), is_event),
    )
    if not of_slow and not stretch.is_over:
        chance = min(chance, _of_conduct(case, copy))
    bad = [call for call in own[stretch.first : stretch.last + 1] if is_event(call)]
    if chance > LIKELY:
        return _too_few(case, copy, own, stretch, bad, theirs) if not of_slow else None
    what = advice.SLOW if of_slow else what_of(bad)
    return finding_of(
        case,
        copy,
        own,
        stretch,
        bad,
        verdict=Fault.COPY,
        sure=sureness(chance),
        chance=chance,
        why=f"its siblings did well in {len(theirs) - sum(map(is_event, theirs))} of {len(theirs)} calls",
        what_to_do=advice.for_copy(what, copy, case.entry.name),
    )


def _of_trouble(
    case: Case, own: Sequence[Call], stretch: Stretch, siblings: Sequence[Call], is_event: Callable[[Call], bool]
) -> float:
    """How likely the stretch is where nothing ever changed: against all other calls, whenever they were."""
    others = [*own[: stretch.first], *own[stretch.last + 1 :], *siblings]
    split = of_split(stretch.bad, stretch.calls, sum(map(is_event, others)), len(others))
    return min(1.0, split * stretch.choices * case.looked_at)


def _of_alike(
    case: Case,
    copy: Endpoint,
    stretch: Stretch,
    theirs: Sequence[Call],
    within: tuple[datetime, datetime | None],
    is_event: Callable[[Call], bool],
) -> float:
    """How likely it is where all copies were alike in that time: against the siblings' calls of then."""
    bad, their_bad = _units(case.calls, copy.id, *within, is_event)
    their_good = sum(not is_event(call) for call in theirs)
    return min(
        1.0, stretch.choices * of_split(bad, bad + stretch.calls - stretch.bad, their_bad, their_bad + their_good)
    )


def _of_conduct(case: Case, copy: Endpoint) -> float:
    """The same by what was folded so far: a likelihood ratio of r is reached by chance once in r times (Ville)."""
    conduct = case.conduct_of(copy.id)
    if conduct is None or not conduct.is_suspected or not (conduct.is_confirmed or conduct.is_convicted):
        return 1.0
    return min(1.0, exp(-conduct.evidence) * case.looked_at, CONVICTED_BY_CHANCE if conduct.is_convicted else 1.0)


def _too_few(
    case: Case, copy: Endpoint, own: Sequence[Call], stretch: Stretch, bad: Sequence[Call], theirs: Sequence[Call]
) -> Finding | None:
    """Few calls, or a suspect, and the last one was bad: told of, without a verdict that could be relied on."""
    conduct = case.conduct_of(copy.id)
    is_asked = len(case.calls) < FEW or (conduct is not None and conduct.is_suspected)
    if not is_asked or stretch.is_over or own[-1].oddity is None:
        return None
    verdict = usual_verdict(bad)
    return finding_of(
        case,
        copy,
        own,
        stretch,
        bad,
        verdict=verdict,
        sure=Sureness.UNSURE,
        chance=None,
        why=f"{len(theirs)} calls of siblings to compare with",
        what_to_do=f"Wait for more calls, or send some: `fiso compare {case.entry.name}` asks all copies the same.",
    )


def _units(
    calls: Sequence[Call], copy: EndpointId, start: datetime, end: datetime | None, is_event: Callable[[Call], bool]
) -> tuple[int, int]:
    """How often a copy's calls, and its siblings', were bad, where a row of one side's without a good call of the
    other's between counts once: one caller's burst is one piece of evidence, not a hundred."""
    own = theirs = 0
    own_open = theirs_open = False
    for call in calls:
        if call.at < start or (end is not None and call.at >= end):
            continue
        is_own, is_bad = call.endpoint == copy, is_event(call)
        if is_bad and is_own and not own_open:
            own, own_open = own + 1, True
        elif is_bad and not is_own and not theirs_open:
            theirs, theirs_open = theirs + 1, True
        elif not is_bad:
            own_open, theirs_open = own_open and is_own, theirs_open and not is_own
    return own, theirs


def _end(own: Sequence[Call], stretch: Stretch) -> datetime | None:
    """Until when siblings are compared: the copy's next good call."""
    following = own[stretch.last + 1 :]
    return following[0].at if following else None


def _of_state(case: Case, copy: Endpoint) -> Finding | None:
    """What the states know and these records do not show: a copy demoted before them."""
    conduct = case.conduct_of(copy.id)
    if conduct is None or not conduct.is_convicted:
        return None
    return Finding(
        function=case.entry.name,
        copy=copy,
        verdict=Fault.COPY,
        sure=Sureness.CERTAIN,
        what=conduct.oddity,
        why="demoted: its answers stood out where its siblings' did not, before the records that were read",
        what_to_do=advice.for_copy(conduct.oddity, copy, case.entry.name),
        chance=CONVICTED_BY_CHANCE,
        since=conduct.last_odd_at,
        is_since_before=True,
        evidence=conduct.oddity,
    )


def _of_slowness(case: Case, copy: Endpoint) -> Finding | None:
    """A copy that takes several times as long as it did, and its siblings do not."""
    limits = {id: _slow_from(calls) for id, calls in by_copy(case.calls).items()}

    def is_slow(call: Call) -> bool:
        limit = limits.get(call.endpoint)
        return call.oddity is None and not call.is_cold and limit is not None and call.latency_ms > limit

    own = [call for call in case.of(copy.id) if call.oddity is None and not call.is_cold]
    finding = _against_siblings(case, copy, own, is_slow, of_slow=True)
    if finding is None:
        return None
    slow = sorted(call.latency_ms for call in own if is_slow(call) and is_within(call, finding))
    usual = _usual_ms(own) or 0.0
    said = f"{slow[len(slow) // 2]:,.0f} ms where {usual:,.0f} ms is usual"
    return replace(finding, what=f"slow: {said}", evidence=said)


def _slow_from(calls: Sequence[Call]) -> float | None:
    usual = _usual_ms([call for call in calls if call.oddity is None and not call.is_cold])
    return None if usual is None else max(SLOW_TIMES * usual, usual + SLOW_MS)


def _usual_ms(calls: Sequence[Call]) -> float | None:
    """The median of the earlier half, or of all where that is less: a copy may have been slow first."""
    if len(calls) < 2 * SEVERAL:
        return None
    earlier = sorted(call.latency_ms for call in calls[: len(calls) // 2])
    everything = sorted(call.latency_ms for call in calls)
    return min(earlier[len(earlier) // 2], everything[len(everything) // 2])


def differing(case: Case) -> list[Finding]:
    """Copies that `shadow` found to answer otherwise than the majority, and that are left out for it."""
    found = []
    for id in sorted(case.quarantined & case.copies.keys()):
        state = case.states.get(id)
        seen = state.equivalence if state else None
        if seen is not None:
            found.append(
                Finding(
                    function=case.entry.name,
                    copy=case.copies[id],
                    verdict=Fault.COPY,
                    sure=Sureness.CERTAIN,
                    what=f"other answers: {seen.first_place}",
                    why=f"it differs from the majority in {seen.differed} of {seen.compared} compared answers",
                    what_to_do=f"Quarantined: deploy what its siblings run, then `fiso compare {case.entry.name}`.",
                    since=seen.first_at,
                    bad=seen.differed,
                    calls=seen.compared,
                    example=next((c.invocation_id for c in case.calls if c.invocation_id == seen.first_id), None),
                    evidence=f"{seen.first_place} differs",
                )
            )
    return found
