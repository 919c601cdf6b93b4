"""Row 20: hostile requests and events, by hand, by Hypothesis and by schemathesis, against one watched process."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from tests.lab.chaos.experiment import Experiment, Setting
from tests.lab.chaos.figures import Figure, Op, count_of_none, quantile, quantile_at_most

if TYPE_CHECKING:
    from tests.lab.chaos.bad_input.contract import Findings
    from tests.lab.chaos.bad_input.watch import Sent, Worker

WARM_UP = 100
"""Sound requests before memory is counted from."""
P99_MS = 50
HUGE_MS = 250
GROWTH_MB = 64
GENERATED = (10_000, 1_500)
FUZZED = (1_000, 100)
EXAMPLES = (80, 25)
"""Full and quick: events from Hypothesis, cases that schemathesis must reach, examples it draws per operation."""


class Tally:
    """What came of each event, and the raw history of it."""

    def __init__(self, worker: "Worker", base_kb: int, history: TextIO) -> None:
        self._worker, self._base_kb, self._history = worker, base_kb, history
        self.broken: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.took_ms: list[float] = []
        self.huge_ms: list[float] = []
        self.growth_kb = 0

    def send(self, event: object, source: str, *, name: str = "", is_huge: bool = False) -> "Sent":
        """One event to the worker."""
        from tests.lab.chaos.bad_input.watch import broken_promises

        sent = self._worker.send(event)
        broken = broken_promises(event, sent)
        self.sent[source] += 1
        self.broken.update(broken)
        (self.huge_ms if is_huge else self.took_ms).append(sent.took_ms)
        self.growth_kb = max(self.growth_kb, sent.peak_kb - self._base_kb)
        line = {"source": source, "name": name, "status": sent.status, "took_ms": round(sent.took_ms, 3)}
        line |= {"invoked": sent.invoked, "recorded": sent.recorded, "peak_kb": sent.peak_kb, "broken": broken}
        line |= {"event": json.dumps(event)[:4000], "body": sent.response["body"][:1000]} if broken else {}
        self._history.write(json.dumps(line) + "\n")
        return sent


def run(setting: Setting) -> Sequence[Figure]:
    """All three sources, one after the other, to one process."""
    from tests.lab.chaos.bad_input.corpus import http_event
    from tests.lab.chaos.bad_input.watch import WorkerDied, working

    history = setting.folder / "history.jsonl"
    with working(setting.folder / "worker.log", seed=setting.seed) as worker, history.open("w") as lines:
        for _ in range(WARM_UP):
            worker.send(http_event())
        tally = Tally(worker, worker.mark(), lines)
        try:
            return _send_all(setting, tally)
        except WorkerDied as death:
            setting.say(f"the process died {death}")
            sent = tally.sent.total() + 1
            return [count_of_none("processes killed by an input", 1, sent, "processes")]


def _send_all(setting: Setting, tally: Tally) -> list[Figure]:
    wrong = _send_corpus(tally)
    setting.say(f"corpus: {tally.sent['corpus']} events, {wrong} with another status than they deserve")
    _send_generated(setting, tally)
    setting.say(f"hypothesis: {tally.sent['hypothesis']} events, {tally.broken.total()} broken promises so far")
    findings = _send_fuzzed(setting, tally)
    setting.say(f"schemathesis: {tally.sent['schemathesis']} cases, {len(findings.undescribed)} undescribed answers")
    (setting.folder / "schemathesis.json").write_text(json.dumps(findings.undescribed + findings.errors, indent=1))
    return [*_sizes(setting, tally), *_promises(tally, wrong, findings), *_costs(tally)]


def _send_corpus(tally: Tally) -> int:
    from tests.lab.chaos.bad_input.corpus import specimens

    wrong = 0
    for specimen in specimens():
        sent = tally.send(specimen.event, "corpus", name=specimen.name, is_huge=specimen.is_huge)
        wrong += sent.status != specimen.status
    return wrong


def _send_generated(setting: Setting, tally: Tally) -> None:
    from tests.lab.chaos.bad_input.generated import each_generated

    def send(event: object) -> None:
        tally.send(event, "hypothesis")

    each_generated(send, count=setting.sized(*GENERATED), first=setting.seed)


def _send_fuzzed(setting: Setting, tally: Tally) -> "Findings":
    from tests.lab.chaos.bad_input.contract import fuzz

    def send(event: dict[str, Any]) -> Mapping[str, Any]:
        return tally.send(event, "schemathesis").response

    return fuzz(send, examples=setting.sized(*EXAMPLES), seed=setting.seed, is_whole=not setting.is_quick)


def _sizes(setting: Setting, tally: Tally) -> list[Figure]:
    wanted = {"schemathesis": setting.sized(*FUZZED), "hypothesis": setting.sized(*GENERATED)}
    return [
        Figure(name=f"cases by {source}", value=sent, op=Op.AT_LEAST, target=wanted[source], unit="cases", n=sent)
        for source in wanted
        for sent in [tally.sent[source]]
    ]


def _promises(tally: Tally, wrong: int, findings: "Findings") -> list[Figure]:
    n, fuzzed = tally.sent.total(), tally.sent["schemathesis"]
    undescribed = len(findings.undescribed) + len(findings.errors)
    return [
        count_of_none("processes killed by an input", 0, n, "processes"),
        count_of_none("answers of 500 and more", tally.broken["5xx"], n, "answers"),
        count_of_none("refused requests that were invoked or recorded", tally.broken["invoked"], n, "requests"),
        count_of_none("answers of a wrong form", tally.broken["malformed"], n, "answers"),
        count_of_none("known specimens with a wrong status", wrong, tally.sent["corpus"], "specimens"),
        count_of_none("answers that openapi.yaml does not describe", undescribed, fuzzed, "answers"),
    ]


def _costs(tally: Tally) -> list[Figure]:
    took, huge = tally.took_ms, tally.huge_ms
    return [
        Figure(
            name="p99 of all but 10 MB",
            value=quantile(took, 0.99),
            op=Op.AT_MOST,
            target=P99_MS,
            unit="ms",
            n=len(took),
            bound=quantile_at_most(took, 0.99),
        ),
        Figure(name="slowest of 10 MB", value=max(huge), op=Op.AT_MOST, target=HUGE_MS, unit="ms", n=len(huge)),
        Figure(
            name="growth of resident memory",
            value=round(tally.growth_kb / 1024, 1),
            op=Op.AT_MOST,
            target=GROWTH_MB,
            unit="MiB",
            n=tally.sent.total(),
        ),
    ]


EXPERIMENTS = (
    Experiment(
        row=20,
        name="bad-input",
        question="Does hostile input ever make FISO fail, invoke anything, or need much time or memory?",
        run=run,
    ),
)
