"""`fiso token`, the key behind it, and how the command line shows a token."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.domain.errors import NotAuthenticated
from fiso.testing.clock import ManualClock
from fiso_cli.errors import CommandError
from fiso_cli.main import app
from fiso_cli.traffic.gateway import ShownToken, gateway_of
from localcloud.issuer.tokens import KEY_FILE, signer_in
from tests.tokens import FixedKeys

ISSUER = "http://127.0.0.1:5574"


def run(folder: Path, *words: str) -> Result:
    environ = {"FISO_LOCAL_DIR": str(folder), "FISO_LOCAL_PORT": "5566"}
    return CliRunner().invoke(app, ["token", *words], env=environ)


def verifier(folder: Path, *, later: timedelta = timedelta()) -> JwtVerifier:
    keys = FixedKeys.of(signer_in(folder / "issuer"))
    clock = ManualClock(datetime.now(UTC) + later)
    return JwtVerifier(keys, issuer=ISSUER, audiences=["fiso"], clock=clock, tenant_claim="tenant")


def test_a_token_says_what_was_asked_for_and_the_verifier_believes_it(tmp_path: Path) -> None:
    done = run(tmp_path, "--tenant", "acme", "--subject", "ada", "--scope", "fiso:read", "--scope", "a b")
    claims = verifier(tmp_path).verify(done.stdout.strip())
    assert (claims.subject, str(claims.tenant)) == ("ada", "acme")
    assert claims.scopes == {"fiso:read", "a", "b"}


def test_a_token_expires_when_it_was_told_to(tmp_path: Path) -> None:
    document = json.loads(run(tmp_path, "--expires", "15m", "--json").stdout)
    left = datetime.fromisoformat(document["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    assert verifier(tmp_path).verify(document["token"]).expires_at is not None
    with pytest.raises(NotAuthenticated):
        verifier(tmp_path, later=timedelta(minutes=17)).verify(document["token"])


def test_the_key_stays_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "issuer" / KEY_FILE
    before = path.read_bytes()
    run(tmp_path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == [KEY_FILE]


def test_two_that_make_the_key_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(max_workers=1) as one, ThreadPoolExecutor(max_workers=1) as other:
        found = [executor.submit(signer_in, tmp_path) for executor in (one, other)]
    assert len({future.result().id for future in found}) == 1


def test_another_clouds_tokens_are_not_believed(tmp_path: Path) -> None:
    token = run(tmp_path / "theirs").stdout.strip()
    with pytest.raises(NotAuthenticated):
        verifier(tmp_path / "ours").verify(token)


@pytest.mark.parametrize(
    "words",
    [
        ("--expires", "1"),
        ("--expires", "0s"),
        ("--expires", "31d"),
        ("--expires", "9999999d"),
        ("--expires", "٣m"),
        ("--tenant", ""),
        ("--tenant", "a\nb"),
        ("--tenant", "x" * 65),
        ("--subject", "é"),
        ("--scope", ""),
        ("--scope", 'a"b'),
    ],
)
def test_what_cannot_be_is_told_in_one_line(tmp_path: Path, words: tuple[str, str]) -> None:
    done = run(tmp_path, *words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert words[0] in done.stderr


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_key_file_that_holds_none_is_told_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(CommandError, match="delete it"):
        signer_in(tmp_path)


def test_calls_show_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISO_TOKEN", "a.b.c")
    for stage in ("local", "prod"):
        auth = gateway_of(stage, "http://127.0.0.1:1").auth
        assert isinstance(auth, ShownToken)
        request = next(auth.auth_flow(httpx.Request("GET", "http://127.0.0.1:1/")))
        assert request.headers["authorization"] == "Bearer a.b.c"


@pytest.mark.parametrize("text", ["a b", "a\nb", "é"])
def test_what_is_no_token_is_not_sent(text: str) -> None:
    with pytest.raises(CommandError, match="FISO_TOKEN"):
        ShownToken(text)
