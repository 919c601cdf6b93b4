"""Answers that are not what they should be: each is told as what it is, none hurts FISO (row 8 of the scorecard)."""

from collections.abc import Sequence

from fiso.domain.endpoint import EndpointId
from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none
from tests.lab.chaos.rig import measures, rows
from tests.lab.chaos.rig.modes import OK, Kind, Mode
from tests.lab.chaos.rig.rig import Rig, running
from tests.lab.chaos.rig.rows import Row

KINDS = (
    Kind.TRUNCATED,
    Kind.LENGTH_TOO_LONG,
    Kind.LENGTH_TOO_SHORT,
    Kind.HTML,
    Kind.MALFORMED_JSON,
    Kind.SLOW_DRIP,
    Kind.HUGE_BODY,
    Kind.BAD_UTF8,
    Kind.GZIP_BOMB,
    Kind.HUGE_HEADER,
    Kind.RESET,
)
PASSES = frozenset({Kind.HTML, Kind.MALFORMED_JSON, Kind.BAD_UTF8, Kind.GZIP_BOMB, Kind.LENGTH_TOO_SHORT})
"""What is complete as HTTP passes through as the function's own answer, where a cloud speaks plain HTTP."""
TYPED = frozenset({502, 503, 504})
MOST_GROWTH_MB = 64.0
RATE = 10.0
FIRST = "gcp"


def malformed(setting: Setting) -> Sequence[Figure]:
    """Every kind at one provider (the request is to be saved by another), then at all three (it is to be told).

    The one is the first tier and breaks a third of its answers, so that it goes on being called.
    """
    policy = {"timeout_ms": 3_000, "tiers": (frozenset({EndpointId(FIRST)}),)}
    with running(seed=setting.seed, policy=policy) as rig:
        rig.load(seconds=setting.sized(30, 4), phase="learning", rate=RATE)
        before_mb = [worker.resident_mb() for worker in rig.workers]
        saved = _each_kind(setting, rig, [FIRST], share=1 / 3)
        told = _each_kind(setting, rig, list(rig.providers), share=1)
        seen = sum(name.removeprefix("broken_") in KINDS for name in rig.counts(FIRST))
        grown_mb = max(worker.peak_mb() - mb for worker, mb in zip(rig.workers, before_mb, strict=True))
    found = [*saved, *told]
    rows.write(found, setting.folder / "history.jsonl")
    untyped = sum(not is_typed(row) for row in found)
    wrong = sum(row.is_success and Kind(row.phase.split()[-1]) not in PASSES for row in told)
    return [
        Figure(
            name="kinds written by the first provider",
            value=seen,
            op=Op.EQUALS,
            target=len(KINDS),
            unit="kinds",
            n=len(found),
        ),
        count_of_none("untyped answers, 500s and deaths", untyped, len(found), "requests"),
        count_of_none("broken answers passed off as whole", wrong, len(told), "requests"),
        measures.success(saved, target=0.99, name="saved by another provider"),
        Figure(
            name="growth of memory",
            value=grown_mb,
            op=Op.AT_MOST,
            target=MOST_GROWTH_MB,
            unit="MB",
            n=len(found),
        ),
    ]


def is_typed(row: Row) -> bool:
    """Whether the answer is the function's, or a problem that says what was tried."""
    return row.is_success or (row.status in TYPED and row.detail is not None)


def _each_kind(setting: Setting, rig: Rig, providers: Sequence[str], *, share: float) -> list[Row]:
    found: list[Row] = []
    for kind in KINDS:
        setting.say(f"{kind} at {', '.join(providers)}")
        for name in providers:
            rig.fault(name, Mode(kind=kind, share=share))
        phase = f"{'all' if len(providers) > 1 else 'one'} {kind}"
        found += rig.load(seconds=setting.sized(6, 1), phase=phase, rate=RATE)
        for name in providers:
            rig.fault(name, OK)
    return found


EXPERIMENTS: tuple[Experiment, ...] = (
    Experiment(row=8, name="malformed", question="Is a broken answer told as one, whatever is broken?", run=malformed),
)
