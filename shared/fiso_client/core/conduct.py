"""Conduct: what each copy of a function answered lately, held against its siblings. Pure.

An answer that stands out (an error, a redirect, an empty or foreign body where the others have theirs) may be the
caller's doing, the function's, or this copy's alone; only the siblings can tell. So a copy whose answer stands out is
*suspected*: the next requests go to a sibling, and it is asked again after twice as many answers of theirs, and twice
as long, with every strike. What its siblings do alike clears it. Each answer that stands out between good ones of the
siblings is evidence; enough of it *convicts* the copy, which is then asked again far more rarely. A good answer clears
it of suspicion at once.

Why so, with error rates: docs/decisions/0019-whose-fault-it-is.md
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import log
from typing import TypeVar

from fiso_client.core.failures import Failure

K = TypeVar("K")

MEMORY = 0.95
"""How much of what was counted one more call leaves: the last 20 calls."""
PRIOR_ODD, PRIOR_CALLS = 0.2, 10.0
"""What a copy is taken to have done before it was seen: 2 of 100 answers stand out."""
GUILTY = 0.9
"""The share of answers that stand out of a copy that is at fault; the test is sharp for half and more of them."""
SUSPECTED = log(10)
CONVICTED = log(1e7)
"""Likelihood ratios (Page's CUSUM, 1954). A conviction's is reached by chance about once in 10 million answers that
stand out at the siblings' own rate, by Ville's inequality."""
MOST_EVIDENCE = CONVICTED + 2.0
CHANCE_S = 1.0
"""How long a copy is held back that stood out once. What all environments saw is folded within about as long, so that
each of them loses one request to a broken copy, and not two."""
FIRST_S, LONGEST_S = 3.0, 30.0
CONVICTED_FIRST_S, CONVICTED_LONGEST_S = 30.0, 300.0
ALIKE = 5
"""A sibling that stands out once in so many answers, or less often, does not do like the suspect."""
MOST_ANSWERS = 32
"""Of siblings, before a suspected copy is asked again: what a function with 20 requests a day can afford."""
AS_EVER_S = 1.0
SETTLED_SHAPE = 3.0
SHAPE_SHARE = 0.9
MOST_SHAPE_CALLS = 50.0
"""How many good answers, and what share of them, make a kind of body the usual one of a copy."""
STANDING_OUT = frozenset({401, 402, 403, 404, 407, 408, 410, 421, 429, 451})
"""Statuses below 500 that a copy which is gone, closed or misconfigured gives. They are as often the function's own
answer to its caller, which the siblings then give as well."""


def is_refusal(status: int) -> bool:
    """Whether an answer is one that callers bring about as a rule (400, 405, 422 ...). It is no sign of a copy that
    does well, nor by itself of one that does not."""
    return 400 <= status < 500 and status not in STANDING_OUT


def shows_usual_body(status: int) -> bool:
    """Whether an answer tells what kind of body a good one has: some have none by their status alone."""
    return 200 <= status < 300 and status not in (204, 205)


COUNTED = frozenset({Failure.BROKEN, Failure.PROVIDER_FAULT, Failure.FUNCTION_TIMED_OUT, Failure.TIMED_OUT})
"""Failures that count as an answer that stands out: it may have run, and the caller may be the one to feel it. What
cannot have run is tried elsewhere, and is the breakers' matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """One copy's. `calls` and `odd` are weighted counts of the last answers and of those that stood out; `suspicion`
    and `evidence` logarithms of likelihood ratios (this copy at fault against all alike); `strikes` how often in a row
    it stood out as a suspect; `answers_since` and `odd_since` are the siblings' good answers, and those that stood out,
    since it last stood out itself, at `last_odd_at`. `shape` is its usual kind of body, of `shape_calls`. `odd_by` is
    whose requests it stood out in, where all were one caller's; empty where they were several's, or nobody said.
    `shape_by` says the same of whose answers made `shape`.
    """

    calls: float = 0.0
    odd: float = 0.0
    suspicion: float = 0.0
    evidence: float = 0.0
    strikes: int = 0
    answers_since: int = 0
    odd_since: int = 0
    is_convicted: bool = False
    last_odd_at: datetime | None = None
    last_at: datetime | None = None
    oddity: str = ""
    shape: str = ""
    shape_calls: float = 0.0
    odd_by: str = ""
    shape_by: str = ""

    def concerns(self, caller: str) -> bool:
        """Whether the suspicion holds for a caller: what stood out to another one alone may be that one's doing."""
        return self.odd_by in ("", caller)

    @property
    def is_suspected(self) -> bool:
        return self.strikes > 0

    def asked_again_at(self) -> datetime | None:
        """When it may be asked again as far as time goes; None when it is no suspect."""
        if not self.strikes or self.last_odd_at is None:
            return None
        first_s, longest_s = (CONVICTED_FIRST_S, CONVICTED_LONGEST_S) if self.is_convicted else (FIRST_S, LONGEST_S)
        if self.strikes == 1:  # it may have been chance; others may know by then that it was none
            return self.last_odd_at + timedelta(seconds=CHANCE_S)
        return self.last_odd_at + timedelta(seconds=min(longest_s, first_s * 2 ** min(self.strikes - 2, 10)))

    @property
    def is_confirmed(self) -> bool:
        """Whether the siblings did well since it last stood out."""
        return self.answers_since > ALIKE * self.odd_since

    @property
    def answers_missing(self) -> int:
        """How many good answers of siblings are to come before it is asked again."""
        needed = MOST_ANSWERS if self.is_convicted and self.strikes > 1 else 2 ** min(self.strikes - 1, 5)
        return max(0, needed - self.answers_since) if self.strikes else 0


UNSEEN = Conduct()


def oddity_of(status: int, shape: str, own: Conduct, siblings: Collection[Conduct], caller: str = "") -> str | None:
    """What about an answer to a caller stands out, in words; None when nothing does. `shape` as `content.shape_of` has
    it, empty where nobody said."""
    if status >= 500 or status in STANDING_OUT or (300 <= status < 400 and status != 304):
        return f"status {status}" + (f" {shape}" if shape not in ("", "empty", "json") else "")
    usual = usual_shape(own, siblings, caller) if 200 <= status < 300 and status != 204 else ""
    return f"{shape} where {usual} is usual" if usual and shape and shape != usual else None


def mild_oddity_of(status: int, own: Conduct, siblings: Collection[Conduct], caller: str = "") -> str | None:
    """What about an answer may be the request's doing as well as the copy's, in words: a refusal, or no content where
    there usually is some."""
    if is_refusal(status):
        return f"status {status}"
    if status != 204 or usual_shape(own, siblings, caller) in ("", "empty"):
        return None
    return "status 204"


def usual_shape(own: Conduct, siblings: Collection[Conduct], caller: str = "") -> str:
    """The kind of body that a good answer has: the one that the siblings agree on, else the copy's own; empty when
    neither is settled. By copies, not by calls: a broken copy that is called most must not set the standard. Nor does
    what another caller alone was answered: it may have asked for that."""
    usual = ""
    for sibling in siblings:
        if sibling.shape_calls >= SETTLED_SHAPE and sibling.shape_by in ("", caller):
            if usual and sibling.shape != usual:
                return ""
            usual = sibling.shape
    is_settled = own.shape_calls >= 3 * SETTLED_SHAPE and own.shape_by in ("", caller)
    return usual or (own.shape if is_settled else "")


def is_surprising(known: Mapping[K, Conduct], copy: K, candidates: Collection[K]) -> bool:
    """Whether an answer of this copy that stands out now would make it a suspect: its siblings do better."""
    own = known.get(copy, UNSEEN)
    rate = siblings_rate(known, copy, candidates)
    return rate is not None and (own.is_suspected or own.suspicion + log(GUILTY / rate) >= SUSPECTED)


def siblings_rate(known: Mapping[K, Conduct], copy: K, candidates: Collection[K]) -> float | None:
    """The share of answers that stand out among siblings that are no suspects; None when there is none of these."""
    seen = [known.get(other, UNSEEN) for other in candidates if other != copy]
    well = [conduct for conduct in seen if not conduct.is_suspected]
    if not well:
        return None
    odd, calls = sum(conduct.odd for conduct in well), sum(conduct.calls for conduct in well)
    return min(GUILTY, (odd + PRIOR_ODD) / (calls + PRIOR_CALLS))


def after_answer(
    known: Mapping[K, Conduct],
    copy: K,
    candidates: Collection[K],
    *,
    oddity: str | None,
    shape: str,
    now: datetime,
    caller: str = "",
) -> dict[K, Conduct]:
    """Everybody's conduct after one more answer (or failure) of a copy to a caller, of whom an empty name says nothing;
    `candidates` are all that might have been asked. What does not change is not in the result."""
    if oddity is None:
        return _after_good(known, copy, candidates, shape, now, caller)
    own = known.get(copy, UNSEEN)
    own = counted(own, is_odd=True, now=now)
    rate = siblings_rate(known, copy, candidates)
    suspects = {
        other: replace(conduct, odd_since=conduct.odd_since + 1)
        for other, conduct in _suspects(known, copy, candidates).items()
    }
    if rate is None and not any(suspect.is_confirmed for suspect in suspects.values()):
        # Nobody is left to hold it against: all are alike, so it is the function or its callers.
        return {**{other: _cleared(suspect) for other, suspect in suspects.items()}, copy: _cleared(own)}
    return {**suspects, copy: own if rate is None else _struck(own, log(GUILTY / rate), oddity, now, caller)}


def counted(own: Conduct, *, is_odd: bool, now: datetime) -> Conduct:
    """One more answer, for the rates alone."""
    return replace(own, calls=own.calls * MEMORY + 1, odd=own.odd * MEMORY + is_odd, last_at=now)


def _struck(own: Conduct, weight: float, oddity: str, now: datetime, caller: str) -> Conduct:
    """Once more it stood out, which is `weight` likelier if it is at fault."""
    suspicion = max(0.0, own.suspicion + weight)
    is_first = not own.evidence
    evidence = own.evidence + weight if is_first or own.is_confirmed else own.evidence if not own.odd_since else 0.0
    strikes = own.strikes + 1 if own.strikes or suspicion >= SUSPECTED else 0
    is_proved = own.is_confirmed and evidence >= CONVICTED
    return replace(
        own,
        suspicion=min(suspicion, MOST_EVIDENCE),
        evidence=min(max(0.0, evidence), MOST_EVIDENCE),
        strikes=strikes,
        is_convicted=strikes > 0 and (own.is_convicted or is_proved),
        answers_since=0,
        odd_since=0,
        last_odd_at=now,
        oddity=oddity,
        odd_by=caller if not own.strikes or own.odd_by == caller else "",
    )


def _suspects(known: Mapping[K, Conduct], copy: K, candidates: Collection[K]) -> dict[K, Conduct]:
    return {
        other: conduct
        for other in candidates
        if other != copy and (conduct := known.get(other)) is not None and conduct.strikes
    }


def is_as_ever(known: Mapping[K, Conduct], copy: K, shape: str, now: datetime) -> bool:
    """Whether one more good answer, within AS_EVER_S of the last one that was counted, tells nothing new: the copy has
    been well for long, and no sibling waits for what it answers. It saves most requests the arithmetic."""
    own = known.get(copy)
    if own is None or own.odd > 0.01 or own.shape != shape or own.shape_calls < MOST_SHAPE_CALLS:
        return False
    if own.suspicion or own.evidence or own.last_at is None or not 0 <= (now - own.last_at).total_seconds() < AS_EVER_S:
        return False
    return not any(found.strikes for found in known.values())


def _after_good(
    known: Mapping[K, Conduct], copy: K, candidates: Collection[K], shape: str, now: datetime, caller: str
) -> dict[K, Conduct]:
    own = known.get(copy, UNSEEN)
    shape, shape_calls, shape_by = _shaped(own, shape, caller)
    changed = _suspects(known, copy, candidates)
    for other, conduct in changed.items():
        changed[other] = replace(conduct, answers_since=conduct.answers_since + 1)
    calls, odd = own.calls * MEMORY + 1, own.odd * MEMORY
    if not own.suspicion and not own.evidence:  # nearly always
        changed[copy] = Conduct(
            calls=calls,
            odd=odd,
            last_odd_at=own.last_odd_at,
            last_at=now,
            oddity=own.oddity,
            shape=shape,
            shape_calls=shape_calls,
            shape_by=shape_by,
        )
        return changed
    rate = siblings_rate(known, copy, candidates) or PRIOR_ODD / PRIOR_CALLS
    weight = log((1 - GUILTY) / (1 - rate)) if rate < GUILTY else 0.0
    evidence = max(0.0, own.evidence + weight)
    # One good answer clears a suspect. A convicted copy fails most of its calls, not all: it is asked again soon, and
    # needs a row of good answers.
    is_convicted = own.is_convicted and evidence > 0
    changed[copy] = replace(
        own,
        calls=calls,
        odd=odd,
        last_at=now,
        shape=shape,
        shape_calls=shape_calls,
        shape_by=shape_by,
        suspicion=max(0.0, own.suspicion + weight),
        evidence=evidence,
        strikes=int(is_convicted),
        is_convicted=is_convicted,
        answers_since=0,
        odd_by=own.odd_by if is_convicted else "",
    )
    return changed


def cleared(known: Mapping[K, Conduct], copies: Iterable[K]) -> dict[K, Conduct]:
    """Those of the copies that are suspects, as such no more: they did alike by the same request."""
    return {copy: _cleared(known[copy]) for copy in copies if copy in known and known[copy].is_suspected}


def _cleared(conduct: Conduct) -> Conduct:
    return replace(
        conduct, suspicion=0.0, evidence=0.0, strikes=0, is_convicted=False, answers_since=0, odd_since=0, odd_by=""
    )


def _shaped(conduct: Conduct, shape: str, caller: str) -> tuple[str, float, str]:
    """The usual kind of body after one more good answer's, of how many calls, and whose. It gains by each of its own,
    and loses by another so much that it must be SHAPE_SHARE of them to stay."""
    if not shape or shape == conduct.shape:
        shape_by = conduct.shape_by if not shape or conduct.shape_by == caller else ""
        return conduct.shape, min(MOST_SHAPE_CALLS, conduct.shape_calls + bool(shape)), shape_by
    left = conduct.shape_calls - SHAPE_SHARE / (1 - SHAPE_SHARE)
    return (shape, 1.0, caller) if left < 1 else (conduct.shape, left, conduct.shape_by)
