"""Inline: an executor for worlds in virtual time, where nothing happens beside anything else."""

from concurrent.futures import Executor, Future
from typing import Any

from fiso_client.core.failures import FisoError


class Inline(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done; FISO's own errors are in it, others are raised here."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except FisoError as error:
            future.set_exception(error)
        return future
