"""Attribution: whose fault the end of each attempt is.

The caller's, the function's, this copy's alone, the provider's, the network's: by what the vendor's contract says
(`front_doors`, `lambda_api`), whether the request was sent, how the siblings fare (`conduct`), and how the provider's
other functions fare. Router and client judge by this one. docs/decisions/0019-whose-fault-it-is.md
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol, TypeVar

from fiso_client.core import conduct
from fiso_client.core.breaker import Breaker, BreakerState
from fiso_client.core.conduct import UNSEEN, Conduct
from fiso_client.core.failures import NEVER_RAN, USUAL_FAULT, Failure, Fault

ALIKE_S = 60.0
"""So long an answer that several copies gave to one request is known to be the function's own."""
_MILD = "mild"
FORGOTTEN = 0.1
"""Mild oddities of a copy, by weight, below which nothing is remembered of them: some 50 answers after the last."""

Id = TypeVar("Id", bound=str)


class Copy(NamedTuple):
    """One copy of a function, and where it is."""

    function: str
    id: str
    provider: str
    region: str


class Folded(Protocol):
    """What was folded of a copy."""

    @property
    def conduct(self) -> Conduct | None: ...


@dataclass(frozen=True, slots=True)
class Finding:
    """Whose fault it is, and what shows it."""

    verdict: Fault
    evidence: str


def _holds(suspect: Breaker | None, own: Breaker, now: datetime) -> bool:
    """Whether a suspect's hold goes before its own breaker: while it lasts, and where that is closed."""
    return suspect is not None and (suspect.state(now) is BreakerState.OPEN or own.opened_until is None)


def usual_fault(status: int) -> Fault | None:
    """Whose fault an answer of the function's own is, where nothing is known of the siblings; None for a good one."""
    if status < 400:
        return None
    return Fault.FUNCTION if status >= 500 else Fault.THROTTLE if status == 429 else Fault.CALLER


class Attribution:
    """What one process knows of its copies' conduct, by function. One request at a time, as in an environment of
    Lambda's; a client with threads guards it."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Conduct]] = {}
        self._copies: dict[tuple[str, str], Copy] = {}
        self._learnt: dict[str, object] = {}
        self._asked_until: dict[tuple[str, str], datetime] = {}
        self._alike: dict[tuple[str, str], datetime] = {}
        self._mild: dict[str, dict[str, Conduct]] = {}
        """The same of mild oddities alone, of functions that had some lately. `shape` says whether the last one was."""

    def learn(self, function: str, folded: Mapping[Id, Folded]) -> None:
        """What all environments saw together, where it is newer than what was seen here. The same mapping is learnt
        once."""
        if self._learnt.get(function) is folded:
            return
        self._learnt[function] = folded
        own = self._known.setdefault(function, {})
        for id, state in folded.items():
            theirs, here = state.conduct or UNSEEN, own.get(id, UNSEEN)
            if theirs.last_at is not None and (here.last_at is None or theirs.last_at > here.last_at):
                own[id] = theirs

    def conduct_of(self, function: str, id: str) -> Conduct:
        return self._known.get(function, {}).get(id, UNSEEN)

    def started(self, copy: Copy, now: datetime, timeout_s: float) -> Conduct:
        """A call begins: of a suspect, it is the one that finds out. Gives the conduct that it meets."""
        met = self.conduct_of(copy.function, copy.id)
        mild = self._mild.get(copy.function, {}).get(copy.id, UNSEEN) if self._mild else UNSEEN
        if met.strikes or mild.strikes:
            self._asked_until[copy.function, copy.id] = now + timedelta(seconds=timeout_s)
        return met

    def oddity(self, copy: Copy, candidates: Collection[str], status: int, shape: str, caller: str = "") -> str | None:
        """What about an answer stands out, in words; None for nothing. `shape` as `FunctionAnswer` has it."""
        known = self._known.get(copy.function, {})
        siblings = [known[other] for other in candidates if other != copy.id and other in known]
        return conduct.oddity_of(status, shape, known.get(copy.id, UNSEEN), siblings, caller)

    def asks_another(
        self, copy: Copy, candidates: Collection[str], oddity: str, *, status: int, on: Collection[str], now: datetime
    ) -> bool:
        """Whether a sibling is asked the same, after an answer that stands out to a request that may be repeated. `on`
        is the policy's `fail_over_on`."""
        if "server_error" in on and status >= 500:
            return True
        return "copy" in on and self._is_worth_another(copy, candidates, oddity, now)

    def _is_worth_another(self, copy: Copy, candidates: Collection[str], oddity: str, now: datetime) -> bool:
        """Whether a sibling may well do better by the same request."""
        alike_until = self._alike.get((copy.function, oddity))
        if alike_until is not None and now < alike_until and not self.conduct_of(copy.function, copy.id).is_suspected:
            return False
        return conduct.is_surprising(self._known.get(copy.function, {}), copy.id, candidates)

    def ended(
        self,
        copy: Copy,
        candidates: Collection[str],
        *,
        oddity: str | None,
        shape: str,
        now: datetime,
        status: int | None = None,
        caller: str = "",
    ) -> None:
        """One more answer to a caller, or failure that counts (`conduct.COUNTED`), which has no `status`."""
        known = self._known.setdefault(copy.function, {})
        is_plain = oddity is None and status is not None and 200 <= status < 300 and status != 204
        if is_plain and copy.function not in self._mild and conduct.is_as_ever(known, copy.id, shape, now):
            return
        self._copies[copy.function, copy.id] = copy
        self._asked_until.pop((copy.function, copy.id), None)
        mild = None
        if oddity is None and status is not None and (status == 204 or status >= 400):
            siblings = [known[other] for other in candidates if other != copy.id and other in known]
            mild = conduct.mild_oddity_of(status, known.get(copy.id, UNSEEN), siblings, caller)
        if mild or (oddity is None and copy.function in self._mild):
            self._mildly_ended(copy, candidates, mild, now, caller)
        if mild:
            return
        if status is not None and not conduct.shows_usual_body(status):
            shape = ""
        known |= conduct.after_answer(known, copy.id, candidates, oddity=oddity, shape=shape, now=now, caller=caller)

    def _mildly_ended(
        self, copy: Copy, candidates: Collection[str], mild: str | None, now: datetime, caller: str
    ) -> None:
        """What callers bring about as a rule is held against the siblings' apart from all else. A caller's mistake is
        usual, and a copy that refuses what its siblings accept does so again: while nobody is suspected, one counts for
        the rates alone, and the second in a row for suspicion."""
        known = self._mild.get(copy.function, {})
        own = known.get(copy.id, UNSEEN)
        if mild and own.shape != _MILD and not any(found.is_suspected for found in known.values()):
            changed = {copy.id: conduct.counted(own, is_odd=True, now=now)}
        else:
            changed = conduct.after_answer(known, copy.id, candidates, oddity=mild, shape="", now=now, caller=caller)
        known = {**known, **changed, copy.id: replace(changed[copy.id], shape=_MILD if mild else "")}
        if any(found.odd > FORGOTTEN or found.is_suspected for found in known.values()):
            self._mild[copy.function] = known
        else:
            del self._mild[copy.function]

    def answered_alike(self, function: str, ids: Iterable[str], oddity: str, now: datetime) -> None:
        """Several copies gave one request the same answer that stands out: it is the function's, or the caller's."""
        self._alike[function, oddity] = now + timedelta(seconds=ALIKE_S)
        known = self._known.setdefault(function, {})
        known |= conduct.cleared(known, ids)

    def proved(self, function: str, id: str) -> None:
        """A sibling did well by the same request: whoever asked, it is the copy's doing."""
        known = self._known.setdefault(function, {})
        known[id] = replace(known.get(id, UNSEEN), odd_by="")

    def finding(self, copy: Copy, met: Conduct, *, status: int, oddity: str | None) -> Finding | None:
        """Whose fault an answer of the function's own is; None for a good one. `met` is its conduct when asked."""
        usual = usual_fault(status)
        if oddity is None and (conduct.is_refusal(status) or status == 204):
            met = self._mild.get(copy.function, {}).get(copy.id, UNSEEN)
        elif oddity is None:
            return Finding(usual, f"status {status}") if usual else None
        oddity = oddity or f"status {status}"
        if met.is_convicted or (met.is_suspected and met.is_confirmed):
            since = f"its siblings gave {met.answers_since} good answers since it last stood out"
            place = self._of_place(copy)
            shown = f"{oddity}; {place.evidence if place else since}"
            return Finding(place.verdict if place else Fault.COPY, shown)
        return Finding(usual, oddity) if usual else None

    def fault_of(self, copy: Copy, failure: Failure, verdict: Fault) -> Fault:
        """Whose fault a failure is: the provider's, where its other functions fare no better."""
        if failure in NEVER_RAN or verdict is not USUAL_FAULT[failure] or failure is Failure.FUNCTION_TIMED_OUT:
            return verdict
        return Fault.PROVIDER if self._of_place(copy) else verdict

    def held_back(
        self,
        function: str,
        ids: Iterable[Id],
        breakers: Mapping[Id, Breaker],
        now: datetime,
        *,
        canary: Id | None = None,
        caller: str = "",
    ) -> Mapping[Id, Breaker]:
        """The breakers with those of suspects, as they hold for a caller: open until it is time to ask them again. Mild
        oddities of a `canary` are counted by its own test, which needs its share of the requests for that."""
        suspects: dict[Id, Breaker] = {}
        for known, spared in ((self._mild.get(function), canary), (self._known.get(function), None)):
            for id in ids if known else ():
                found = known.get(id) if known and id != spared else None
                if found is not None and found.strikes and found.concerns(caller):
                    suspects[id] = self._breaker(function, id, found, now)
        if not suspects:
            return breakers
        # A breaker's own probe must not come before the suspect's: with many environments each would be a request lost.
        return {**suspects, **{id: own for id, own in breakers.items() if not _holds(suspects.get(id), own, now)}}

    def _breaker(self, function: str, id: str, found: Conduct, now: datetime) -> Breaker:
        at = found.asked_again_at() or now
        return Breaker(
            trips_in_row=found.strikes,
            opened_until=max(at, now + timedelta(seconds=1)) if found.answers_missing else at,
            probing_until=self._asked_until.get((function, id)),
            changed_at=found.last_odd_at,
            cause=f"{'demoted' if found.is_convicted else 'suspected'}: {found.oddity}",
        )

    def _of_place(self, copy: Copy) -> Finding | None:
        """Another function's copy is suspected in the same provider's region."""
        others = {
            other.function
            for other in self._copies.values()
            if other.function != copy.function
            and other[2:] == copy[2:]
            and self.conduct_of(other.function, other.id).is_suspected
        }
        if not others:
            return None
        return Finding(
            Fault.PROVIDER, f"{', '.join(sorted(others)[:3])} fails in {copy.provider} {copy.region} as well"
        )
