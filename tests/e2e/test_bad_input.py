"""Hostile and mistaken requests: the right 4xx as problem details, nothing invoked, nothing recorded."""

from dataclasses import dataclass, field

import pytest

from tests.e2e.conftest import LiveCloud

INVOKE = "/v1/invoke/graph-bfs"
DEEP = b"[" * 100_000 + b"]" * 100_000
MIB = 1024 * 1024
BYTES = {"content-type": "application/octet-stream"}


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A request and the status that it deserves."""

    status: int
    path: str = INVOKE
    method: str = "POST"
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


CASES = {
    "not JSON": Wrong(status=400, body=b'{"size": '),
    "NaN": Wrong(status=400, body=b'{"size": NaN, "seed": 1}'),
    "Infinity": Wrong(status=400, body=b'{"size": -Infinity, "seed": 1}'),
    "a lone surrogate": Wrong(status=400, body=b'{"nodes": ["\\ud800"], "edges": [], "source": "\\ud800"}'),
    "100,000 deep": Wrong(status=400, body=DEEP),
    "5.5 MiB of JSON": Wrong(status=413, body=b'"' + b"x" * (11 * MIB // 2) + b'"'),
    "4.3 MiB of bytes": Wrong(status=413, body=b"\x00" * (43 * MIB // 10), headers=BYTES),
    "10 MB of JSON": Wrong(status=413, body=b'"' + b"x" * (10 * MIB - 2) + b'"'),
    "10 MB of bytes": Wrong(status=413, body=b"\x00" * 10 * MIB, headers=BYTES),
    "an unknown function": Wrong(status=404, path="/v1/invoke/nobody"),
    "a function's name of another form": Wrong(status=404, path="/v1/invoke/%2e%2e%2fetc"),
    "an unknown path": Wrong(status=404, path="/v2/invoke/graph-bfs"),
    "the root": Wrong(status=404, path="/"),
    "a wrong method": Wrong(status=405, method="PUT"),
    "a wrong method without a body": Wrong(status=405, method="GET", body=b""),
    "a wrong method on a read": Wrong(status=405, path="/v1/endpoints"),
    "a wrong content type": Wrong(status=415, headers={"content-type": "what is this"}),
    "a streaming content type": Wrong(status=415, headers={"content-type": "text/event-stream"}),
    "a timeout that is none": Wrong(status=400, headers={"x-fiso-timeout-ms": "soon"}),
    "a region that is none": Wrong(status=400, headers={"x-fiso-user-region": "../etc"}),
    "a key with blanks": Wrong(status=400, headers={"idempotency-key": "a b"}),
    "an unknown record": Wrong(status=404, method="GET", path="/v1/invocations/00000000-0000-4000-8000-000000000000"),
    "a record's id of another form": Wrong(status=404, method="GET", path="/v1/invocations/x'; DROP TABLE"),
    "explaining nobody": Wrong(status=404, path="/v1/explain/nobody"),
    "explaining bad JSON": Wrong(status=400, path="/v1/explain/graph-bfs", body=b"{"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_as_problem_details_and_nothing_is_recorded(live: LiveCloud, name: str) -> None:
    wrong, before = CASES[name], live.logged()
    answer = live.client.request(wrong.method, wrong.path, content=wrong.body, headers=wrong.headers)
    assert answer.status_code == wrong.status, answer.text[:300]
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert set(problem) >= {"type", "title", "status", "detail", "invocation_id"}
    assert problem["status"] == wrong.status
    assert "x-fiso-endpoint" not in answer.headers
    assert live.logged() == before


def test_a_good_request_after_all_that_is_served(live: LiveCloud) -> None:
    assert live.invoke("word-count").status_code == 200
