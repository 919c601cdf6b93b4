"""Calls beside each other in virtual time: hedges and late calls happen in the twin as they do when deployed."""

from collections.abc import Collection

from fiso.services.resilience.dispatch import Call, Running
from fiso_cli.worlds.virtual_time import Timeline
from fiso_client.core.failures import ProviderError


class StrandCalls:
    """Runs each call in a strand of its own (an `AttemptExecutor`). One that nobody waits for any more runs on."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def begin(self, call: Call) -> Running:
        """The call, on its way."""
        running: Running = Running()

        def run() -> None:
            try:
                running.set_result(call())
            except ProviderError as error:
                running.set_exception(error)

        self._timeline.strand(run)
        return running

    def wait(self, running: Collection[Running], timeout_s: float) -> None:
        """Until the first has ended."""
        if not any(one.done() for one in running):
            self._timeline.wait_for_any(running, timeout_s)
