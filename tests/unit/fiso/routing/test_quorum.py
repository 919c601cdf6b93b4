"""What several tenants' reports do to another's decisions: nothing beyond what honest tenants' reports do."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.domain.endpoint import EndpointId
from fiso.domain.record import InvocationRecord
from fiso.routing.fold import fold
from fiso.routing.quorum import FEWEST_INVITING, MOST_LIARS, MOST_SAID, QUORUM
from fiso.routing.reported import seen_by, tenant_hash
from fiso_client.core.failures import Failure
from tests.builders import NOW, changed
from tests.unit.fiso.routing.test_reported import AWS, States, a_call, after, mean_for, proxied, reports

GCP = EndpointId("gcp")


def at_gcp(record: InvocationRecord) -> InvocationRecord:
    return changed(record, endpoint=GCP, attempts=(replace(record.attempts[0], endpoint=GCP),))


OTHERS = [at_gcp(a_call("somebody", leased=False))]
"""So that no tenant is alone."""


def said(first: int, tenants: int, latency_ms: float, *, who: str = "tenant") -> list[InvocationRecord]:
    """One report of each of so many tenants, a second apart."""
    return [a_call(f"{who} {n}", first + n, latency_ms=latency_ms * (1 + n / 100)) for n in range(tenants)]


def test_what_a_quorum_says_is_what_a_tenant_without_a_word_of_its_own_goes_by() -> None:
    assert mean_for(after([*OTHERS, *said(0, QUORUM - 1, 100.0)]), "newcomer") is None
    assert mean_for(after([*OTHERS, *said(0, QUORUM, 100.0)]), "newcomer") == pytest.approx(104.0)


@pytest.mark.parametrize("lie_ms", [1e-9, 50.0, 9e5])
def test_the_most_liars_carry_a_quorum_no_farther_than_the_honest(lie_ms: float) -> None:
    states = after([*OTHERS, *said(0, QUORUM - MOST_LIARS, 100.0), *said(9, MOST_LIARS, lie_ms, who="liar")])
    found = mean_for(states, "newcomer")
    assert found is not None
    assert 100.0 <= found <= 105.0


def test_a_tenant_has_one_answer_in_a_quorum_however_often_it_reports() -> None:
    states = after([*OTHERS, *said(0, QUORUM - 1, 100.0), *reports("liar", 9e5, 200)])
    assert mean_for(states, "newcomer") == pytest.approx(104.0)
    assert len(states[AWS].said) == QUORUM
    assert len(after([*OTHERS, *said(0, 50, 100.0)])[AWS].said) == MOST_SAID


def test_a_tenants_own_mean_is_outdated_by_newer_answers_of_several_and_not_by_three() -> None:
    before = after([*OTHERS, *reports("a", 100.0, 40), *said(0, QUORUM, 100.0)])
    after_three = after(said(60, MOST_LIARS, 400.0), before)
    assert mean_for(after_three, "a") == pytest.approx(100.0)
    after_all = after(said(60, QUORUM, 400.0), before)
    found = mean_for(after_all, "a")
    assert found is not None
    assert 300 < found < 440
    own_word = after([a_call("a", 90, latency_ms=100.0)], after_all)
    assert mean_for(own_word, "a") == pytest.approx(100.0)


def test_a_tenant_that_is_nearer_than_the_others_stays_so_for_itself() -> None:
    rounds = [[*said(20 * n, QUORUM, 110.0), a_call("near", 20 * n + 10, latency_ms=20.0)] for n in range(30)]
    states = after([*OTHERS, *(record for each in rounds for record in each), *said(600, QUORUM, 110.0)])
    assert mean_for(states, "near") == pytest.approx(20.0, rel=0.2)
    slower = mean_for(after(said(700, QUORUM, 330.0), states), "near")
    assert slower is not None
    assert 40 < slower < 80


def test_what_fiso_sees_itself_outranks_a_quorum() -> None:
    states = after(said(30, 9, 5_000.0), after(proxied(times=40)))
    assert mean_for(states, "newcomer") == pytest.approx(100.0)


def test_a_tenant_whose_reports_fiso_refutes_elsewhere_has_no_word() -> None:
    seen = after(at_gcp(a_call("caller", n, leased=False)) for n in range(40))
    lied = after((at_gcp(a_call("liar", n, latency_ms=9_000.0)) for n in range(40)), seen)
    quorum = [*said(41, QUORUM - 1, 100.0), a_call("liar", 50, latency_ms=100.0)]
    assert mean_for(after(quorum, lied), "newcomer") is None
    honest = after((at_gcp(a_call("liar", n, latency_ms=110.0)) for n in range(40)), seen)
    assert mean_for(after(quorum, honest), "newcomer") is not None


def invited(states: States, tenant: str = "a") -> float | None:
    level = seen_by(states, tenant_hash(tenant))[GCP].levels.get(0)
    return level.latency_ms if level else None


def knowing_aws() -> States:
    return after([a_call("other"), *reports("a", 100.0, 5)])


@pytest.mark.parametrize(
    ("praise", "expected"),
    [
        ([80.0], None),
        ([80.0] * FEWEST_INVITING, 80.0),
        ([1e-9] * 3, 50.0),
        ([80.0, 150.0], None),
        ([1.0, 1.0, *[150.0] * (MOST_LIARS + 1)], 50.0),
        ([1.0, 1.0, *[150.0] * (MOST_LIARS + 2)], None),
        ([1.0, 1.0, *[150.0] * (QUORUM - 2)], 150.0),
        ([70.0, 72.0, *[9e5] * MOST_LIARS], 72.0),
        ([1.0, 1.0, 1.0, 60.0, 150.0], 50.0),
        ([200.0] * 6, None),
    ],
    ids=str,
)
def test_praise_of_two_invites_to_a_copy_that_a_tenant_never_called_until_it_is_refuted(
    praise: list[float], expected: float | None
) -> None:
    calls = (at_gcp(a_call(f"t{n}", 20 + n, latency_ms=ms)) for n, ms in enumerate(praise))
    assert invited(after(calls, knowing_aws())) == expected


def test_nobody_is_invited_twice_nor_where_fiso_is_called_nor_while_it_knows_nothing() -> None:
    praise = [at_gcp(a_call(f"t{n}", 20 + n, latency_ms=60.0)) for n in range(4)]
    states = after(praise, knowing_aws())
    assert invited(states) == pytest.approx(60.0)
    for own in (a_call("a", 30, latency_ms=150.0), a_call("a", 30, failure=Failure.UNREACHABLE)):
        assert invited(fold(states, at_gcp(own))) in (150.0, None)
    assert invited(fold(states, a_call("b", 30, leased=False))) is None
    assert invited(states, "newcomer") is None


lies = st.lists(
    st.tuples(
        st.integers(0, MOST_LIARS - 1),
        st.sampled_from([1e-9, 1.0, 70.0, 130.0, 1_000.0, 9e5]),
        st.sampled_from([None, None, None, Failure.UNREACHABLE, Failure.BROKEN]),
        st.integers(-120, 60),
    ),
    max_size=6,
)
LOW_MS, HIGH_MS = 80.0, 125.0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(LOW_MS, HIGH_MS), lies), min_size=1, max_size=60), st.integers(1, 12))
def test_three_liars_move_no_honest_tenants_mean_beyond_what_honest_ones_see(
    calls: list[tuple[float, list[tuple[int, float, Failure | None, int]]]], honest: int
) -> None:
    """Whatever three tenants report, and when, between honest ones' requests by leases."""
    states = after(OTHERS)
    for number, (latency_ms, lied) in enumerate(calls):
        for liar, lie_ms, failure, ahead_s in lied:
            at = NOW + timedelta(seconds=number + ahead_s)
            states = fold(states, a_call(f"liar {liar}", number, latency_ms=lie_ms, failure=failure, at=at))
        states = fold(states, a_call(f"honest {number % honest}", number, latency_ms=latency_ms))
    view = seen_by(states, tenant_hash(f"honest {len(calls) % honest}"))[AWS]
    # a tenant's usual ratio to the others' is within the honest range, too
    widest = HIGH_MS / LOW_MS
    for level in view.levels.values():
        assert not level.warm or LOW_MS / widest <= level.latency_ms <= HIGH_MS * widest
    assert (view.consecutive_failures, view.error_rate) == (0, 0.0)
