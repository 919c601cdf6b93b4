"""The console over the deployed API."""

import re

import pytest

from tests.e2e.conftest import LiveCloud, eventually


@pytest.mark.parametrize("page", ["/console", "/console/endpoints", "/console/invocations"])
def test_a_page_answers_and_loads_nothing_from_elsewhere(live: LiveCloud, page: str) -> None:
    live.invoke("word-count")
    answer = live.client.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", answer.text) == []


def test_an_invocation_has_a_page_of_its_own(live: LiveCloud) -> None:
    answer = live.invoke("word-count")
    page = live.client.get(f"/console/invocations/{answer.headers['x-fiso-invocation-id']}")
    assert page.status_code == 200
    assert answer.headers["x-fiso-endpoint"] in page.text


def test_the_api_lists_the_latest_invocations_of_a_function(live: LiveCloud) -> None:
    wanted = live.invoke("compress").headers["x-fiso-invocation-id"]

    def listed() -> bool:
        rows = live.client.get("/api/invocations", params={"limit": 5, "function": "compress"}).json()["invocations"]
        return rows[0]["invocation_id"] == wanted and all(row["function_name"] == "compress" for row in rows)

    eventually(listed)


def test_retraining_runs_are_reported(live: LiveCloud) -> None:
    live.machine.retrain()
    runs = live.client.get("/api/reports/retraining").json()["runs"]
    assert runs[0]["reason"]
