"""An executor whose work ends when a test lets it."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class HeldExecutor(Executor):
    """Does what it is given at once, or while `is_held`, when it is let go."""

    def __init__(self) -> None:
        self.is_held = False
        self._held: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The future, done already unless it is held."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - as every executor does it
                future.set_exception(error)

        self._held.append(run)
        if not self.is_held:
            self.let_go()
        return future

    def let_go(self) -> None:
        """What was held ends now."""
        self.is_held = False
        while self._held:
            self._held.popleft()()
