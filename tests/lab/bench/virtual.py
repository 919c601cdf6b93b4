"""Virtual time: threads of which one runs at once, each until it sleeps; time is what the sleepers are woken at."""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from threading import Event, Thread


class VirtualTime:
    """Seconds since the beginning. Nothing takes any, but sleeping."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._waiting: list[tuple[float, int, Event]] = []
        self._numbers = count()
        self._over = Event()

    def sleep(self, seconds: float) -> None:
        """Let the others go on until this much later."""
        mine = Event()
        heapq.heappush(self._waiting, (self.now_s + max(0.0, seconds), next(self._numbers), mine))
        self._wake_next()
        mine.wait()

    def run(self, works: Sequence[Callable[[], None]]) -> None:
        """All of these at once, to their ends; what one of them raises is raised here."""
        raised: list[BaseException] = []

        def one(work: Callable[[], None], begun: Event) -> None:
            begun.wait()
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told to who started it
                raised.append(error)
            self._wake_next()

        threads = []
        for work in works:
            begun = Event()
            heapq.heappush(self._waiting, (self.now_s, next(self._numbers), begun))
            threads.append(Thread(target=one, args=(work, begun), daemon=True))
            threads[-1].start()
        self._over.clear()
        self._wake_next()
        self._over.wait()
        if raised:
            raise raised[0]

    def _wake_next(self) -> None:
        if not self._waiting:
            self._over.set()
            return
        self.now_s, _, event = heapq.heappop(self._waiting)
        event.set()
