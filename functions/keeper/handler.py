"""The keeper's edge: a schedule in, one round of keeping, what it did out."""

import logging
import os
from functools import cache

from fiso import telemetry
from fiso.services.maintenance.keep import Keeper
from fiso.settings import KeeperSettings
from functions.keeper import wiring

logger = logging.getLogger("fiso.keeper")


@cache
def _keeper() -> Keeper:
    telemetry.logger()
    return wiring.build(KeeperSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, bool | int | str | None]:
    """One round, fired by the schedule."""
    kept = _keeper().keep()
    done: dict[str, bool | int | str | None] = {
        "closed_as_unknown": kept.swept.closed_as_unknown,
        "has_more_open": kept.swept.has_more,
        "replayed": kept.reconciled.written,
        "unreadable": kept.reconciled.unreadable,
        "contradicted": kept.reconciled.contradicted,
        "all_lines_read": kept.reconciled.is_complete,
        "published_version": kept.published_version,
        "problems": "; ".join(kept.problems) or None,
    }
    logger.info("kept", extra=done)
    lost = kept.reconciled.unreadable + kept.reconciled.contradicted
    telemetry.metrics().add("SpillUnreplayed", lost + (not kept.reconciled.is_complete), "Count")
    telemetry.flush()
    return done
