"""Mistaken requests over the wire: the gateway hands them on, FISO answers as problem details and records nothing.

The whole corpus is in `tests/security/specimens.py`."""

from dataclasses import dataclass, field

import pytest

from tests.e2e.conftest import LiveCloud

INVOKE = "/v1/invoke/graph-bfs"
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A request and the status that it deserves."""

    status: int
    path: str = INVOKE
    method: str = "POST"
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


CASES = {
    "a wish of another form": Wrong(status=400, headers={"x-fiso-max-cost": "cheap"}),
    "not JSON for FISO itself": Wrong(status=400, path="/v1/explain/graph-bfs", body=b'{"size": '),
    "10 MB of JSON": Wrong(status=413, body=b'"' + b"x" * (10 * MIB - 2) + b'"'),
    "10 MB of bytes": Wrong(status=413, body=b"\x00" * 10 * MIB, headers={"content-type": "application/octet-stream"}),
    "a function's name of another form": Wrong(status=404, path="/v1/invoke/%2e%2e%2fetc"),
    "an unknown path": Wrong(status=404, path="/v2/invoke/graph-bfs"),
    "a wrong method without a body": Wrong(status=405, method="DELETE", path="/v1/endpoints", body=b""),
    "a path upwards": Wrong(status=400, path=f"{INVOKE}/%2e%2e/%2e%2e/admin"),
    "an unknown record": Wrong(status=404, method="GET", path="/v1/invocations/00000000-0000-4000-8000-000000000000"),
    "a record's id of another form": Wrong(status=404, method="GET", path="/v1/invocations/x'; DROP TABLE"),
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
