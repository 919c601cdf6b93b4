"""The console's pages, answered through API Gateway events on in-memory ports."""

from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from fiso.domain.decision import Reason
from fiso.domain.record import InvocationRecord, OpenRecord, RecordStatus, ShadowOutcome
from functions.console import app
from tests.builders import a_record, a_snapshot, an_open_record, changed
from tests.functional.console_browser import Browser, parse
from tests.functional.console_world import World, busy_world

PAGES = (
    "/console",
    "/console/changes",
    "/console/endpoints",
    "/console/diagnosis",
    "/console/invocations",
    "/console/models",
)
PREFIX = "http://127.0.0.1:4566/_aws/execute-api/a1b2c3d4/$default"
BANNER = "Local stage: distances and cold starts are emulated; local latencies are not cloud latencies."


@pytest.fixture(scope="module")
def world() -> World:
    return busy_world(120)


@pytest.fixture(scope="module")
def browser(world: World) -> Browser:
    return Browser(app=app.create(world.sources, stage="local"))


def browse(world: World, *, stage: str = "local") -> Browser:
    return Browser(app=app.create(world.sources, stage=stage), gateway="local" if stage == "local" else "aws")


def first(world: World, reason: Reason) -> InvocationRecord:
    return next(record for record in world.log.latest(500) if record.decision.reason is reason)


@pytest.mark.parametrize("gateway", ["local", "aws"])
@pytest.mark.parametrize("path", [*PAGES, "/console/"])
def test_every_page_answers_behind_both_gateways(world: World, path: str, gateway: str) -> None:
    browser = Browser(app=app.create(world.sources, stage="prod"), gateway=gateway)
    answer = browser.get(path)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_while_nothing_was_ever_written(path: str) -> None:
    answer = browse(World()).get(path)
    assert answer.status == 200
    assert "empty" in answer.body or "none published" in answer.body


def test_every_link_stays_under_the_gateways_prefix_and_leads_somewhere(world: World, browser: Browser) -> None:
    waiting, seen = [f"{PREFIX}/console"], set[str]()
    while waiting:
        url = waiting.pop()
        assert url.startswith(PREFIX + "/"), f"{url} left the prefix"
        seen.add(url)
        parts = urlsplit(url.removeprefix(PREFIX))
        answer = browser.get(unquote(parts.path), parts.query)
        assert answer.status == 200, url
        if answer.headers["content-type"].startswith("text/html"):
            found = {urljoin(url, address).partition("#")[0] for address in parse(answer.body).addresses}
            waiting.extend(found - seen - set(waiting))
    records = {f"{PREFIX}/console/invocations/{record.invocation_id}" for record in world.log.latest(500)}
    assert records <= seen


@pytest.mark.parametrize("path", [*PAGES, "/console/nowhere/at/all"])
def test_no_page_needs_what_its_content_policy_blocks(browser: Browser, path: str) -> None:
    assert parse(browser.get(path).body).blocked == []


def test_an_unknown_page_links_back_from_its_own_depth(browser: Browser) -> None:
    answer = browser.get("/console/nowhere/at/all")
    assert answer.status == 404
    assert urljoin(f"{PREFIX}/console/nowhere/at/all", "../../../console") == f"{PREFIX}/console"
    assert 'href="../../../console"' in answer.body


def test_the_local_stage_says_on_every_page_that_its_latencies_are_not_a_clouds(world: World) -> None:
    for path in PAGES:
        assert BANNER in browse(world).get(path).body
        assert BANNER not in browse(world, stage="prod").get(path).body


def test_the_overview_says_which_catalog_and_model_serve(browser: Browser) -> None:
    body = browser.get("/console").body
    assert "version 3" in body
    assert "champion 2026-11-23-a1b2c3" in body
    assert "The newest 121 invocations" in body


def test_what_a_policy_asks_for_is_shown(browser: Browser) -> None:
    body = browser.get("/console/endpoints").body
    section = body.partition('<section id="word-count">')[2].partition("</section>")[0]
    for told in (
        "the cheapest with a p95 within <b>250 ms</b>",
        "p95 at most <b>900 ms</b>",
        "control <b>10",
        "blocks of 3600 s",
        "strategies <b>weekend_scale_down</b>",
        "tier 2",
        "pinned by <b>ada</b> at 2026-11-23 09:00:00.000 UTC: the &lt;others&gt; are slow, until <b>2027-11-23",
    ):
        assert told in section
    assert "weights:" not in section
    plain = body.partition('<section id="compress">')[2].partition("</section>")[0]
    assert "weights:" in plain
    assert not any(word in plain for word in ("p95 at most", "control", "strategies", "tier "))


def test_endpoints_are_shown_with_their_folded_state_and_never_with_a_breaker_of_their_own(browser: Browser) -> None:
    body = browser.get("/console/endpoints").body
    assert "aws-use1" in body
    assert "not called yet" in body
    assert "half_open" not in body


def test_copies_whose_answers_differ_are_shown_with_the_first_invocation_that_showed_it(
    world: World, browser: Browser
) -> None:
    found = [each for each in world.log.latest(200) if each.shadow and each.shadow.outcome is ShadowOutcome.DIFFERS]
    first = min(found, key=lambda record: record.timestamp)
    assert first.shadow is not None
    page = browser.get("/console/endpoints").body
    assert "differs from another in" in page
    assert f'console/invocations/{first.invocation_id}">{first.shadow.place}' in page
    told = browser.get(f"/console/invocations/{first.invocation_id}").body
    assert f"Also answered by {first.shadow.endpoint}, to compare: it differs, first in {first.shadow.place}" in told


def test_a_filter_shows_only_what_it_admits(world: World, browser: Browser) -> None:
    failovers = [record for record in world.log.latest(500) if record.decision.reason is Reason.FAILOVER]
    body = browser.get("/console/invocations", "reason=failover&function=&provider=").body
    assert body.count("<tr>") - 1 == len(failovers) > 0
    assert all(record.invocation_id in body for record in failovers)


def test_paging_shows_every_record_once_even_when_many_came_in_one_instant() -> None:
    world = World()
    for number in range(230):
        world.log.close(a_record(number, timestamp=a_record(number // 60).timestamp))
    browser, query, seen = browse(world), "", list[str]()
    while True:
        links = parse(browser.get("/console/invocations", query).body).addresses
        seen.extend(link.rpartition("/")[2] for link in links if "invocations/" in link)
        older = [link for link in links if "before=" in link]
        if not older:
            break
        query = urlsplit(older[-1]).query
    assert sorted(seen) == sorted(world.log.records)


def test_a_decision_on_score_is_explained_with_its_runner_up(world: World, browser: Browser) -> None:
    record = first(world, Reason.SCORE)
    body = browser.get(f"/console/invocations/{record.invocation_id}").body
    score = record.decision.candidates[0].score
    assert f"{record.result.cloud_provider} {record.result.region} was chosen on score: {score:.3f}" in body
    assert "Next came" in body
    assert all(candidate.endpoint in body for candidate in record.decision.candidates)


def test_a_failover_is_explained_by_what_failed_before_it(world: World, browser: Browser) -> None:
    record = first(world, Reason.FAILOVER)
    body = browser.get(f"/console/invocations/{record.invocation_id}").body
    assert "was called by failover, after the first choice had failed: azure eastus could not be reached" in body
    assert "could not be reached (network: " in body


def test_an_abandoned_record_says_that_nobody_can_tell(world: World, browser: Browser) -> None:
    record = next(record for record in world.log.latest(9) if record.status is RecordStatus.UNKNOWN)
    body = browser.get(f"/console/invocations/{record.invocation_id}").body
    assert "Nobody can tell how this ended" in body


def test_an_open_record_is_shown_as_still_running(world: World, browser: Browser) -> None:
    record = next(record for record in world.log.records.values() if isinstance(record, OpenRecord))
    assert "Still running" in browser.get(f"/console/invocations/{record.invocation_id}").body


def test_a_decision_is_readable_when_its_endpoints_have_left_the_catalog() -> None:
    world = World()
    record = changed(busy_world(3).log.latest(9)[-1], function_name=a_record().request.function_name)
    world.log.close(record)
    world.snapshots.publish(a_snapshot())
    answer = browse(world).get(f"/console/invocations/{record.invocation_id}")
    assert answer.status == 200
    assert "not in the catalog any more" in answer.body


@pytest.mark.parametrize("field", ["function_name", "user_region", "region", "model_version", "tenant", "endpoint"])
def test_what_a_record_holds_is_never_markup(field: str) -> None:
    hostile = "</pre><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    world = World()
    changes: dict[str, Any] = {field: hostile}
    record = a_record(**changes)
    world.log.close(record)
    for path in ("/console", "/console/invocations", "/console/models", f"/console/invocations/{record.invocation_id}"):
        answer = browse(world).get(path)
        assert answer.status == 200
        assert "<script>alert" not in answer.body
        assert "<img src=x" not in answer.body


def test_a_record_that_lost_its_candidates_is_still_shown() -> None:
    world = World()
    world.log.close(a_record(candidates=()))
    answer = browse(world).get(f"/console/invocations/{a_record().invocation_id}")
    assert answer.status == 200
    assert "the record does not say why" in answer.body


def test_an_open_record_is_never_markup_either() -> None:
    world = World()
    world.log.open(an_open_record(function_name="<b>bold</b>"))
    assert "<b>bold" not in browse(world).get(f"/console/invocations/{an_open_record().invocation_id}").body


def test_retraining_runs_are_shown_with_their_reasons(browser: Browser) -> None:
    body = browser.get("/console/models").body
    assert "212 rows are too few" in body
    assert body.index("promoted") < body.index("refused")
