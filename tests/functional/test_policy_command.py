"""`fiso policy pin` and `unpin` where the catalog's database cannot be reached: by the API."""

import json

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.main import app
from tests.functional.lease_servers import serving

ANSWER = {"function": "bfs", "published_version": 7, "mode": "pin:aws", "until": None}
ENVIRON = {"FISO_TOKEN": "a.b.c", "AWS_REGION": "us-east-1", "FISO_DATABASE_URL": ""}


class Api:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, object]] = []
        self.status = 200

    def respond(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        self.asked.append((path, headers.get("authorization", ""), json.loads(body or b"{}")))
        if self.status != 200:
            problem = {"type": "about:blank", "title": "Not allowed", "status": 403, "detail": "needs fiso:admin"}
            return self.status, {"content-type": "application/problem+json"}, json.dumps(problem).encode()
        return 200, {"content-type": "application/json"}, json.dumps(ANSWER).encode()


def run(url: str, *words: str, **environ: str) -> Result:
    asked = ["policy", *words, "--stage", "prod", "--api-url", url, "--no-wait"]
    return CliRunner().invoke(app, asked, env={**ENVIRON, **environ})


@pytest.mark.parametrize("environ", [{}, {"FISO_DATABASE_URL": "postgresql://fiso@127.0.0.1:1/fiso"}])
@pytest.mark.parametrize("words", [(), ("--via", "api")])
def test_without_a_database_the_api_is_asked(words: tuple[str, ...], environ: dict[str, str]) -> None:
    api = Api()
    with serving(api.respond) as server:
        done = run(server.url, "pin", "bfs", "aws", "--reason", "slow", "--for", "1h", *words, **environ)
        lifted = run(server.url, "unpin", "bfs", *words, **environ)
    assert (done.exit_code, lifted.exit_code) == (0, 0), done.output
    assert "catalog version 7: bfs is pin:aws" in done.output
    (path, shown, body), (_, _, of_unpin) = api.asked
    assert (path, shown, of_unpin) == ("/api/policies/bfs/pin", "Bearer a.b.c", {})
    assert isinstance(body, dict)
    assert (body["endpoint"], body["reason"], "until" in body) == ("aws", "slow", True)


def test_what_the_api_refuses_is_one_line() -> None:
    api = Api()
    api.status = 403
    with serving(api.respond) as server:
        done = run(server.url, "pin", "bfs", "aws")
    assert (done.exit_code, "needs fiso:admin" in done.output) == (1, True)


def test_whoever_wants_the_database_is_told_that_it_is_not_there() -> None:
    done = run("http://127.0.0.1:1", "pin", "bfs", "aws", "--via", "database")
    assert (done.exit_code, "FISO_DATABASE_URL is not set" in done.output) == (1, True)
    assert run("http://127.0.0.1:1", "pin", "bfs", "aws", "--via", "mail").exit_code == 2
