"""Tokens ahead: what identifies FISO at endpoints, fetched beside a request's first reads and renewed while a provider
is awaited, so that no call has to wait for an exchange."""

from collections.abc import Iterable, Sequence

from fiso.domain.endpoint import Endpoint
from fiso.ports import EndpointTokens, Metrics
from fiso.services.freshness.cached import STORE_WAIT_S, Readers, StoreWaitBudget

FETCHERS = 4
"""Exchanges at once, on threads of their own: a token service that hangs must keep no store waiting."""


class TokensAhead:
    """Of one execution environment. What cannot be had is told by the call that needs it."""

    def __init__(self, tokens: Sequence[EndpointTokens], budget: StoreWaitBudget, readers: Readers) -> None:
        self._tokens, self._budget, self._readers = tokens, budget, readers

    @classmethod
    def of(cls, tokens: Sequence[EndpointTokens], budget: StoreWaitBudget, metrics: Metrics) -> "TokensAhead | None":
        """With the stopwatch of `budget`; None on a stage that has no identity elsewhere."""
        readers = Readers(FETCHERS, "tokens")
        own = StoreWaitBudget(readers, stopwatch=budget.stopwatch, metrics=metrics)
        return cls(tokens, own, readers) if tokens else None

    def begin(self, endpoints: Iterable[Endpoint] = ()) -> None:
        """Start what is due for these endpoints; without any, what comes before every token."""
        endpoints = tuple(endpoints)
        for each in self._tokens:
            for fetch in each.due(endpoints):
                self._budget.start("a token", fetch)

    def await_pending(self, *, within_s: float = STORE_WAIT_S) -> None:
        """Let what was started end: Lambda freezes what is under way after the answer."""
        self._budget.await_pending(within_s=within_s)

    def rest(self) -> None:
        """Leave no thread and no token."""
        self._readers.rest()
        for each in self._tokens:
            each.forget()
