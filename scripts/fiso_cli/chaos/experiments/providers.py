"""Providers that refuse, hang, slow down, flap or throttle, under genuine edges (rows 1 to 7 and 11 of the scorecard).

Each learns first, then takes a baseline, breaks the provider that is called most, and mends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fiso_cli.chaos.experiment import Experiment, Setting
from fiso_cli.chaos.figures import Figure, Op, count_of_none

if TYPE_CHECKING:
    from fiso_cli.chaos.rig.rig import Rig
    from fiso_cli.chaos.rig.rows import Row

DEADLINE_MS = 28_000.0
SLACK_MS = 50.0
LEAST_TIMEOUT_MS = 1_000.0
"""What an attempt that can be failed over gets at least."""
BROWN_OUT = 20.0
CAPACITY = 10.0
"""Requests a second that the throttled provider takes."""
TYPED = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """How an experiment breaks what: both are given the rig and the provider that is called most."""

    fault: "Callable[[Rig, str], object]"
    mend: "Callable[[Rig, str], object]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load brought: its rows, the rows of the time before, and the provider that was called most."""

    rows: "list[Row]"
    hit: str
    counts: dict[str, dict[str, int]]
    """Per provider, what it counted during the load."""


def broken(setting: Setting, rig: "Rig", how: Broken, *, fault_s: int, ask: Any = None, file: str = "history") -> Load:
    """Learn, then baseline, fault and recovery without a pause; rows go to the history."""
    from fiso_cli.chaos.rig import measures, rows
    from fiso_cli.chaos.rig.load import Phase

    setting.say("learning")
    learned = rig.load(seconds=setting.sized(60, 7), phase="learning", ask=ask)
    hit = measures.preferred(learned)
    before = {name: rig.counts(name) for name in rig.providers}
    setting.say(f"{hit} is called most, and is what breaks")
    found = rig.run(
        [
            Phase(name=measures.BASELINE, seconds=setting.sized(60, 8)),
            Phase(name=measures.FAULT, seconds=fault_s, action=lambda: how.fault(rig, hit)),
            Phase(name=measures.RECOVERY, seconds=setting.sized(60, 6), action=lambda: how.mend(rig, hit)),
        ],
        ask=ask,
    )
    counts = {
        name: {key: value - before[name].get(key, 0) for key, value in rig.counts(name).items()}
        for name in rig.providers
    }
    rows.write(found, setting.folder / f"{file}.jsonl")
    setting.say(f"{len(found)} requests, {sum(not row.is_success for row in found)} without the function's answer")
    return Load(rows=found, hit=hit, counts=counts)


KILLED = Broken(fault=lambda rig, hit: rig.kill_provider(hit), mend=lambda rig, hit: rig.revive_provider(hit))
STOPPED = Broken(fault=lambda rig, hit: rig.stop_provider(hit), mend=lambda rig, hit: rig.revive_provider(hit))


def refused(setting: Setting) -> Sequence[Figure]:
    """Row 1."""
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.rig import running

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, KILLED, fault_s=setting.sized(600, 15))
    during = measures.faulted(load.rows)
    return [
        measures.success(during),
        measures.added(load.rows, 0.99, 30, name="added p99"),
        measures.failed_tries(during, load.hit),
        measures.success(measures.of_phase(load.rows, measures.RECOVERY), name="success in recovery"),
    ]


def black_holed(setting: Setting) -> Sequence[Figure]:
    """Row 2, for what may be repeated."""
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.rig import running

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, STOPPED, fault_s=setting.sized(600, 15))
    during = measures.faulted(load.rows)
    late = sum(row.latency_ms > DEADLINE_MS + SLACK_MS for row in during)
    return [
        measures.success(during),
        measures.added(load.rows, 0.99, 350, name="added p99"),
        measures.added(load.rows, 0.999, LEAST_TIMEOUT_MS + 100, name="added p99.9"),
        count_of_none("past the deadline", late, len(during), "requests"),
        measures.success(measures.of_phase(load.rows, measures.RECOVERY), name="success in recovery"),
    ]


def black_holed_once(setting: Setting) -> Sequence[Figure]:
    """Row 2, for what must not be repeated: keyed and unkeyed in turn."""
    from fiso.domain.policy import Idempotent
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.load import Ask
    from fiso_cli.chaos.rig.rig import FUNCTION, running

    def ask(number: int) -> Ask:
        return Ask(function=FUNCTION, headers={"idempotency-key": f"key-{number}"} if number % 2 else {})

    policy = {"idempotent": Idempotent.NO, "timeout_ms": 2_000}
    with running(seed=setting.seed, policy=policy) as rig:
        load = broken(setting, rig, STOPPED, fault_s=setting.sized(120, 15), ask=ask)
        executions = rig.executions()
    during = measures.faulted(load.rows)
    other = [row for row in during if not row.is_success and not (row.status == 504 and row.is_unknown)]
    repeated = sum(times > 1 for times in executions.values())
    return [
        count_of_none("neither answered nor 504 unknown_outcome", len(other), len(during), "requests"),
        count_of_none("executed twice", repeated, len(executions), "requests"),
        measures.failed_tries(during, load.hit),
    ]


def two_down(setting: Setting) -> Sequence[Figure]:
    """Row 3."""
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.rig import running

    def fault(rig: "Rig", hit: str) -> None:
        rig.kill_provider(hit)
        rig.stop_provider(_others(rig, hit)[0])

    def mend(rig: "Rig", hit: str) -> None:
        for name in (hit, _others(rig, hit)[0]):
            rig.revive_provider(name)

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, Broken(fault=fault, mend=mend), fault_s=setting.sized(600, 15))
    during = measures.faulted(load.rows)
    return [measures.success(during), measures.attempts_per_request(during, 1.15)]


def all_refused(setting: Setting) -> Sequence[Figure]:
    """Row 4, where nobody listens."""
    from fiso_cli.chaos.rig import measures

    load, lost = _all_down(setting, lambda rig, name: rig.kill_provider(name))
    during = measures.of_phase(load.rows, measures.FAULT)
    honest = [row for row in during if row.status == 503 and row.has_retry_after]
    return [
        count_of_none("other than 503 with Retry-After", len(during) - len(honest), len(during), "requests"),
        measures.latency("p99 of the refusal", [row.latency_ms for row in during], 0.99, 150),
        *_after_all_down(load, during, lost),
    ]


def all_black_holed(setting: Setting) -> Sequence[Figure]:
    """Row 4, where nobody answers: requests may have run, so 502 and 504 are honest as well."""
    from fiso_cli.chaos.rig import measures

    load, lost = _all_down(setting, lambda rig, name: rig.stop_provider(name))
    during = measures.of_phase(load.rows, measures.FAULT)
    honest = [row for row in during if row.status in TYPED]
    return [
        count_of_none("other than a typed 502, 503 or 504", len(during) - len(honest), len(during), "requests"),
        measures.latency("p99 of the refusal", [row.latency_ms for row in during], 0.99, 2_500),
        *_after_all_down(load, during, lost),
    ]


def brown_out(setting: Setting) -> Sequence[Figure]:
    """Row 5."""
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.modes import Mode
    from fiso_cli.chaos.rig.rig import running

    how = _mode(Mode(slow=BROWN_OUT))
    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, how, fault_s=setting.sized(120, 20))
    calls = sum(counts.get("requests", 0) for counts in load.counts.values())
    return [
        measures.success(measures.faulted(load.rows)),
        measures.added(load.rows, 0.99, 100, name="added p99"),
        measures.at_most("extra calls", calls / len(load.rows) - 1, 0.05, "share", len(load.rows)),
    ]


def flapping(setting: Setting) -> Sequence[Figure]:
    """Row 6, refusing for 5 s and well for 5 s in turn."""
    from fiso_cli.chaos.rig.modes import Kind, Mode

    return _unsteady(setting, Mode(kind=Kind.REFUSE, up_s=5, down_s=5))


def erring(setting: Setting) -> Sequence[Figure]:
    """Row 6, with 40 % errors of the provider's own."""
    from fiso_cli.chaos.rig.modes import Kind, Mode

    return _unsteady(setting, Mode(kind=Kind.ERROR, share=0.4))


def throttled(setting: Setting) -> Sequence[Figure]:
    """Row 7. The provider that throttles is a little faster than the others, so that it would be called most."""
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.modes import Mode
    from fiso_cli.chaos.rig.rig import running

    fault_s = setting.sized(600, 20)
    how = _mode(Mode(throttle_above=CAPACITY, retry_after_s=1))
    with running(seed=setting.seed, p50s_ms={"gcp": 95.0}) as rig:
        load = broken(setting, rig, how, fault_s=fault_s)
    during = measures.of_phase(load.rows, measures.FAULT)
    served = sum(row.provider == load.hit and row.is_success for row in during) / fault_s
    return [
        measures.success(measures.faulted(load.rows)),
        measures.added(load.rows, 0.99, 50, name="added p99"),
        Figure(
            name="use of its capacity",
            value=served / CAPACITY,
            op=Op.AT_LEAST,
            target=0.8,
            unit="share",
            n=len(during),
        ),
        measures.attempts_per_request(during, 1.5),
    ]


def deadline(setting: Setting) -> Sequence[Figure]:
    """Row 11: Lambda has 3 s left, of which FISO keeps 750 ms, and every provider hangs."""
    from fiso_cli.chaos.rig import rows
    from fiso_cli.chaos.rig.load import Ask
    from fiso_cli.chaos.rig.modes import Kind, Mode
    from fiso_cli.chaos.rig.rig import FUNCTION, running

    remaining_ms, reserve_ms = 3_000.0, 750.0
    with running(seed=setting.seed) as rig:
        rig.load(seconds=setting.sized(30, 5), phase="learning")
        for name in rig.providers:
            rig.fault(name, Mode(kind=Kind.BLACK_HOLE))
        setting.say("every provider hangs, 3 s are left")
        found = rig.load(
            seconds=setting.sized(120, 15),
            phase="fault",
            rate=25,
            ask=lambda _: Ask(function=FUNCTION, remaining_ms=remaining_ms),
        )
        late_starts = sum(rig.counts(name).get("late", 0) for name in rig.providers)
    rows.write(found, setting.folder / "history.jsonl")
    served = [row.served_ms or float("inf") for row in found]
    limit_ms = remaining_ms - reserve_ms + SLACK_MS
    return [
        count_of_none("answered after D + 50 ms", sum(ms > limit_ms for ms in served), len(found), "requests"),
        count_of_none("platform timeouts", sum(ms >= remaining_ms for ms in served), len(found), "requests"),
        count_of_none("attempts begun with less than 100 ms left", late_starts, len(found), "attempts"),
    ]


def _mode(mode: Any) -> Broken:
    from fiso_cli.chaos.rig.modes import OK

    return Broken(fault=lambda rig, hit: rig.fault(hit, mode), mend=lambda rig, hit: rig.fault(hit, OK))


def _others(rig: "Rig", hit: str) -> list[str]:
    return [name for name in rig.providers if name != hit]


def _unsteady(setting: Setting, mode: Any) -> Sequence[Figure]:
    from fiso_cli.chaos.rig import measures
    from fiso_cli.chaos.rig.rig import running

    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, _mode(mode), fault_s=setting.sized(600, 20))
    during = measures.faulted(load.rows)
    return [
        measures.success(during),
        measures.breaker_changes(measures.of_phase(load.rows, measures.FAULT), 12),
        measures.attempts_per_request(during, 1.5),
    ]


def _all_down(setting: Setting, take_down: "Callable[[Rig, str], object]") -> tuple[Load, int]:
    """The load, and how many answered requests the log does not know."""
    from fiso_cli.chaos.rig.rig import running

    def each(do: "Callable[[Rig, str], object]") -> "Callable[[Rig, str], object]":
        return lambda rig, _: [do(rig, name) for name in rig.providers]

    how = Broken(fault=each(take_down), mend=each(lambda rig, name: rig.revive_provider(name)))
    with running(seed=setting.seed) as rig:
        load = broken(setting, rig, how, fault_s=setting.sized(120, 8))
        logged = rig.link.call("log", "outlines")
    return load, sum(row.invocation_id is not None and row.invocation_id not in logged for row in load.rows)


def _after_all_down(load: Load, during: "list[Row]", lost: int) -> list[Figure]:
    from fiso_cli.chaos.rig import measures

    after = measures.of_phase(load.rows, measures.RECOVERY)
    since_s = min(row.intended_s for row in after)
    well_s = measures.seconds_until_well(after, since_s)
    return [
        measures.attempts_per_request(during, 2.0),
        count_of_none("answered but not in the log", lost, len(load.rows), "requests"),
        measures.at_most("90 % success again after", well_s, 5, "s", len(after)),
    ]


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=1, name="refused", question="Does one provider that refuses cost a request?", run=refused),
    Experiment(row=2, name="black-hole", question="Does one that never answers cost a request?", run=black_holed),
    Experiment(
        row=2,
        name="black-hole-once",
        question="Is a request that must not be repeated left alone when its outcome is unknown?",
        run=black_holed_once,
    ),
    Experiment(row=3, name="two-down", question="Does the last provider carry the load alone?", run=two_down),
    Experiment(row=4, name="all-refused", question="Is the loss of all told quickly?", run=all_refused),
    Experiment(row=4, name="all-black-hole", question="Is the silence of all told in time?", run=all_black_holed),
    Experiment(row=5, name="brown-out", question="Does a provider that is 20 times slower show?", run=brown_out),
    Experiment(row=6, name="flapping", question="Does one that comes and goes cost a request?", run=flapping),
    Experiment(row=6, name="erring", question="Does one that fails at 40 % cost a request?", run=erring),
    Experiment(row=7, name="throttled", question="Is one that throttles used up to its limit?", run=throttled),
    Experiment(row=11, name="deadline", question="Is FISO never killed by the platform's clock?", run=deadline),
)
