"""Whose fault trouble is, over generated histories: one copy bad in several ways, all bad, callers' bursts, a region's
trouble, throttling, too few calls; and how often a healthy history is accused."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import comb
from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.record import AttemptSummary, InvocationRecord
from fiso.domain.request import TenantId
from fiso.domain.state import EndpointState
from fiso.services.diagnosis.chance import of_bad, of_split, worst_stretch
from fiso.services.diagnosis.diagnose import diagnose
from fiso.services.diagnosis.findings import Finding, Sureness
from fiso_cli.catalog.declaration import Setting, parse
from fiso_client.core.conduct import Conduct
from fiso_client.core.failures import Failure, Fault
from tests.builders import NOW, a_record, an_attempt, an_entry, invocation_id

COPIES = ("aws", "azure", "gcp")
GOOD: dict[str, Any] = {"status": 200, "shape": "json"}
OWN_500: dict[str, Any] = {"status": 500, "shape": "json", "verdict": Fault.FUNCTION, "evidence": "status 500"}
CALLERS = {"status": 400, "shape": "json", "verdict": Fault.CALLER, "evidence": "status 400"}
THROTTLED = {
    "status": None,
    "failure": Failure.THROTTLED,
    "verdict": Fault.THROTTLE,
    "evidence": "TooManyRequestsException",
}
WAYS: dict[str, dict[str, Any]] = {
    "its own 500": OWN_500,
    "a 404 page": {"status": 404, "shape": "text/html", "verdict": Fault.CALLER, "evidence": "status 404 text/html"},
    "a redirect": {"status": 302, "shape": "empty"},
    "an empty body": {"status": 200, "shape": "empty"},
    "its own 400": CALLERS,
    "broken": {"status": None, "failure": Failure.BROKEN, "verdict": Fault.COPY, "evidence": "ConnectionReset"},
    "slow": {"status": 200, "shape": "json", "latency_ms": 2_000.0},
}

Call = Callable[[int, str], dict[str, Any]]


@dataclass
class History:
    """One function's calls, one a second, to copies in turn or as `share` draws them."""

    function: str = "word-count"
    share: Sequence[float] = (1, 1, 1)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    records: list[InvocationRecord] = field(default_factory=list)

    def run(self, count: int, call: Call, *, tenant: str = "local") -> "History":
        for _ in range(count):
            number = len(self.records)
            (copy,) = self.rng.choices(COPIES, self.share)
            fields = {"latency_ms": 100.0 * self.rng.lognormvariate(0, 0.2)} | call(number, copy)
            self.add(copy, tenant=tenant, **fields)
        return self

    def add(self, copy: str, *, tenant: str = "local", **fields: Any) -> None:
        number = len(self.records)
        at = NOW + timedelta(seconds=number)
        attempt: AttemptSummary = an_attempt(copy, started_at=at, **fields)
        record = a_record(number, timestamp=at, function_name=self.function, tenant=TenantId(tenant))
        id = invocation_id(number if self.function == "word-count" else 100_000 + number)
        self.records.append(replace(record, invocation_id=id, attempts=(attempt,)))


def found_in(*histories: History, states: dict[str, Conduct] | None = None) -> list[Finding]:
    entries = [an_entry(name=history.function) for history in histories]
    folded = {
        FunctionName(histories[0].function): {
            EndpointId(copy): EndpointState(
                function=FunctionName(histories[0].function), endpoint=EndpointId(copy), conduct=conduct
            )
            for copy, conduct in (states or {}).items()
        }
    }
    records = [record for history in histories for record in history.records]
    return [f for diagnosis in diagnose(entries, records, folded) for f in diagnosis.findings]


def well(_: int, __: str) -> dict[str, Any]:
    return GOOD


def bad_copy(way: dict[str, Any], share: float = 1.0) -> Call:
    rng = random.Random(3)
    return lambda _, copy: way if copy == "azure" and rng.random() < share else GOOD


def errors(rng: random.Random, rate: float, *kinds: dict[str, Any]) -> Call:
    """On every copy alike."""
    return lambda *_: rng.choice(kinds) if rng.random() < rate else GOOD


@pytest.mark.parametrize("way", WAYS)
def test_one_copy_that_turns_bad_is_at_fault_whatever_its_calls_were_blamed_on(way: str) -> None:
    history = History().run(60, well).run(60, bad_copy(WAYS[way]))
    (found,) = found_in(history)
    assert found.copy is not None
    assert (found.copy.id, found.verdict, found.sure) == ("azure", Fault.COPY, Sureness.CERTAIN)
    assert found.is_wrong
    first = next(r for r in history.records[60:] if r.attempts[0].endpoint == "azure")
    assert found.since == first.timestamp + timedelta(milliseconds=first.attempts[0].latency_ms)
    assert not found.is_since_before


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_a_copy_that_fails_a_part_of_its_calls_is_at_fault(share: float) -> None:
    (found,) = found_in(History().run(100, well).run(300, bad_copy(OWN_500, share)))
    assert found.copy is not None
    assert (found.copy.id, found.verdict) == ("azure", Fault.COPY)
    assert found.sure is not Sureness.UNSURE


def test_a_copy_that_is_well_again_has_an_end_and_is_nothing_wrong() -> None:
    (found,) = found_in(History().run(60, well).run(60, bad_copy(OWN_500)).run(60, well))
    assert found.until is not None
    assert not found.is_wrong


def test_trouble_as_old_as_the_records_may_be_older() -> None:
    (found,) = found_in(History().run(60, bad_copy(OWN_500)))
    assert found.is_since_before


def test_what_all_do_alike_is_the_functions() -> None:
    (found,) = found_in(History().run(60, well).run(40, lambda *_: OWN_500))
    assert found.copy is None
    assert (found.verdict, found.sure) == (Fault.FUNCTION, Sureness.CERTAIN)


def test_one_tenants_bursts_are_that_tenants() -> None:
    history = History()
    for _ in range(6):
        history.run(30, well, tenant="ada").run(12, lambda *_: CALLERS, tenant="bob").run(5, well, tenant="ada")
    (found,) = found_in(history)
    assert (found.copy, found.verdict, found.tenant) == (None, Fault.CALLER, "bob")
    assert not found.is_wrong
    assert "tenant bob" in found.what_to_do


def test_throttling_says_itself_whose_fault_it_is_and_which_limit_to_raise() -> None:
    (found,) = found_in(History().run(60, well).run(60, bad_copy(THROTTLED)))
    assert (found.verdict, found.sure, found.chance) == (Fault.THROTTLE, Sureness.CERTAIN, None)
    assert "scale-out" in found.what_to_do


def turning_bad(function: str, way: dict[str, Any]) -> History:
    return History(function).run(60, well).run(60, bad_copy(way))


def test_two_functions_lost_in_one_region_are_the_providers_fault_and_one_alone_is_not() -> None:
    one, other = (turning_bad(name, WAYS["broken"]) for name in ("word-count", "thumbnails"))
    quiet = History("thumbnails").run(120, well)
    assert {(found.verdict, found.sure) for found in found_in(one, other)} == {(Fault.PROVIDER, Sureness.LIKELY)}
    assert [finding.verdict for finding in found_in(one, quiet)] == [Fault.COPY]


@pytest.mark.parametrize("way", ["its own 500", "an empty body", "a 404 page"])
def test_what_functions_answer_themselves_is_their_providers_fault_only_where_three_do(way: str) -> None:
    one, two, three = (turning_bad(name, WAYS[way]) for name in ("word-count", "thumbnails", "resize"))
    assert {finding.verdict for finding in found_in(one, two)} == {Fault.COPY}
    assert all("fails in azure eastus as well" in finding.why for finding in found_in(one, two))
    assert {(f.verdict, f.sure) for f in found_in(one, two, three)} == {(Fault.PROVIDER, Sureness.LIKELY)}


def test_a_provider_that_was_only_inferred_has_not_said_so_itself() -> None:
    """The record says `provider` since another function's copy there failed at that moment."""
    for way in (WAYS["broken"], WAYS["its own 500"]):
        (found,) = found_in(turning_bad("word-count", {**way, "verdict": Fault.PROVIDER}))
        assert (found.verdict, "says so itself" in found.why) == (Fault.COPY, False)
    own = {"status": 503, "failure": Failure.PROVIDER_FAULT, "verdict": Fault.PROVIDER, "evidence": "front door"}
    (found,) = found_in(turning_bad("word-count", own))
    assert (found.verdict, "says so itself" in found.why) == (Fault.PROVIDER, True)


def test_the_region_to_deny_is_named_as_a_catalog_file_has_it() -> None:
    found = found_in(*(turning_bad(name, WAYS["broken"]) for name in ("word-count", "thumbnails")))
    said = found[0].what_to_do.split("`")[1]
    assert said == "deny: {regions: [eastus]}"
    text = (
        "version: 1\nfunctions:\n  f:\n    type: text\n    policy:\n      "
        f"{said}\n    endpoints: [{{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}}]\n"
    )
    (entry,) = parse(text, Setting(variables={}, is_local=False)).entries
    assert entry.policy.denied_regions == {"eastus"}


def test_too_few_calls_are_said_to_be_too_few() -> None:
    history = History()
    for copy in ("aws", "gcp", "azure"):
        history.add(copy, **(OWN_500 if copy == "azure" else GOOD))
    (found,) = found_in(history)
    assert found.sure is Sureness.UNSURE
    assert not found.is_wrong


def test_a_single_bad_call_among_many_is_nothing_to_tell() -> None:
    assert found_in(History().run(200, well).run(1, lambda *_: OWN_500).run(200, well)) == []


def test_two_copies_that_always_answered_differently_accuse_each_other_of_nothing() -> None:
    history = History(share=(1, 1, 0)).run(
        100, lambda _, copy: {**GOOD, "shape": "json" if copy == "aws" else "text/html"}
    )
    assert found_in(history) == []


def test_a_demoted_copy_is_told_of_although_no_record_shows_it() -> None:
    demoted = Conduct(strikes=4, is_convicted=True, evidence=18.0, last_odd_at=NOW, oddity="status 404 text/html")
    (found,) = found_in(History(share=(1, 0, 1)).run(50, well), states={"azure": demoted})
    assert (found.verdict, found.sure, found.is_since_before) == (Fault.COPY, Sureness.CERTAIN, True)
    assert "its path" in found.what_to_do


def test_healthy_histories_accuse_a_copy_at_most_once_in_two_hundred() -> None:
    """With errors of callers and of the function, 0 to 20 %, and bursts of callers' errors, unequal shares."""
    accused = 0
    for seed in range(200):
        rng = random.Random(seed)
        rate, history = rng.uniform(0, 0.2), History(share=(8, 1, 2), rng=rng)
        for _ in range(4):
            history.run(60, errors(rng, rate, OWN_500, CALLERS))
            history.run(rng.randrange(5, 40), lambda *_: WAYS["a 404 page"], tenant="bob")
        accused += any(finding.copy is not None for finding in found_in(history))
    assert accused <= 1


def test_quiet_healthy_histories_are_well() -> None:
    wrong = 0
    for seed in range(200):
        rng = random.Random(seed)
        history = History(rng=rng).run(300, errors(rng, 0.01, OWN_500))
        wrong += any(finding.is_wrong for finding in found_in(history))
    assert wrong <= 1


@pytest.mark.parametrize(("bad", "calls", "others_bad", "others"), [(3, 3, 0, 57), (5, 20, 1, 30), (0, 4, 0, 4)])
def test_the_split_is_fishers_exact_test(bad: int, calls: int, others_bad: int, others: int) -> None:
    everything, all_bad = calls + others, bad + others_bad
    counted = sum(comb(calls, k) * comb(others, all_bad - k) for k in range(bad, min(calls, all_bad) + 1))
    assert of_split(bad, calls, others_bad, others) == pytest.approx(counted / comb(everything, all_bad))


def test_the_number_of_bad_calls_is_binomial() -> None:
    assert of_bad(2, 2, 0.02) == pytest.approx(0.0004)
    assert of_bad(1, 3, 0.5) == pytest.approx(7 / 8)
    assert of_bad(0, 9, 0.1) == 1.0


def test_the_worst_stretch_is_where_the_bad_calls_are() -> None:
    row = [False] * 20 + [True] * 4 + [False] * 3
    found = worst_stretch(row, 0.02)
    assert found is not None
    assert (found.first, found.last, found.bad, found.good_after) == (20, 23, 4, 3)
    assert worst_stretch([False] * 9, 0.02) is None
