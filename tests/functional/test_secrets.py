"""Canary secrets from every side, once around: the fast part of the experiment `secrets`."""

import io
import json
import logging
from pathlib import Path

from fiso import telemetry
from tests.lab.chaos.experiment import Setting
from tests.lab.chaos.experiments import secrets


def test_no_canary_reaches_a_log_a_record_or_an_answer(tmp_path: Path) -> None:
    setting = Setting(is_quick=True, seed=7, folder=tmp_path, say=lambda _: None)
    found = secrets.tried(setting, rounds=1)
    assert found.leaks == {"log": [], "records": [], "answers": []}
    assert found.forged_lines == 0
    assert min(found.requests, found.lines) > 500
    assert found.passed == found.passed_wanted > 15, "a function's own answer passes as it is"


def test_a_line_has_allowed_fields_only_and_names_those_left_out() -> None:
    handler = telemetry.logger().registered_handler
    assert isinstance(handler, logging.StreamHandler)
    lines = io.StringIO()
    before = handler.setStream(lines)
    try:
        logging.getLogger("fiso.test").info("hello", extra={"endpoint": "e\x1b", "body": "{}"})
    finally:
        handler.setStream(before or handler.stream)
    line = json.loads(lines.getvalue())
    assert line["message"] == "hello"
    assert line["endpoint"] == r"e\x1b"
    assert line["fields_left_out"] == ["body"]
    assert "body" not in line
