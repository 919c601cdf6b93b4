"""The dashboard in the tree: Grafana's own types take it, each query is of metrics and labels that a scrape has, and
Prometheus answers it (where there is one: FISO_PROMETHEUS names the folder of `prometheus` and `promtool`)."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from fiso.testing.rig import Rig
from tests.emulator import free_port
from tests.exposition import samples_of
from tests.functional.test_metrics import used

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "docs/grafana/fiso.json").read_text())
BINARIES = os.environ.get("FISO_PROMETHEUS", "")
prometheus = shutil.which("prometheus", path=BINARIES or None)
promtool = shutil.which("promtool", path=BINARIES or None)
TARGETS = [
    pytest.param(target["expr"].replace("$__rate_interval", "1m").replace("$function", ".+"), id=panel["title"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


@pytest.fixture(scope="module")
def labels_by_metric() -> dict[str, set[str]]:
    rig = used()
    rig.advance(20)
    found: dict[str, set[str]] = {}
    for series in samples_of(rig.request("GET", "/metrics").body.decode()):
        found.setdefault(series.name, set()).update(label for label, _ in series.labels)
    return found


def selectors(node: Any, grouped: frozenset[str] = frozenset()) -> Iterator[tuple[str, set[str]]]:
    """Each metric of an expression, with the labels that it is chosen or summed by."""
    match node:
        case promql_parser.VectorSelector():
            yield str(node.name), {matcher.name for matcher in node.matchers.matchers} | grouped
        case promql_parser.MatrixSelector():
            yield from selectors(node.vector_selector, grouped)
        case promql_parser.AggregateExpr():
            by = frozenset(node.modifier.labels) if node.modifier else frozenset()
            yield from selectors(node.expr, grouped | by)
        case promql_parser.Call():
            for each in node.args:
                yield from selectors(each, grouped)
        case promql_parser.BinaryExpr():
            yield from selectors(node.lhs, grouped)
            yield from selectors(node.rhs, grouped)
        case promql_parser.ParenExpr():
            yield from selectors(node.expr, grouped)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise AssertionError(f"no test knows {type(node).__name__}")


def test_grafanas_own_types_take_the_dashboard_and_no_two_panels_overlap() -> None:
    panels = Dashboard.from_json(DASHBOARD).panels or []
    assert len(panels) == len(DASHBOARD["panels"]) > 10
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


@pytest.mark.parametrize("expr", TARGETS)
def test_each_query_is_of_metrics_and_labels_that_a_scrape_has(
    expr: str, labels_by_metric: dict[str, set[str]]
) -> None:
    found = list(selectors(promql_parser.parse(expr)))
    assert found
    for metric, labels in found:
        assert labels <= labels_by_metric[metric], metric


def test_each_metric_is_on_the_dashboard(labels_by_metric: dict[str, set[str]]) -> None:
    shown = {metric for each in TARGETS for metric, _ in selectors(promql_parser.parse(str(each.values[0])))}
    assert set(labels_by_metric) - shown <= {
        "fiso_invocation_duration_seconds_sum",
        "fiso_invocation_duration_seconds_count",
    }


@pytest.mark.skipif(promtool is None, reason="no promtool")
def test_promtool_has_nothing_to_say() -> None:
    rig = used()
    rig.advance(20)
    text = rig.request("GET", "/metrics").body
    done = subprocess.run([str(promtool), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode(), done.stdout.decode()) == (0, "", "")


RULES = ROOT / "docs/grafana/fiso-rules.yml"
OF_RULES = [
    pytest.param(rule["expr"], id=rule["alert"])
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
]


@pytest.mark.parametrize("expr", OF_RULES)
def test_each_rule_is_of_metrics_and_labels_that_a_scrape_has(expr: str, labels_by_metric: dict[str, set[str]]) -> None:
    found = list(selectors(promql_parser.parse(expr)))
    assert len(found) == 6
    for metric, labels in found:
        assert labels <= labels_by_metric[metric], metric


def rule_tests(errors_a_minute: int) -> dict[str, Any]:
    """100 requests a minute for an hour, so many of which end in an error, of a function that promises 99 %."""
    series = {
        'fiso_invocations_total{function="f", status="success"}': f"0+{100 - errors_a_minute}x60",
        'fiso_invocations_total{function="f", status="error"}': f"0+{errors_a_minute}x60",
        'fiso_invocations_total{function="other", status="error"}': "0+100x60",
        'fiso_objective_ratio{function="f", objective="availability"}': "0.99x60",
    }
    labels = {"function": "f", "severity": "page"}
    told = yaml.safe_load(RULES.read_text())["groups"][0]["rules"][0]["annotations"]
    summary = {**told, "summary": told["summary"].replace("{{ $labels.function }}", "f")}
    rings = [{"exp_labels": labels, "exp_annotations": summary}] if errors_a_minute > 14.4 else []
    return {
        "rule_files": [str(RULES)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": "60m", "alertname": "FisoAvailabilityBurnsFast", "exp_alerts": rings}
                ],
            }
        ],
    }


@pytest.mark.skipif(promtool is None, reason="no promtool")
@pytest.mark.parametrize("errors_a_minute", [14, 15])
def test_a_function_that_burns_14_times_what_it_promised_rings_and_no_other(
    errors_a_minute: int, tmp_path: Path
) -> None:
    (tmp_path / "tests.yml").write_text(json.dumps(rule_tests(errors_a_minute)))
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(tmp_path / "tests.yml")]):
        done = subprocess.run([str(promtool), *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def served(rig: Rig) -> Iterator[int]:
    """The rig's `/metrics` over HTTP; with each scrape it has served some requests more."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            for _ in range(3):
                rig.invoke("word-count", body=b"{}")
                rig.advance(6)
            answer = rig.request("GET", self.path)
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def scraping(port: int, home: Path) -> Iterator[str]:
    """A genuine Prometheus that scrapes it each second."""
    own = free_port()
    config = home / "prometheus.yml"
    jobs = [{"job_name": "fiso", "scrape_interval": "1s", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}]
    config.write_text(json.dumps({"scrape_configs": jobs}))
    command = [f"--config.file={config}", f"--storage.tsdb.path={home}", f"--web.listen-address=127.0.0.1:{own}"]
    with subprocess.Popen([str(prometheus), *command], stderr=subprocess.DEVNULL) as running:
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            running.terminate()


def ask(url: str, expr: str) -> list[dict[str, Any]]:
    try:
        with urlopen(f"{url}/api/v1/query?query={quote(expr)}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


@pytest.mark.skipif(prometheus is None, reason="no prometheus")
def test_a_genuine_prometheus_scrapes_it_and_answers_each_query(tmp_path: Path) -> None:
    with served(used()) as port, scraping(port, tmp_path) as url:
        until = time.monotonic() + 30
        while time.monotonic() < until and not ask(url, "count_over_time(up[1m]) > 4"):
            time.sleep(0.5)
        assert ask(url, "min_over_time(up[1m])")[0]["value"][1] == "1"
        for each in TARGETS:
            found = ask(url, str(each.values[0]).removesuffix(" > 0"))
            # of a copy that was not called a share is none
            assert [result for result in found if result["value"][1] != "NaN"], each.id
