"""SSRF (row 22): can an address that someone registers make FISO call what only FISO reaches?

Each hostile address is registered as `fiso apply` would, called as if it had been registered all the same, and dialled
as if the address had not been looked at either. A canary server on this machine counts what arrives.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.experiments import ssrf_corpus as corpus
from tests.lab.chaos.figures import Figure, Op, count_of_none

ROUNDS = 20_000
CALLS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What got through, by how it was tried."""

    registered: tuple[str, ...]
    called: tuple[str, ...]
    dialled: tuple[str, ...]
    rebound: int
    followed: int
    passed: int
    hits: int
    blocked: tuple[str, ...]
    control: int


def run(setting: Setting) -> Sequence[Figure]:
    """All of it; what got through is in `tries.json`."""
    from tests.lab.chaos.experiments import ssrf_tries as tries

    rounds = setting.sized(ROUNDS, ROUNDS // 10)
    found = _tried(setting, rounds)
    _write(setting.folder / "tries.json", found)
    setting.say("what the checks cost")
    cost = tries.cost_of_checks(setting.sized(CALLS, CALLS // 4))
    addresses, names, redirects = len(corpus.HOSTILE_ADDRESSES), len(corpus.HOSTILE_NAMES), len(tries.REDIRECTS)
    called = addresses + names
    return (
        count_of_none("hostile addresses registered", len(found.registered), addresses, "addresses"),
        count_of_none("hostile addresses called", len(found.called), called, "addresses"),
        count_of_none("dialled without a look at the address", len(found.dialled), called, "addresses"),
        count_of_none("connections that a rebinding name turned", found.rebound, rounds, "connections"),
        count_of_none("redirects followed", found.followed, redirects, "redirects"),
        _exactly("redirects passed on as the answer", found.passed, redirects, "answers"),
        count_of_none("hits at the canary", found.hits, addresses + 2 * called + redirects, "hits"),
        count_of_none("good addresses blocked", len(found.blocked), len(corpus.GOOD_ADDRESSES), "addresses"),
        _exactly("control: canary hit where loopback is allowed", found.control, 1, "hits"),
        Figure(name="check of an address", value=cost.check_ms, op=Op.AT_MOST, target=0.05, unit="ms", n=cost.n),
        Figure(
            name="added to a new connection", value=cost.dial_ms, op=Op.AT_MOST, target=2.0, unit="ms", n=cost.n_new
        ),
    )


def _tried(setting: Setting, rounds: int) -> _Found:
    from tests.lab.chaos.experiments import ssrf_tries as tries
    from tests.lab.chaos.experiments.ssrf_world import canary

    with canary() as counted, tries.proxies_to(counted.port):
        hostile = tries.hostile_addresses(counted.port)
        every = [*hostile, *(f"https://{name}/" for name in corpus.HOSTILE_NAMES)]
        setting.say(f"{len(hostile)} hostile addresses registered, {len(every)} called and dialled")
        registered = tuple(address for address in hostile if tries.is_registered(address))
        called = tuple(address for address in every if tries.is_called(address))
        dialled = tuple(address for address in every if tries.is_dialled(address))
        setting.say(f"{rounds} lookups of names that change their numbers")
        rebound = tries.rebinding(rounds, random.Random(setting.seed))  # nosec B311 # a repeatable sample
        passed = tries.redirects_passed(f"http://127.0.0.1:{counted.port}/")
        hits = counted.hits_so_far()
        blocked = tuple(address for provider, address in corpus.GOOD_ADDRESSES if tries.is_blocked(provider, address))
        tries.call_with_loopback(counted.port)
        return _Found(
            registered=registered,
            called=called,
            dialled=dialled,
            rebound=rebound,
            followed=len(tries.REDIRECTS) - passed,
            passed=passed,
            hits=hits,
            blocked=blocked,
            control=counted.hits_so_far() - hits,
        )


def _write(path: Path, found: _Found) -> None:
    kept = {name: getattr(found, name) for name in _Found.__dataclass_fields__}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def _exactly(name: str, value: int, wanted: int, unit: str) -> Figure:
    return Figure(name=name, value=value, op=Op.EQUALS, target=wanted, unit=unit, n=wanted)


EXPERIMENTS = (
    Experiment(
        row=22,
        name="ssrf",
        question="Can an address that someone registers make FISO call what only FISO can reach?",
        run=run,
    ),
)
