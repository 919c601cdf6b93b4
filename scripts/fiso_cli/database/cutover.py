"""From one database to the other without a lost change of policy, and back by the same way.

    catch up and prove both the same (changes go on)
    fence the source            from here changes are refused, with the other's address
    carry what came meanwhile, prove it, open the target      one transaction of the target's

Killed before the last step, the source is fenced and the target a copy: the same command goes on, and
`cutover --undo` opens the source again. There is no moment at which both take changes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from fiso_cli.database import copying, fence
from fiso_cli.database.copying import Database
from fiso_cli.database.fence import Fence, Standing
from fiso_cli.errors import CommandError

Say = Callable[[str], None]
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What a cutover did: versions carried while changes were refused, and for how long they were, s."""

    carried: int
    refused_s: float
    version: int


def standing(database: Database) -> Fence:
    """How a database stands to the catalog."""
    with database.transaction() as rows:
        return fence.read(rows)


def cut_over(
    source: Database, target: Database, say: Say, *, ticks: Callable[[], float] = time.monotonic
) -> Cut | None:
    """Make the target the one in force; None where it is already. `CommandError`: nothing was switched then."""
    here, there = standing(source), standing(target)
    if (here.standing, there.standing) == (Standing.MOVED, Standing.IN_FORCE):
        return None
    _refuse_others(source, here, target, there)
    if here.standing is Standing.IN_FORCE:
        if there.standing is Standing.MOVED:  # the way back: what moved away is a copy that is behind
            with target.transaction() as rows:
                fence.close(rows, Standing.COPY, source.shown)
        say("catching up, while changes go on …")
        caught = copying.follow(source, target)
        say(f"{caught} versions newer, every table the same; now changes are refused until the other is in force")
    begun = ticks()
    _fenced(source, target)
    try:
        carried, version = _switched(source, target)
    except CommandError as error:
        raise CommandError(_still_fenced(source, target, error)) from error
    return Cut(carried=carried, refused_s=ticks() - begun, version=version)


def undo(source: Database, target: Database) -> None:
    """Let the source take changes again, after a cutover that did not come to its end. `CommandError` otherwise."""
    here, there = standing(source), standing(target)
    if here.standing is Standing.IN_FORCE:
        return
    if here.standing is not Standing.MOVED or there.standing is not Standing.COPY:
        raise CommandError(
            f"{target.shown} is {there.standing}: {source.shown} cannot take changes beside it. "
            "the way back is a cutover in the other direction: fiso db cutover --back"
        )
    with target.transaction() as held:
        if not fence.hold(held):
            raise CommandError(f"{target.shown} was put in force meanwhile")
        with source.transaction() as rows:
            fence.open_again(rows)


def _refuse_others(source: Database, here: Fence, target: Database, there: Fence) -> None:
    if here.standing is Standing.EMPTY:
        raise CommandError(f"{source.shown} has no catalog")
    if here.standing is Standing.COPY:
        raise CommandError(f"{source.shown} is itself a copy, of {here.peer}: cut over from there")
    if there.standing is Standing.EMPTY:
        raise CommandError(f"{target.shown} is empty: fiso db copy first")
    if there.standing is Standing.IN_FORCE:
        raise CommandError(f"{target.shown} takes changes of its own: it is no copy of {source.shown}")


def _fenced(source: Database, target: Database) -> None:
    """Whoever writes is waited for. A writer that takes the tables in another order may make it fail: once more."""
    for left in reversed(range(_TRIES)):
        try:
            with source.transaction() as rows:
                fence.close(rows, Standing.MOVED, target.shown)
            return
        except CommandError as error:
            if not left or "deadlock" not in str(error):
                raise


def _switched(source: Database, target: Database) -> tuple[int, int]:
    """Under the lock of the target's fence, so that nobody opens the source meanwhile."""
    with target.transaction() as there:
        if not fence.hold(there):
            return 0, copying.newest(there)
        with source.transaction(is_snapshot=True) as here:
            if fence.read(here).standing is not Standing.MOVED:
                raise CommandError(f"{source.shown} was opened again meanwhile")
            before = copying.newest(there)
            carried = copying.carry(here, there)
            ours, theirs = copying.sums(here, after=before), copying.sums(there, after=before)
        if found := copying.differences(ours, theirs):
            raise CommandError("\n".join(["what was carried is not the same:", *found]))
        fence.open_again(there)
        return carried, before + carried


def _still_fenced(source: Database, target: Database, error: CommandError) -> str:
    """Open the source again and say so; where that fails too, how to."""
    try:
        undo(source, target)
    except CommandError:
        return (
            f"{error}\n{source.shown} still refuses changes: the same command goes on, `fiso db cutover --undo` ends it"
        )
    return f"{error}\nnothing was switched; {source.shown} takes changes again"
