"""Sessions: the same copy while it is available, another one when it is not, and what the log says of it."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.fields import Impossible
from fiso.domain.policy import Mode
from fiso.domain.request import InvocationId, Session
from fiso.domain.steering import Affinity
from fiso.learning.logged import is_usable
from fiso.routing.affinity import session_of
from fiso.services.request.orchestrate import RoutingResult
from fiso.testing.rig import Rig, http_event, word_count
from fiso_client.core.failures import Failure
from tests.builders import a_request

pytestmark = pytest.mark.usefixtures("each_door")

AWS, AZURE, GCP = EndpointId("aws-us-east-1"), EndpointId("azure-eastus"), EndpointId("gcp-us-east4")
BY_HEADER = Affinity(header="x-session")
BY_COOKIE = Affinity(cookie="fiso-affinity", life_s=600)


class Caller:
    """Sends requests of one session, as a browser does: with the cookie that it was given last."""

    def __init__(self, rig: Rig, **headers: str) -> None:
        self.rig, self.headers, self._sent = rig, headers, 0
        policy = rig.app.sources.policy(FunctionName("word-count"))
        self.affinity = policy.affinity or BY_COOKIE

    def send(self) -> RoutingResult:
        self._sent += 1
        now = self.rig.clock()
        routed = self.rig.app.orchestrator.route(
            replace(
                a_request(session=Session(value=session_of(self.affinity, self.headers), path="/v1/invoke/word-count")),
                invocation_id=InvocationId(str(UUID(int=(id(self) << 32) + self._sent))),
                received_at=now,
                deadline_at=now + timedelta(seconds=10),
            )
        )
        if routed.affinity_cookie:
            self.headers["cookie"] = routed.affinity_cookie.partition(";")[0]
        return routed

    def answered_by(self) -> EndpointId | None:
        return self.send().record.result.endpoint


@pytest.mark.parametrize("affinity", [BY_HEADER, BY_COOKIE])
def test_a_session_stays_on_its_copy(affinity: Affinity) -> None:
    rig = Rig(word_count(affinity=affinity, exploration=0.5))
    sessions = [Caller(rig, **{"x-session": f"s{number}"}) for number in range(12)]
    seen = [{session.answered_by() for _ in range(8)} for session in sessions]
    assert all(len(copies) == 1 for copies in seen)
    assert len(set().union(*seen)) > 1


def test_a_header_spreads_sessions_over_all_copies_and_a_copy_that_is_out_moves_only_its_own() -> None:
    rig = Rig(word_count(affinity=BY_HEADER))
    sessions = {f"s{n}": Caller(rig, **{"x-session": f"s{n}"}) for n in range(60)}
    before = {name: session.answered_by() for name, session in sessions.items()}
    assert min(Counter(before.values()).values()) >= 10
    rig.change_policy("word-count", denied_providers=frozenset({Provider.GCP}))
    rig.advance(61)
    after = {name: session.answered_by() for name, session in sessions.items()}
    assert {name for name in before if before[name] != after[name]} == {n for n in before if before[n] == GCP}


def test_the_first_request_of_a_cookies_session_is_decided_by_score_and_those_after_it_by_the_cookie() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    session = Caller(rig)
    first, second = session.send(), session.send()
    assert first.affinity_cookie is not None
    assert first.affinity_cookie.startswith("fiso-affinity=")
    assert "Path=/v1/invoke/word-count; Max-Age=600; HttpOnly" in first.affinity_cookie
    assert second.affinity_cookie is None
    assert [r.record.decision.reason for r in (first, second)] == [Reason.SCORE, Reason.AFFINITY]
    assert [r.record.decision.is_sticky for r in (first, second)] == [None, True]
    assert [is_usable(r.record) for r in (first, second)] == [True, False]
    assert [c.propensity for c in second.record.decision.candidates] == [1.0, 0.0, 0.0]


def test_a_session_leaves_a_copy_behind_an_open_breaker_and_stays_where_it_went() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    session = Caller(rig)
    home = session.answered_by()
    rig.fail(str(home), Failure.UNREACHABLE)
    moved = session.send()
    assert moved.record.result.endpoint != home
    assert moved.affinity_cookie is not None
    for _ in range(8):
        assert session.answered_by() == moved.record.result.endpoint
    rig.heal(str(home))
    rig.advance(120)
    assert session.answered_by() == moved.record.result.endpoint


def test_a_headers_session_is_not_sent_to_an_open_breaker_and_comes_back_when_it_closed() -> None:
    rig = Rig(word_count(affinity=BY_HEADER))
    session = Caller(rig, **{"x-session": "s"})
    home = session.answered_by()
    rig.fail(str(home), Failure.UNREACHABLE)
    for _ in range(5):
        session.send()
    calls = rig.calls.count(EndpointId(str(home)))
    for _ in range(10):
        assert session.answered_by() != home
    assert rig.calls.count(EndpointId(str(home))) == calls
    rig.heal(str(home))
    for _ in range(60):
        rig.advance(1)
        session.send()
    assert session.answered_by() == home


def test_a_session_stays_within_the_first_tier_that_is_available() -> None:
    rig = Rig(word_count(affinity=BY_HEADER, tiers=(frozenset({AZURE}),)))
    assert {Caller(rig, **{"x-session": f"s{n}"}).answered_by() for n in range(20)} == {AZURE}


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "fiso-affinity",
        "fiso-affinity=",
        "fiso-affinity=aws-us-east-1",
        "fiso-affinity=....",
        "fiso-affinity=é.1",
        "fiso-affinity=abc.99999999999999999999",
        "fiso-affinity=" + "x" * 10_000,
        ";;=;a=b;",
    ],
)
def test_a_cookie_that_names_no_copy_counts_as_none(cookie: str) -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    routed = Caller(rig, cookie=cookie).send()
    assert routed.record.decision.reason is Reason.SCORE
    assert routed.affinity_cookie is not None


def test_a_cookie_holds_for_its_life() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    session = Caller(rig)
    session.send()
    rig.advance(599)
    assert session.send().record.decision.reason is Reason.AFFINITY
    rig.advance(1)
    assert session.send().record.decision.reason is Reason.SCORE


def test_a_cookie_does_not_widen_what_the_policy_or_a_wish_allows() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    session = Caller(rig)
    home = session.send().record.result
    rig.change_policy("word-count", denied_providers=frozenset({home.cloud_provider}))
    rig.advance(61)
    assert session.answered_by() != home.endpoint


def test_where_everybody_is_sent_no_session_begins() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE, mode=Mode.PIN, pinned=AWS))
    assert Caller(rig).send().affinity_cookie is None


def test_the_cookie_goes_to_the_caller_and_comes_back_through_api_gateway() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE, exploration=0.5))
    first = rig.send(http_event())
    (cookie,) = first["cookies"]
    assert "SameSite=None; Secure" in cookie
    pair = cookie.partition(";")[0]
    for _ in range(20):
        answer = rig.send({**http_event(), "cookies": ["theme=dark", pair]})
        assert answer["headers"]["x-fiso-endpoint"] == first["headers"]["x-fiso-endpoint"]
        assert answer["headers"]["x-fiso-reason"] == "affinity"
        assert "cookies" not in answer
    plain = rig.send(http_event(x_forwarded_proto="http"))
    assert plain["cookies"][0].endswith("HttpOnly; SameSite=Lax")


def test_a_header_that_the_policy_lets_not_pass_names_the_session_all_the_same() -> None:
    rig = Rig(word_count(affinity=BY_HEADER, request_headers=frozenset({"accept"})))
    seen = [
        {rig.invoke("word-count", x_session=f"s{n}").headers["x-fiso-endpoint"] for _ in range(3)} for n in range(9)
    ]
    assert all(len(copies) == 1 for copies in seen)
    assert len(set().union(*seen)) > 1


def test_the_cookie_is_for_the_path_that_the_caller_wrote() -> None:
    rig = Rig(word_count(affinity=BY_COOKIE))
    answer = rig.send(http_event("GET", "/prod/v1/invoke/word-count/a/b"))
    assert "; Path=/prod/v1/invoke/word-count;" in answer["cookies"][0]


def test_explain_tells_of_the_session() -> None:
    rig = Rig(word_count(affinity=BY_HEADER))
    document = rig.request("POST", "/v1/explain/word-count", x_session="s").document
    assert document["reason"] == "affinity"
    assert document["chosen"] == rig.invoke("word-count", x_session="s").headers["x-fiso-endpoint"]


def test_affinity_goes_either_by_a_header_or_by_a_cookie() -> None:
    with pytest.raises(Impossible, match="either a header or a cookie"):
        Affinity()
