"""`fiso smoke`: what it asks of a stage, in order, and that the first thing that is not so ends it."""

import json
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner, Result

from fiso import __version__
from fiso_cli.main import app
from tests.functional.lease_servers import serving

HEALTH = {"status": "ok", "code_version": __version__, "snapshot_version": 7}
ENDPOINTS = {"endpoints": [{"function": "bfs", "id": "aws"}, {"function": "bfs", "id": "gcp"}]}


class Stage:
    """Answers as a stage would, but for what is `other`: by path, a status and a document."""

    def __init__(self, **other: tuple[int, object]) -> None:
        self.other, self.asked = other, list[str]()

    def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        is_signed = "authorization" in headers
        name = path.split("/")[-2 if path.count("/") > 2 else -1]
        self.asked.append(name if is_signed or name == "healthz" else "stranger")
        key = name if is_signed or name == "healthz" else "stranger"
        usual = {"healthz": HEALTH, "endpoints": ENDPOINTS, "explain": {"chosen": "aws"}, "invoke": {"done": True}}
        status, document = self.other.get(key, (403, {}) if key == "stranger" else (200, usual.get(name, {})))
        return status, {"content-type": "application/json", "x-fiso-provider": "aws"}, json.dumps(document).encode()


def run(stage: Stage, *arguments: str) -> Result:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
    with serving(stage) as server:
        words = ["smoke", *arguments, "--stage", "prod", "--api-url", server.url]
        return CliRunner().invoke(app, words, env=keys)


def test_a_stage_that_is_well_is_asked_five_things_and_calls_nothing_unasked() -> None:
    stage = Stage()
    result = run(stage)
    assert (result.exit_code, stage.asked) == (0, ["healthz", "stranger", "endpoints", "explain"])
    assert "2 copies of 1 functions" in result.stdout
    called = Stage()
    assert run(called, "bfs", "--call", "--data", "x").exit_code == 0
    assert called.asked[-1] == "invoke"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"healthz": (200, HEALTH | {"code_version": "0.0.0"})}, "version 0.0.0 answers"),
        ({"healthz": (200, HEALTH | {"snapshot_version": None})}, "no catalog is read"),
        ({"healthz": (503, {})}, "status 503"),
        ({"stranger": (200, ENDPOINTS)}, "is answered 200"),
        ({"endpoints": (200, {"endpoints": []})}, "no function is routed to"),
        ({"endpoints": (200, {"endpoints": "?"})}, "no function is routed to"),
        ({"explain": (503, {})}, "status 503"),
    ],
)
def test_the_first_thing_that_is_not_so_fails_it(other: dict[str, tuple[int, object]], says: str) -> None:
    result = run(Stage(**other))
    failed = [line for line in result.stdout.splitlines() if line.startswith("FAILED")]
    assert result.exit_code == 1
    assert len(failed) == 1
    assert says in failed[0]


def test_a_function_that_fails_fails_it() -> None:
    assert run(Stage(invoke=(502, {})), "bfs", "--call").exit_code == 1
    assert "there is no function nobody" in run(Stage(), "nobody").stdout
