"""Leases: signed tokens, what a client is given, and what it reports."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any, cast
from uuid import UUID

from fiso.codecs.lease_token import Keyring, from_document, seal, unseal
from fiso.domain.decision import Exclusion
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.errors import LeaseRefused
from fiso.domain.lease import LeasedAttempt, LeasedOutcome
from fiso.services.leases import lease
from fiso.services.leases.outcomes import Fate, Reported, Verdict
from fiso.testing.rig import Rig
from fiso_client.api import FisoApi
from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import Failure
from fiso_client.core.transport import HttpTransport
from fiso_client.reporting import Pace, Reporter
from fiso_client.target import Target, held_from
from functions.orchestrator import http_lease
from tests.builders import a_lease, a_leased_endpoint, a_request, an_entry
from tests.golden.golden_files import golden, golden_json, golden_line, rounded

KEYRING = Keyring.parsed(f"k2:{'b' * 32} k1:{'a' * 32}")
PLAIN = a_lease()
COMPLETE = a_lease(
    endpoints=(
        a_leased_endpoint(propensity=0.95, compared_ms=101.5, p95_ms=250.25),
        a_leased_endpoint(Provider.GCP, propensity=0.05, cost_usd=None),
    ),
    exclusions=(Exclusion(endpoint=EndpointId("x"), code="denied_region", detail="eastus is denied, ünï"),),
    user_region="eu-central-1",
)
ATTEMPT = {"endpoint": "aws", "after_ms": 1.5, "latency_ms": 50.25, "status": 200}
OUTCOMES: tuple[Mapping[str, Any], ...] = (
    {
        "number": 0,
        "request_size_bytes": 17,
        "response_size_bytes": 2,
        "deadline_passed": False,
        "attempts": [
            {"endpoint": "gcp", "after_ms": 0.5, "latency_ms": 1.0, "failure": "unreachable"},
            ATTEMPT | {"is_function_error": False, "cold_start": True, "billed_ms": 49.0, "idle_ms": 1000.0},
        ],
    },
    {
        "number": 1,
        "request_size_bytes": 0,
        "response_size_bytes": 0,
        "deadline_passed": True,
        "attempts": [{"endpoint": "aws", "after_ms": 60.0, "latency_ms": 28000.0, "failure": "timed_out"}],
    },
)


def test_a_token_holds_a_lease_as_canonical_json() -> None:
    _, _, payload, _ = seal(COMPLETE, KEYRING).split(".")
    kept = golden_line("lease.json", base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert from_document(json.loads(kept)) == COMPLETE


def test_a_lease_as_a_signed_token() -> None:
    leases = {"plain": PLAIN, "complete": COMPLETE, "alone": replace(PLAIN, endpoints=PLAIN.endpoints[:1], others=())}
    kept = golden("lease-tokens.txt", "".join(f"{name} {seal(lease, KEYRING)}\n" for name, lease in leases.items()))
    read = dict(line.split() for line in kept.splitlines())
    assert {name: unseal(token, KEYRING) for name, token in read.items()} == leases


def test_a_token_of_an_older_key_is_still_read() -> None:
    older = Keyring(keys=KEYRING.keys[1:])
    kept = golden("lease-token-of-older-key.txt", seal(PLAIN, older) + "\n")
    assert unseal(kept.strip(), KEYRING) == PLAIN


def test_the_decision_that_a_client_is_given() -> None:
    rig = Rig(an_entry())
    id = UUID(PLAIN.id)
    granted = lease.grant(a_request(), rig.app.orchestrator, rig.app.outcomes().keys, new_id=lambda: id)
    document = lease.lease_document(granted)
    assert document.pop("token") == seal(granted.lease, rig.stores.lease_keys.read())
    kept = golden_json("decide.json", rounded(document))
    held = held_from(kept | {"token": "t"}, received_at=0.0)
    assert (held.function, held.lifetime_s, held.timeout_s, held.idempotent) == ("word-count", 60.0, 28.0, "yes")
    assert [target.id for target in held.targets] == [row["id"] for row in kept["endpoints"]]
    first = kept["endpoints"][0]
    assert held.targets[0] == Target(
        id="aws",
        provider="aws",
        address="https://aws.example",
        region="us-east-1",
        patience_s=first["patience_ms"] / 1000,
    )


class Recorder:
    """A transport that keeps what is sent, and takes every report."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float) -> HttpAnswer:
        self.sent.append({"method": method, "url": url, "headers": dict(headers), "body": body.decode()})
        return HttpAnswer(status=200, headers={}, body=b'{"accepted": 2, "repeated": 0, "rejected": 0, "problems": []}')


def test_what_a_client_reports() -> None:
    transport = Recorder()
    api = FisoApi(
        url="https://fiso.example", headers=lambda *_: {}, transport=cast(HttpTransport, transport), timeout_s=3
    )
    ticks = count()
    reporter = Reporter(api, pace=Pace(), stopwatch=lambda: float(next(ticks)), background=False)
    for outcome in OUTCOMES:
        reporter.add("a-token", outcome)
    assert reporter.flush()
    assert reporter.tally.accepted == 2
    api.decide("word-count", 17)
    kept = golden_json("client-requests.json", transport.sent)
    assert http_lease.reported(kept[0]["body"].encode()) == [
        Reported(token="a-token", number=0, outcome=ANSWERED),
        Reported(token="a-token", number=1, outcome=LATE),
    ]


ANSWERED = LeasedOutcome(
    number=0,
    request_size_bytes=17,
    response_size_bytes=2,
    attempts=(
        LeasedAttempt(endpoint=EndpointId("gcp"), after_ms=0.5, latency_ms=1.0, failure=Failure.UNREACHABLE),
        LeasedAttempt(
            endpoint=EndpointId("aws"),
            after_ms=1.5,
            latency_ms=50.25,
            status=200,
            cold_start=True,
            billed_ms=49.0,
            idle_ms=1000.0,
        ),
    ),
)
LATE = LeasedOutcome(
    number=1,
    request_size_bytes=0,
    response_size_bytes=0,
    attempts=(
        LeasedAttempt(endpoint=EndpointId("aws"), after_ms=60.0, latency_ms=28_000.0, failure=Failure.TIMED_OUT),
    ),
    deadline_passed=True,
)


def test_the_verdict_on_a_report() -> None:
    refused = LeaseRefused("impossible", "an attempt ends in the future")
    items = [Reported(token="t", number=number, outcome=refused) for number in range(3)]
    verdicts = [Verdict(fate=Fate.ACCEPTED), Verdict(fate=Fate.REPEATED), Verdict(fate=Fate.REJECTED, problem=refused)]
    golden_line("verdicts.json", json.dumps(http_lease.verdicts_document(items, verdicts)))


def test_the_ids_of_calls_under_a_lease() -> None:
    golden_json("leased-invocation-ids.json", [PLAIN.invocation_id(number) for number in (0, 1, 1_000_000)])
