"""`GET /metrics`: Prometheus' text from folded states, the same whichever environment is asked."""

import gzip
import json
import random
from base64 import b64decode
from dataclasses import replace

import pytest

from fiso.adapters.aws.dynamodb_states import state_from_item, state_item
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.fields import Impossible
from fiso.domain.policy import Objectives
from fiso.domain.record import InvocationRecord
from fiso.domain.state import LATENCY_BOUNDS_MS, NOTHING, EndpointState
from fiso.routing.fold import fold
from fiso.services.log.ingest import ingest
from fiso.services.request.scrape import FRESH_S
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates, away
from fiso.testing.rig import Rig, http_event, word_count
from fiso_client.core.failures import Failure
from functions.orchestrator.http_metrics import OLDEST_S
from tests.builders import a_record, an_attempt
from tests.edge import BY_IAM
from tests.exposition import Series, samples_of, value_of
from tests.security.test_tenancy import ALICE, BOB, HIDDEN, as_tenant

pytestmark = pytest.mark.usefixtures("each_door")


def scraped(rig: Rig) -> dict[Series, float]:
    """As long after the last record as a scrape may be late."""
    rig.advance(OLDEST_S + FRESH_S)
    answer = rig.request("GET", "/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples_of(answer.body.decode())


PROMISED = Objectives(availability=99.0, latency_ms=50, latency_share=90.0)


def used(seed: int = 1, *, calls: int = 30) -> Rig:
    rig = Rig(word_count(objectives=PROMISED), seed=seed)
    rig.fail("gcp-us-east4", Failure.UNREACHABLE)
    for call in range(calls):
        for endpoint in ("aws-us-east-1", "azure-eastus"):
            rig.slow(endpoint, 8.0 * 1.3 ** (call % 20))
        rig.invoke("word-count", body=b"{}")
        rig.advance(1)
    return rig


def test_the_briefs_three_metrics_with_their_labels_add_up_to_the_log() -> None:
    rig = used()
    found = scraped(rig)
    records = rig.records
    for name in ("fiso_invocations_total", "fiso_invocation_duration_seconds_count", "fiso_invocation_cost_usd"):
        labels = {label for series in found if series.name == name for label, _ in series.labels}
        assert {"provider"} | ({"status"} if name.endswith("_total") else set()) <= labels
    assert value_of(found, "fiso_invocations_total", status="success") == len(records)
    durations = [record.result.execution_time_ms or 0 for record in records]
    assert value_of(found, "fiso_invocation_duration_seconds_sum") == pytest.approx(sum(durations) / 1000, abs=1e-4)
    for bound in LATENCY_BOUNDS_MS:
        below = value_of(found, "fiso_invocation_duration_seconds_bucket", le=repr(bound / 1000).removesuffix(".0"))
        assert below == sum(duration <= bound for duration in durations), bound
    assert value_of(found, "fiso_cost_usd_total") == pytest.approx(sum(r.result.cost_usd or 0 for r in records))
    assert value_of(found, "fiso_attempts_total") == sum(len(record.attempts) for record in records)
    assert value_of(found, "fiso_overhead_seconds_count") == len(records)
    assert value_of(found, "fiso_predicted_answers_total") > 0
    assert value_of(found, "fiso_recent_mean_error_seconds_total") > 0


def test_what_is_promised_is_told_and_what_was_slower_is_counted() -> None:
    rig = used()
    found = scraped(rig)
    assert value_of(found, "fiso_objective_ratio", objective="availability") == 0.99
    assert value_of(found, "fiso_objective_ratio", objective="latency") == 0.9
    slow = sum(record.result.is_slow is True for record in rig.records)
    assert 0 < slow < len(rig.records)
    assert value_of(found, "fiso_objective_slow_total") == slow
    burn = [(value, told) for name, value, told in rig.metrics.values if name == "ObjectiveBurn"]
    assert len(burn) == len(rig.records)
    assert sum(value for value, _ in burn) == pytest.approx(10 * slow)
    assert burn[0][1] == {"function": "word-count"}


@pytest.mark.parametrize(
    ("is_error", "is_slow", "expected"),
    [(False, False, 0.0), (True, False, 100.0), (False, True, 10.0), (True, True, 100.0)],
)
def test_a_request_burns_by_the_objective_that_it_misses_most(
    *, is_error: bool, is_slow: bool, expected: float
) -> None:
    assert PROMISED.burn(is_error=is_error, is_slow=is_slow) == pytest.approx(expected)
    assert Objectives(latency_ms=50).burn(is_error=True, is_slow=False) == 0


@pytest.mark.parametrize(
    "wrong", [{}, {"availability": 100}, {"availability": 20}, {"latency_ms": 0}, {"latency_share": 100}]
)
def test_what_cannot_be_promised_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Impossible):
        Objectives(**wrong)  # type: ignore[arg-type]


def test_errors_open_breakers_and_a_table_that_is_away_are_told() -> None:
    rig = Rig()
    for endpoint in ("aws-us-east-1", "azure-eastus", "gcp-us-east4"):
        rig.fail(endpoint, Failure.UNREACHABLE)
    for _ in range(6):
        rig.invoke("word-count", body=b"{}")
        rig.advance(1)
    found = scraped(rig)
    assert value_of(found, "fiso_invocations_total", status="error") == 6
    assert value_of(found, "fiso_log_spilling") == 0
    rig.advance(FRESH_S)
    rig.stores.log.before = away()
    rig.invoke("word-count", body=b"{}")
    found = samples_of(rig.request("GET", "/metrics").body.decode())
    assert value_of(found, "fiso_breaker_open") >= 1
    assert value_of(found, "fiso_log_spilling") == 1
    assert fold({}, a_record(is_slow=True))[EndpointId("aws")].totals.slow == 1


def test_another_environment_tells_the_same_and_what_a_process_served_counts_nothing() -> None:
    rig = used(calls=8)
    other = Rig(stores=rig.stores, clock=rig.clock)
    rig.advance(OLDEST_S + FRESH_S)
    own, others = (samples_of(each.request("GET", "/metrics").body.decode()) for each in (rig, other))
    assert own == others


def test_counters_only_grow_whoever_folds_in_which_order_and_how_often() -> None:
    """Several consumers, batches of any size, some delivered twice; after each the sums are at least those before."""
    rng = random.Random(7)
    records = [
        a_record(n, execution_time_ms=rng.expovariate(0.01), error_occurred=n % 9 == 0, attempts=(an_attempt(),))
        for n in range(80)
    ]
    in_one_go = fold_all(records)
    shuffled = rng.sample(records, len(records))
    states, archive, before = InMemoryEndpointStates(), InMemoryArchive(), NOTHING
    while shuffled:
        batch, shuffled = shuffled[: (size := rng.randint(1, 9))], shuffled[size:]
        for _ in range(rng.randint(1, 2)):
            ingest(batch, states=states, archive=archive, batch_id="b")
        after = states.of_function(FunctionName("word-count"))[EndpointId("aws")].totals
        assert after.errors >= before.errors
        assert all(now >= then for now, then in zip(after.latencies, before.latencies or after.latencies, strict=True))
        before = after
    assert before == in_one_go.totals


def fold_all(records: list[InvocationRecord]) -> EndpointState:
    known: dict[EndpointId, EndpointState] = {}
    for record in records:
        known = fold(known, record)
    return known[EndpointId("aws")]


def test_a_state_of_older_code_has_no_totals_yet_and_is_read_and_grows() -> None:
    item = state_item(fold_all([a_record(1)]), packs=False)
    old = json.loads(item["state"]["S"])
    del old["totals"]
    read = state_from_item(item | {"state": {"S": json.dumps(old)}})
    assert (read.folded, read.totals) == (1, NOTHING)
    again = fold({EndpointId("aws"): read}, a_record(2))[EndpointId("aws")]
    assert (again.folded, sum(again.totals.latencies)) == (2, 1)


def test_totals_cost_little_of_each_write() -> None:
    state = fold_all([a_record(1)])
    grown = replace(
        state.totals, latencies=(999_999,) * (len(LATENCY_BOUNDS_MS) + 1), latency_us=10**15, errors=999_999
    )
    size = len(state_item(replace(state, totals=grown), packs=False)["state"]["S"])
    without = len(state_item(replace(state, totals=NOTHING), packs=False)["state"]["S"])
    assert size - without < 128


def test_a_scrape_reads_each_function_once_in_a_few_seconds_however_many_scrape() -> None:
    rig = used(calls=3)
    asked = list[str]()
    rig.advance(30)
    rig.stores.states.before = asked.append
    for _ in range(20):
        assert rig.request("GET", "/metrics").status == 200
    assert asked == ["of_function"]
    rig.advance(OLDEST_S)
    assert rig.request("GET", "/metrics").status == 200
    assert len(asked) > 1


def test_where_a_state_cannot_be_read_the_scrape_fails_as_a_whole() -> None:
    rig = used(calls=2)
    cold = Rig(stores=rig.stores, clock=rig.clock)
    rig.stores.states.before = away()
    assert cold.request("GET", "/metrics").status == 503


def test_a_scrape_may_be_packed() -> None:
    rig = used(calls=3)
    plain = rig.request("GET", "/metrics").body
    packed = rig.send(http_event("GET", "/metrics", accept_encoding="gzip, deflate"))
    assert packed["headers"]["content-encoding"] == "gzip"
    assert gzip.decompress(b64decode(packed["body"])) == plain


def test_a_tenant_sees_what_it_may_call_and_the_stages_own_one_sees_all() -> None:
    def functions(account: str, settings: object = BY_IAM) -> set[str]:
        rig = Rig(HIDDEN, word_count(), settings=settings)  # type: ignore[arg-type]
        for name in ("hidden", "word-count"):
            as_tenant(rig, ALICE, "POST", f"/v1/invoke/{name}")
        rig.advance(1)
        answer = as_tenant(rig, account, "GET", "/metrics")
        assert answer["statusCode"] == 200
        return {dict(series.labels).get("function", "") for series in samples_of(answer["body"])} - {""}

    assert functions(ALICE) == {"hidden", "word-count"}
    assert functions(BOB) == {"word-count"}
    assert functions(BOB, replace(BY_IAM, metrics_tenant=BOB)) == {"hidden", "word-count"}


def test_what_one_tenant_was_shown_is_not_kept_for_another() -> None:
    rig = Rig(HIDDEN, word_count(), settings=BY_IAM)
    assert "hidden" in as_tenant(rig, ALICE, "GET", "/metrics")["body"]
    assert "hidden" not in as_tenant(rig, BOB, "GET", "/metrics")["body"]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "ünï"], ids=repr)
def test_whatever_a_name_holds_the_text_is_one_that_parses(name: str) -> None:
    entry = word_count()
    copies = (replace(entry.endpoints[0], region=name),)
    rig = Rig(replace(entry, endpoints=copies))
    rig.invoke("word-count", body=b"{}")
    rig.advance(1)
    found = scraped(rig)
    assert {dict(series.labels).get("region") for series in found} <= {name, None}
