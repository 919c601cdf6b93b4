"""The keeper's edge: a schedule in, one round of keeping, what it did out."""

import logging
import os
from functools import cache
from time import sleep

from fiso import telemetry
from fiso.services.keep import keep
from fiso.settings import KeeperSettings
from functions.keeper import wiring
from functions.keeper.wiring import Stores

logger = logging.getLogger("fiso.keeper")


@cache
def _stores() -> Stores:
    telemetry.logger()
    return wiring.build(KeeperSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, int | str | None]:
    """One round, fired by the schedule."""
    stores = _stores()
    kept = keep(log=stores.log, catalog=stores.catalog, snapshots=stores.snapshots, clock=stores.clock, sleep=sleep)
    logger.info("kept", extra={"closed_as_unknown": kept.closed_as_unknown, "published": kept.published_version})
    return {
        "closed_as_unknown": kept.closed_as_unknown,
        "published_version": kept.published_version,
        "catalog_error": kept.catalog_error,
    }
