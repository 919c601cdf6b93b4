from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.codecs.lease_token import Keyring, seal, unseal
from fiso.domain.decision import Exclusion, Reason
from fiso.domain.endpoint import FunctionName, Provider
from fiso.domain.errors import LeaseRefused
from fiso.domain.lease import Lease, LeasedEndpoint, LeaseId
from fiso.domain.request import TenantId
from fiso.prediction import features
from tests.strategies import ids, moments, names, positive, summaries, unit

RING = Keyring.parsed(f"k1:{'a' * 32}")
endpoints = st.builds(
    LeasedEndpoint,
    summary=summaries,
    provider=st.sampled_from(Provider),
    region=names,
    memory_mb=st.integers(1, 10_240),
    features=st.lists(positive | unit, min_size=len(features.NAMES), max_size=len(features.NAMES)).map(tuple),
    raw_latency_ms=positive,
    prediction_source=st.sampled_from(["model", "baseline"]),
)


@st.composite
def leases(draw: st.DrawFn) -> Lease:
    issued_at = draw(moments)
    return Lease(
        id=LeaseId(str(draw(st.uuids()))),
        function=FunctionName(draw(names)),
        tenant=TenantId(draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=8))),
        issued_at=issued_at,
        expires_at=issued_at + timedelta(milliseconds=draw(st.integers(1, 10**6))),
        endpoints=tuple(draw(st.lists(endpoints, min_size=1, max_size=3, unique_by=lambda e: e.id))),
        others=tuple(draw(st.lists(summaries, max_size=3))),
        exclusions=tuple(draw(st.lists(st.builds(Exclusion, endpoint=ids, code=names, detail=names), max_size=3))),
        reason=draw(st.sampled_from(Reason)),
        request_size_bytes=draw(st.integers(0, 10**7)),
        user_region=draw(st.none() | names),
        policy_version=draw(st.integers(0, 99)),
        snapshot_version=draw(st.integers(0, 99)),
        model_version=draw(names),
        tariff_version=draw(names),
    )


@given(leases())
def test_a_lease_survives_its_token(lease: Lease) -> None:
    assert unseal(seal(lease, RING), RING) == lease


@given(leases(), st.data())
def test_a_token_with_any_character_changed_is_refused(lease: Lease, data: st.DataObject) -> None:
    token = seal(lease, RING)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=0x17F).filter(lambda character: character != token[place]))
    with pytest.raises(LeaseRefused):
        unseal(token[:place] + other + token[place + 1 :], RING)


@given(st.text(max_size=60), st.booleans())
def test_text_that_nobody_signed_is_refused_and_nothing_else(text: str, framed: bool) -> None:
    with pytest.raises(LeaseRefused):
        unseal(f"fl1.k1.{text}" if framed else text, RING)


@given(leases(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_each_call_has_an_id_of_its_own_that_never_changes(lease: Lease, one: int, other: int) -> None:
    assert (lease.invocation_id(one) == lease.invocation_id(other)) == (one == other)
