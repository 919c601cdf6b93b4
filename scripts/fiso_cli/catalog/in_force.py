"""In force: when no execution environment decides by an older version of the catalog any more.

Nobody can ask every environment. But none decides by a snapshot that is older than SNAPSHOT_STALE_S (it reads again
first), so a version is in force everywhere once that time has passed since it was published, and the stage answers
by it.
"""

import time
from collections.abc import Callable

from fiso.codecs.typed import Json
from fiso.services.freshness.decision_sources import SNAPSHOT_STALE_S
from fiso_cli.errors import CommandError
from fiso_cli.rendering import remark
from fiso_cli.traffic.gateway import gateway_of

EVERY_S = 0.5
GIVE_UP_S = 60.0


def wait_until_in_force(
    version: int, answered: Callable[[], Json], *, ticks: Callable[[], float], sleep: Callable[[float], None]
) -> float:
    """Seconds until the version held. `answered` gives the version that the stage answers by; `CommandError` when it
    still is an older one, or none, after a minute."""
    begun, seen = ticks(), "nothing yet"
    while (waited_s := ticks() - begun) < GIVE_UP_S:
        try:
            found = answered()
        except CommandError as error:
            seen = str(error)
        else:
            if waited_s >= SNAPSHOT_STALE_S and isinstance(found, int) and found >= version:
                return waited_s
            seen = f"it answers by version {found}"
        sleep(EVERY_S)
    hint = "" if seen.startswith("it answers") else "; does it trust the key that signs? `fiso setup`, then deploy"
    raise CommandError(f"version {version} is published, but the stage was not seen to answer by it: {seen}{hint}")


def held_s_of(version: int, stage: str) -> float:
    """How long it took until every environment of a stage decides by the version."""
    gateway = gateway_of(stage)
    remark(f"version {version} is published; waiting until every environment has read it")
    return wait_until_in_force(
        version, lambda: gateway.get("healthz").get("snapshot_version"), ticks=time.monotonic, sleep=time.sleep
    )


def held_s_where_served(version: int, stage: str) -> float | None:
    """The same; None where no orchestrator answers, as before a stage's first deployment."""
    try:
        gateway_of(stage).get("healthz")
    except CommandError:
        return None
    return held_s_of(version, stage)
