"""What an on-call engineer asks, answered by the console in a real browser, in at most two clicks from the overview."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from werkzeug.serving import make_server

from fiso.testing.clock import ManualClock
from functions.console import app
from tests.builders import invocation_id
from tests.functional.chromium import CHROMIUM, Tab, a_tab
from tests.functional.console_world import World
from tests.functional.night_world import BEGAN_BEFORE, a_night

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install Debian's package chromium"),
    pytest.mark.timeout(300),
]
ROW = "#functions ~ .scroll tbody tr:first-child"
FUNCTION = f"{ROW} th a"
QUESTIONS = {
    "which function is failing": ([], ["compress\tfailing"]),
    "since when": ([FUNCTION], ["Failing since 2026-11-23"]),
    "whose fault": ([], ["function 80"]),
    "who is affected": ([FUNCTION], ["acme\t80"]),
    "what changed": (["nav a[href$='changes']"], ["compress\tmax attempts\t3\t1", "Version 4"]),
    "what does it cost": ([FUNCTION], ["Cost", "per million calls"]),
    "what can I switch off": ([FUNCTION], ["Send everything to", "Why", "aws-use1"]),
    "which copy is it": ([FUNCTION], ["azure-eus\tazure eastus"]),
    "is a breaker open, a canary stopped, a pin set": (
        [],
        ["breaker open", "canary on trial", "pinned by ada"],
    ),
    "what did a failed request look like": (
        [f"{ROW} td a[href*='verdict=function']", ".rows tbody th a"],
        ["MemoryError in handler"],
    ),
    "how sure is that, and what is to be done": (
        ["nav a[href$='diagnosis']"],
        ["80 of 80 calls since 2026-11-23", "its siblings did well in 39 of 39 calls", "look at this copy's log"],
    ),
    "which model decides, and has anything drifted": (["nav a[href$='models']"], ["2026-11-23-a1b2c3"]),
}
PAGES = ("", "/functions/compress", "/changes", "/endpoints", "/diagnosis", "/invocations", "/models", "/nowhere")


@pytest.fixture(scope="module")
def world() -> World:
    return a_night()


@pytest.fixture(scope="module")
def console(world: World) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app.create(world.sources, stage="local"), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/console"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with a_tab(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_of_the_night_is_answered_in_two_clicks(question: str, console: str, tab: Tab) -> None:
    clicks, wanted = QUESTIONS[question]
    assert len(clicks) <= 2
    tab.open(console)
    for selector in clicks:
        tab.click(selector)
    text = tab.text
    assert [part for part in wanted if part not in text] == [], text


def test_it_is_told_since_when_to_the_minute(world: World, console: str, tab: Tab) -> None:
    tab.open(f"{console}/functions/compress")
    began = world.clock() - BEGAN_BEFORE
    assert f"Failing since {began:%Y-%m-%d %H:%M}" in tab.text


def test_a_pin_is_ordered_with_its_reason_by_a_form_of_the_console_alone(world: World, console: str, tab: Tab) -> None:
    tab.open(f"{console}/functions/pixels")
    tab.click("form:last-of-type input[name=reason]", leads=False)
    tab.type("azure is away")
    tab.click("form:last-of-type button")
    assert tab.address.endswith("/console/functions/pixels")
    (order,) = world.orders
    assert (order.function, order.endpoint, order.reason, order.by) == ("pixels", "gcp-usc1", "azure is away", "local")
    for origin in ({}, {"origin": "https://elsewhere.example"}, {"origin": "null"}):
        sent = httpx.post(f"{console}/functions/pixels/pin", data={"endpoint": "aws-use1"}, headers=origin)
        assert sent.status_code == 403
    assert len(world.orders) == 1


def test_an_invocation_is_found_by_its_id(console: str, tab: Tab) -> None:
    tab.open(console)
    tab.click("input[name=id]", leads=False)
    tab.type(f" {invocation_id(1001)} ")
    tab.click("form[role=search] button")
    assert tab.address.endswith(f"/console/invocations/{invocation_id(1001)}")


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: npm ci")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_axe_finds_no_violation(page: str, scheme: str, console: str, tab: Tab) -> None:
    tab.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    width = 390 if scheme == "dark" else 1280
    tab.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=False)
    tab.open(console + page)
    tab.evaluate(AXE.read_text())
    found = tab.evaluate(
        "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}).then(r => r.violations.map("
        "v => v.id + ': ' + v.nodes.map(n => n.target.join(' ') + ' ' + n.failureSummary).slice(0, 3).join('; ')))"
    )
    assert found == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing leaves the page sideways"


def test_everything_can_be_reached_by_the_keyboard(console: str, tab: Tab) -> None:
    tab.open(console)
    wanted = tab.evaluate("[...document.querySelectorAll('main a, main input, main button')].length")
    count = tab.evaluate(
        "[...document.querySelectorAll('main a, main input, main button')].filter(e => e.tabIndex >= 0).length"
    )
    assert 0 < wanted == count


def test_a_range_that_is_over_is_shown_as_it_was(world: World, console: str, tab: Tab) -> None:
    assert isinstance(world.clock, ManualClock)
    until = world.clock() - timedelta(minutes=13)
    tab.open(f"{console}/functions/compress?since=15m&until={until:%Y-%m-%dT%H:%M:%SZ}")
    assert "acme\t" not in tab.text.partition("Who is affected")[0]
    assert "Switch off" in tab.text
