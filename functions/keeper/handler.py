"""The keeper's edge: a schedule in, one round of keeping, what it did out. The command line asks it to publish at once:
it is the only one that signs catalogs."""

import logging
import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fiso import telemetry
from fiso.billing import tariff
from fiso.codecs.record import instant, parse_instant
from fiso.domain.errors import UnknownFunction
from fiso.services.maintenance.keep import Keeper
from fiso.services.maintenance.promote import Registry
from fiso.services.maintenance.switch import ORDERS, ModeOrder
from fiso.settings import KeeperSettings
from fiso_client.core.failures import FisoError
from functions.keeper import models, wiring

logger = logging.getLogger("fiso.keeper")


@cache
def _keeper() -> Keeper:
    telemetry.logger()
    return wiring.build(KeeperSettings.from_environ(os.environ))


@cache
def _registry() -> Registry:
    telemetry.logger()
    return wiring.registry(KeeperSettings.from_environ(os.environ))


def lambda_handler(event: object, context: object) -> dict[str, Any]:
    """One round, fired by the schedule; of `{"publish": true}` publishing alone, of `{"order": …}` a mode switched, of
    `{"look_through": {"start": …, "end": …}}` what was spilled then and never handed on, of `{"model": …}` what is
    asked about models."""
    telemetry.identify(event, context)
    if isinstance(event, dict) and event.get("publish") is True:
        return _published()
    if isinstance(event, dict) and "order" in event:
        return switched(_keeper(), event["order"])
    if isinstance(event, dict) and "look_through" in event:
        return looked_through(_keeper(), event["look_through"])
    if isinstance(event, dict) and "model" in event:
        return models.ordered(_registry(), event["model"])
    report = _keeper().keep()
    done: dict[str, bool | int | str | None] = {
        "closed_as_unknown": report.swept.closed_as_unknown,
        "has_more_open": report.swept.has_more,
        "replayed": report.reconciled.written,
        "unreadable": report.reconciled.unreadable,
        "unmarked": report.reconciled.unmarked,
        "contradicted": report.reconciled.contradicted,
        "all_lines_read": report.reconciled.is_complete,
        "merged": report.merged,
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


def switched(keeper: Keeper, order: object) -> dict[str, bool | int | str | None]:
    """What is in force then; or `refused`, and the status that says why."""
    try:
        wanted = ORDERS.from_document(ModeOrder, order)
        snapshot = keeper.switch(wanted)
    except UnknownFunction as error:
        return {"refused": str(error), "status": error.status}
    except ValueError as error:  # what was sent is no order, or such a mode cannot be
        return {"refused": str(error), "status": 400}
    except FisoError as error:
        logger.warning("mode not switched: %s", error)
        return {"refused": str(error), "status": 503}
    policy = snapshot.functions[wanted.function].policy
    until = instant(policy.pin.until) if policy.pin and policy.pin.until else None
    return {"published_version": snapshot.version, "mode": policy.mode_word, "until": until}


def looked_through(keeper: Keeper, wanted: object) -> dict[str, bool | int | str | None]:
    """What became records that were none; `next_start` where a round's time was not enough, to go on from."""
    try:
        start, end = (parse_instant(str(wanted[name])) for name in ("start", "end"))  # type: ignore[index]
    except (TypeError, KeyError, ValueError) as error:
        return {"refused": f"start and end as in 2026-11-30T12:00:00Z: {error}", "status": 400}
    try:
        done, upto = keeper.look_through(start, end)
    except FisoError as error:
        return {"refused": str(error), "status": 503}
    left = None if done.is_complete else instant(upto)
    return {"replayed": done.written, "known": done.known, "unmarked": done.unmarked, "next_start": left}


def _published() -> dict[str, bool | int | str | None]:
    """What is published now, or why the newest version is not."""
    try:
        version = _keeper().publish()
    except FisoError as error:
        logger.warning("catalog not published: %s", error)
        return {"published_version": None, "problems": str(error)}
    return {"published_version": version, "problems": None}
