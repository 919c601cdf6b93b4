"""Faults as the command sends them, against a listener that takes the proxy's place on its port."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from localcloud import faults
from localcloud.layout import LocalCloud


class Control(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent and answers with the status it was given."""

    sent: list[object]
    status: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.sent.append((self.path, json.loads(body)))
        answer = json.dumps({"error": "not that one"}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Silent."""


@contextmanager
def control(status: int = 200) -> Iterator[tuple[LocalCloud, list[object]]]:
    sent: list[object] = []
    handler = type("Control", (Control,), {"sent": sent, "status": status})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield a_cloud(server.server_address[1]), sent
        finally:
            server.shutdown()
            thread.join()


def a_cloud(control_port: int) -> LocalCloud:
    cloud = LocalCloud(root=Path("/"), state=Path("/nowhere"), base_port=control_port - 3)
    assert cloud.port("provider-proxy") == control_port
    return cloud


def test_kill_slow_and_heal_name_the_provider() -> None:
    with control() as (cloud, sent):
        faults.kill(cloud, "aws")
        faults.slow(cloud, "azure", 2.5)
        faults.heal(cloud, "aws")
    assert sent == [
        ("/fault", {"provider": "aws", "kind": "kill"}),
        ("/fault", {"provider": "azure", "kind": "slow", "factor": 2.5}),
        ("/fault", {"provider": "aws", "kind": "heal"}),
    ]


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("nan"), float("inf")])
def test_a_factor_that_slows_nothing_is_refused_before_anything_is_sent(factor: float) -> None:
    with control() as (cloud, sent), pytest.raises(CommandError, match="from 1 up"):
        faults.slow(cloud, "aws", factor)
    assert sent == []


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with control() as (cloud, sent), pytest.raises(CommandError, match="aws, azure, gcp"):
        faults.kill(cloud, "ibm")
    assert sent == []


def test_a_refusal_is_passed_on() -> None:
    with control(status=409) as (cloud, _), pytest.raises(CommandError, match="409: not that one"):
        faults.kill(cloud, "aws")


def test_a_cloud_that_is_down_is_told() -> None:
    with control() as (cloud, _):
        pass
    with pytest.raises(CommandError, match="fiso local up"):
        faults.kill(cloud, "aws")
