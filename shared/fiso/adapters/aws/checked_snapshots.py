"""Snapshots as the request path may use them: whatever was published, no endpoint at a bad address is a candidate."""

import logging

from fiso.domain.address import AddressRules, with_refusals
from fiso.domain.catalog import Snapshot
from fiso.ports import Snapshots

logger = logging.getLogger(__name__)


class CheckedSnapshots:
    """The port `Snapshots` over another one; `rules` are the stage's own."""

    def __init__(self, snapshots: Snapshots, rules: AddressRules) -> None:
        self._snapshots, self._rules = snapshots, rules

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        """The current snapshot, with the endpoints marked that must not be called."""
        snapshot = self._snapshots.current(unless_version=unless_version)
        if snapshot is None:
            return None
        checked = with_refusals(snapshot, self._rules)
        for entry in checked.functions.values():
            for endpoint, why in entry.refused.items():
                logger.error("endpoint %s of %s is never called: %s", endpoint, entry.name, why)
        return checked

    def publish(self, snapshot: Snapshot) -> None:
        self._snapshots.publish(snapshot)
