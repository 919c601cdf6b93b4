"""`fiso report savings` over a file of records."""

import json
from datetime import timedelta
from pathlib import Path

from typer.testing import CliRunner, Result

from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.record import InvocationRecord
from fiso_cli.main import app
from tests.builders import NOW, a_record, an_attempt


def report(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "200"})


def a_log(folder: Path, *, with_control: bool = True) -> Path:
    records = [_record(number, with_control=with_control) for number in range(600)]
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(to_document(record)) + "\n" for record in records), encoding="utf-8")
    return path


def _record(number: int, *, with_control: bool) -> InvocationRecord:
    """Ten minutes apart; every fifth hour is control: home costs twice as much."""
    at = NOW + timedelta(minutes=10 * number)
    is_control = with_control and int(at.timestamp()) // 3600 % 5 == 0
    endpoint, provider = ("azure", Provider.AZURE) if is_control else ("aws", Provider.AWS)
    cost_usd = (60e-6 if is_control else 30e-6) * (1 + number % 7 / 50)
    attempt = an_attempt(endpoint, latency_ms=400.0 if is_control else 250.0, started_at=at, cost_usd=cost_usd)
    return a_record(
        number,
        timestamp=at,
        endpoint=EndpointId(endpoint),
        cloud_provider=provider,
        reason=Reason.CONTROL if is_control else Reason.SCORE,
        cost_usd=cost_usd,
        attempts=(attempt,),
    )


def test_says_what_was_saved_net_and_what_to_do(tmp_path: Path) -> None:
    shown = report("savings", "--log", a_log(tmp_path))
    assert shown.exit_code == 0, shown.output
    assert "word-count: route: it saves money, net" in shown.output
    found = json.loads(report("savings", "--log", a_log(tmp_path), "--json").output)
    (function,) = found["functions"]
    money = function["money"]
    parts = sum(money[name] for name in ("router", "egress", "exploration", "warming"))
    assert abs(money["net"]["value"] - (money["gross"] - parts)) < 1e-12
    assert 10e-6 < money["net"]["value"] < 20e-6  # a request in ten minutes shares no batch with another
    assert "USD a month beside that, whatever it routes" in shown.output
    assert function["advice"] == "route"


def test_without_a_control_share_nothing_is_recommended(tmp_path: Path) -> None:
    shown = report("savings", "--log", a_log(tmp_path, with_control=False))
    assert shown.exit_code == 0, shown.output
    assert "not enough data: no control requests: set control_share" in shown.output


def test_a_file_that_is_no_log_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{}\n", encoding="utf-8")
    shown = report("savings", "--log", path)
    assert shown.exit_code == 2
    assert "line 1" in shown.output
    assert report("savings", "--log", path, "--since", "soon").exit_code == 2
