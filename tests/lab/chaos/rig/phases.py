"""Phases: a load that learns, takes a baseline, breaks something and mends it, without a pause between them."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.rig import measures, rows
from tests.lab.chaos.rig.load import Ask, Phase
from tests.lab.chaos.rig.modes import OK, Mode
from tests.lab.chaos.rig.rig import Rig
from tests.lab.chaos.rig.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """How an experiment breaks what: both are given the rig and the provider that is called most."""

    fault: Callable[[Rig, str], object]
    mend: Callable[[Rig, str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load brought: its rows, the rows of the time before, and the provider that was called most."""

    rows: list[Row]
    hit: str
    counts: dict[str, dict[str, int]]
    """Per provider, what it counted during the load."""


def broken(
    setting: Setting,
    rig: Rig,
    how: Broken,
    *,
    fault_s: int,
    learn_s: int | None = None,
    ask: Callable[[int], Ask] | None = None,
    hit: str | None = None,
) -> Load:
    """Learn, then baseline, fault and recovery without a pause; rows go to the history. What breaks is `hit`, else the
    provider that is called most."""
    setting.say("learning")
    learned = rig.load(seconds=learn_s or setting.sized(60, 12), phase="learning", ask=ask)
    chosen = hit or measures.preferred(learned)
    before = {name: rig.counts(name) for name in rig.providers}
    setting.say(f"{chosen} is what breaks")
    found = rig.run(
        [
            Phase(name=measures.BASELINE, seconds=setting.sized(60, 7)),
            Phase(name=measures.FAULT, seconds=fault_s, action=lambda: how.fault(rig, chosen)),
            Phase(name=measures.RECOVERY, seconds=setting.sized(60, 5), action=lambda: how.mend(rig, chosen)),
        ],
        ask=ask,
    )
    counts = {
        name: {key: value - before[name].get(key, 0) for key, value in rig.counts(name).items()}
        for name in rig.providers
    }
    rows.write(found, setting.folder / "history.jsonl")
    setting.say(f"{len(found)} requests, {sum(not row.is_success for row in found)} without the function's answer")
    return Load(rows=found, hit=chosen, counts=counts)


KILLED = Broken(fault=lambda rig, hit: rig.kill_provider(hit), mend=lambda rig, hit: rig.revive_provider(hit))
STOPPED = Broken(fault=lambda rig, hit: rig.stop_provider(hit), mend=lambda rig, hit: rig.revive_provider(hit))


def in_mode(mode: Mode) -> Broken:
    """The provider that is called most behaves like this, then as ever."""
    return Broken(fault=lambda rig, hit: rig.fault(hit, mode), mend=lambda rig, hit: rig.fault(hit, OK))
