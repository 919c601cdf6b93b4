"""Idempotency keys: what stands under a key, and what a request that carries it gets. Standard library only.

The rules follow Stripe's (docs.stripe.com, "Idempotent requests"): the first answer is kept for 24 hours and given
again whatever it was, once the function may have run; another payload is an error; a request beside a running one
conflicts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import NewType
from urllib.parse import quote

from fiso.domain.request import InvocationId, InvocationRequest, TenantId

KEEP = timedelta(hours=24)
GRACE = timedelta(seconds=5)
"""What an orchestrator may still take past its deadline to write record and answer. A claim older than this belongs to
one that died. Safety does not rest on it: who comes too late finds its claim gone."""
LONGEST_RETRY_S = 5

_KEYS = "key:"
FREE_BYTES = 16 * 1024
"""What a kept answer's body may have without counting: requests themselves are bounded by the tenant's quota."""
MOST_KEPT_BYTES = 256 * 1024 * 1024
"""What larger answers of one tenant may come to in one DAY; what is past it is not kept."""
DAY = timedelta(hours=24)

EntryId = NewType("EntryId", str)


def entry_id(tenant: TenantId, key: str) -> EntryId:
    """`key:tenant#key`. A tenant's own # and : are escaped, so no tenant can spell another one's entry, nor what else
    the table holds: counters begin with `use:` and `kept:`."""
    return EntryId(f"{_KEYS}{quote(tenant, safe='')}#{key}")


def former_id(id: EntryId) -> EntryId:
    """Under what an entry was written that began before there were spaces of keys. It holds no : before its #."""
    return EntryId(id.removeprefix(_KEYS))


def tenant_in(id: EntryId) -> str:
    """Whose entry it is, percent-encoded."""
    return former_id(id).partition("#")[0]


def fingerprint_of(request: InvocationRequest) -> str:
    """What makes two requests the same: sha256 over method, function, path suffix, query, content type and body."""
    parts = (
        request.method,
        request.function,
        request.path_suffix,
        request.query,
        request.headers.get("content-type", ""),
    )
    digest = hashlib.sha256()
    for part in (*(part.encode() for part in parts), request.body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer as the gateway got it. `is_text`: `body` went as text, not as base64; `cookies` are the values of
    `set-cookie`."""

    status: int
    body: bytes
    is_text: bool
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands under a key: a claim of one invocation, and its answer once there is one."""

    id: EntryId
    fingerprint: str
    invocation_id: InvocationId
    deadline_at: datetime
    expires_at: datetime
    answer: KeptAnswer | None = None

    @property
    def abandoned_at(self) -> datetime:
        """From when on a claim without an answer belongs to an orchestrator that died."""
        return self.deadline_at + GRACE

    def retry_after_s(self, now: datetime) -> int:
        """When to ask again for an answer that is still awaited, in whole seconds."""
        left_s = (self.abandoned_at - now).total_seconds()
        return max(1, min(LONGEST_RETRY_S, ceil(left_s)))


class Verdict(StrEnum):
    """What a request gets that finds an entry under its key."""

    REPLAY = "replay"
    STILL_RUNNING = "still_running"
    OTHER_PAYLOAD = "other_payload"
    TAKE_OVER = "take_over"
    UNKNOWN_OUTCOME = "unknown_outcome"


def claim_of(request: InvocationRequest, *, now: datetime, timeout_ms: float) -> Entry:
    """The claim that a request makes on its key. `timeout_ms` is the policy's. `ValueError` when there is no key."""
    if request.idempotency_key is None:
        raise ValueError("a request without a key claims nothing")
    latest = request.received_at + timedelta(milliseconds=timeout_ms)
    return Entry(
        id=entry_id(request.tenant, request.idempotency_key),
        fingerprint=fingerprint_of(request),
        invocation_id=request.invocation_id,
        deadline_at=min(request.deadline_at, latest),
        expires_at=now + KEEP,
    )


def judge(standing: Entry, wanted: Entry, *, now: datetime, may_repeat: bool) -> Verdict:
    """The one rule. `may_repeat`: the function is declared safe to run again under this key."""
    if standing.fingerprint != wanted.fingerprint:
        return Verdict.OTHER_PAYLOAD
    if standing.answer is not None:
        return Verdict.REPLAY
    if now < standing.abandoned_at:
        return Verdict.STILL_RUNNING
    return Verdict.TAKE_OVER if may_repeat else Verdict.UNKNOWN_OUTCOME
