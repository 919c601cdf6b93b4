"""Soaking: one drawn trouble after another, and what a process holds meanwhile: memory, open files, threads."""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median

from scipy.stats import theilslopes

from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.modes import Kind, Mode

WELL_S, TROUBLE_S = (5.0, 15.0), (8.0, 30.0)
SHARE_OF_TWO = 0.3
"""How often two providers are in trouble at once. The third is always well."""
LOOK_EVERY_S = 5.0
WARM_SHARE = 0.5
"""Growth counts after this share of the time: what is bounded (caches, pools of threads) fills before."""
TROUBLES: Mapping[str, Mode] = {
    "refuses": Mode(kind=Kind.REFUSE),
    "is silent": Mode(kind=Kind.BLACK_HOLE),
    "errs": Mode(kind=Kind.ERROR),
    "errs at 40 %": Mode(kind=Kind.ERROR, share=0.4),
    "is 20 times slower": Mode(slow=20.0),
    "jitters": Mode(jitter_ms=400.0),
    "throttles": Mode(throttle_above=10.0, retry_after_s=2),
    "comes and goes": Mode(kind=Kind.REFUSE, up_s=5.0, down_s=5.0),
    "resets": Mode(kind=Kind.RESET, share=0.5),
    "loses answers": Mode(kind=Kind.RESET_AFTER_RUN, share=0.3),
    "cuts answers": Mode(kind=Kind.TRUNCATED, share=0.5),
    "promises too much": Mode(kind=Kind.LENGTH_TOO_LONG, share=0.3),
    "sends too much": Mode(kind=Kind.HUGE_BODY, share=0.05),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A stretch of the soak: what each provider named here does; the others are well."""

    name: str
    seconds: float
    modes: Mapping[str, Mode]


def steps(rng: Random, providers: Sequence[str], seconds: float) -> Iterator[Step]:
    """Well and trouble in turn, for so many seconds in all."""
    left_s, is_well = seconds, True
    while left_s > 0:
        lasting_s = min(left_s, rng.uniform(*(WELL_S if is_well else TROUBLE_S)))
        modes: dict[str, Mode] = {}
        named = []
        for provider in [] if is_well else rng.sample(list(providers), 2 if rng.random() < SHARE_OF_TWO else 1):
            trouble = rng.choice(list(TROUBLES))
            modes[provider] = TROUBLES[trouble]
            named.append(f"{provider} {trouble}")
        yield Step(name=" and ".join(named) or "well", seconds=lasting_s, modes=modes)
        left_s, is_well = left_s - lasting_s, not is_well


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process held at a moment, in seconds since the watch began."""

    at_s: float
    process: int
    resident_mb: float
    open_files: int
    threads: int


@contextmanager
def watched(processes: Sequence[Child], file: Path) -> Iterator[list[Held]]:
    """Looks at processes while the context lasts; one JSON line a look and process."""
    seen: list[Held] = []
    ended, begun = threading.Event(), time.monotonic()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            at_s = time.monotonic() - begun
            seen.extend(held(process, number, at_s) for number, process in enumerate(processes))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in seen), encoding="utf-8")


def held(process: Child, number: int, at_s: float) -> Held:
    """What a process holds now."""
    folder = Path(f"/proc/{process.pid}")
    return Held(
        at_s=at_s,
        process=number,
        resident_mb=process.resident_mb(),
        open_files=sum(1 for _ in (folder / "fd").iterdir()),
        threads=sum(1 for _ in (folder / "task").iterdir()),
    )


def growth_per_hour(seen: Sequence[Held], what: str) -> float:
    """The steepest process's growth, as a share of what it holds in the middle: the median of the slopes between all
    pairs of looks (Theil and Sen), after WARM_SHARE of the time."""
    from_s = WARM_SHARE * max(one.at_s for one in seen)
    found = []
    for process in {one.process for one in seen}:
        looks = [one for one in seen if one.process == process and one.at_s >= from_s]
        values = [float(getattr(one, what)) for one in looks]
        slope = theilslopes(values, [one.at_s / 3600 for one in looks]).slope
        found.append(float(slope) / median(values))
    return max(found)
