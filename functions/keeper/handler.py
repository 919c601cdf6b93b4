"""The keeper's edge: a schedule in, one round of keeping, what it did out. The command line asks it to publish at once:
it is the only one that signs catalogs."""

import logging
import os
from datetime import UTC, datetime
from functools import cache

from fiso import telemetry
from fiso.billing import tariff
from fiso.services.maintenance.keep import Keeper
from fiso.settings import KeeperSettings
from fiso_client.core.failures import FisoError
from functions.keeper import wiring

logger = logging.getLogger("fiso.keeper")


@cache
def _keeper() -> Keeper:
    telemetry.logger()
    return wiring.build(KeeperSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, bool | int | str | None]:
    """One round, fired by the schedule; of `{"publish": true}` publishing alone."""
    telemetry.identify(event, context)
    if isinstance(event, dict) and event.get("publish") is True:
        return _published()
    report = _keeper().keep()
    done: dict[str, bool | int | str | None] = {
        "closed_as_unknown": report.swept.closed_as_unknown,
        "has_more_open": report.swept.has_more,
        "replayed": report.reconciled.written,
        "unreadable": report.reconciled.unreadable,
        "unmarked": report.reconciled.unmarked,
        "contradicted": report.reconciled.contradicted,
        "all_lines_read": report.reconciled.is_complete,
        "published_version": report.published_version,
        "problems": "; ".join(report.problems) or None,
    }
    logger.info("keeper round done", extra=done)
    lost = report.reconciled.unreadable + report.reconciled.contradicted
    telemetry.metrics().add("SpillUnreplayed", lost + (not report.reconciled.is_complete), "Count")
    telemetry.metrics().add("KeeperProblems", len(report.problems), "Count")
    if report.reconciled.unmarked:
        telemetry.metrics().add("SpillUnmarked", report.reconciled.unmarked, "Count")
    telemetry.metrics().add("TariffAgeDays", tariff.current().age_days(datetime.now(UTC).date()), "None")
    telemetry.metrics().add("KeeperRounds", 1, "Count")  # an alarm rings where none ends
    telemetry.flush()
    return done


def _published() -> dict[str, bool | int | str | None]:
    """What is published now, or why the newest version is not."""
    try:
        version = _keeper().publish()
    except FisoError as error:
        logger.warning("catalog not published: %s", error)
        return {"published_version": None, "problems": str(error)}
    return {"published_version": version, "problems": None}
