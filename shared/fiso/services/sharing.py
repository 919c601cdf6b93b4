"""Sharing: breakers that opened or closed, told to other environments and heard from them.

Written on transitions only, beside whatever is awaited then; read while a provider is awaited, when older than 5 s.
Without the store each environment finds out for itself.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor, Future

from fiso.domain.errors import StoreError
from fiso.ports import Clock, SharedBreakers
from fiso.routing.breaker import Transition
from fiso.services.breakers import Breakers
from fiso.services.known import FRESH_S, Known
from fiso.services.patience import Patience

logger = logging.getLogger(__name__)


class Sharing:
    """One environment's side of it."""

    def __init__(
        self, store: SharedBreakers, *, clock: Clock, executor: Executor, patience: Patience | None = None
    ) -> None:
        self._store, self._clock, self._executor = store, clock, executor
        self._patience = patience or Patience()
        self._known: Known[Sequence[Transition]] = Known(
            "shared breakers",
            lambda _: store.read(),
            clock=clock,
            executor=executor,
            patience=self._patience,
            is_needed=False,
        )
        self._adopted: Sequence[Transition] | None = None
        self._writes: list[Future[None]] = []

    def prefetch(self) -> None:
        """Start the first read, beside those of whatever else a new environment needs."""
        if self._known.age_s is None:
            self._known.while_waiting()

    def tell(self, transition: Transition) -> None:
        """Write one, without waiting for it."""
        self._writes.append(self._executor.submit(self._write, transition))

    def refresh_while_waiting(self, *, oldest_s: float = FRESH_S) -> None:
        """Read what is due; call right before waiting for a provider."""
        self._known.while_waiting(oldest_s=oldest_s)

    def settle(self, breakers: Breakers) -> None:
        """Let reads and writes that were started finish, and take over what others saw."""
        self._known.settle()
        self._writes = [write for write in self._writes if not self._patience.wait_for(write)]
        self.take_over(breakers)

    def take_over(self, breakers: Breakers) -> None:
        """Let what was heard since the last time hold here too."""
        heard = self._known.value
        if heard is not None and heard is not self._adopted:
            self._adopted = heard
            breakers.adopt(heard, self._clock())

    def _write(self, transition: Transition) -> None:
        try:
            self._store.write(transition)
        except StoreError as error:
            logger.warning("a breaker's transition was not shared: %s", error)
