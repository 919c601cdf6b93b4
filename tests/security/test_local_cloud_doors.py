"""The local cloud's doors: under which names, for which pages, for whose processes and with which key they open."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials as BotoCredentials

from fiso_cli.access_key import NONE_YET, AccessKey
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT
from fiso_client.core.signing import AwsEndpoint, Credentials, sign
from localcloud import private, signatures
from localcloud.doors import Door, Visit, is_of_owner, refusal
from localcloud.emulator_door import behind_door, peer_of
from localcloud.layout import LocalCloud
from localcloud.signatures import BadSignatureError, Request

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
PORT = 4566
KEY = AccessKey(id="FISO0011223344556677", secret="the-secret")
NOBODY_ELSE = 65533


@pytest.fixture
def caller() -> Iterator[tuple[tuple[str, int], int]]:
    """The address of a connection of this process, and the port it was made to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection:
            yield connection.getsockname(), port


def answer(
    door: Door, caller: tuple[tuple[str, int], int], headers: dict[str, str], *, is_signed: bool = False
) -> str | None:
    peer, port = caller
    filled = {name: value.replace(f":{PORT}", f":{port}") for name, value in headers.items()}
    return refusal(Visit(headers=filled, caller=peer, port=port), door, is_signed=is_signed)


@pytest.mark.parametrize("host", ["127.0.0.1:4566", "localhost:4566", "[::1]:4566", "LOCALHOST:4566"])
@pytest.mark.parametrize("door", list(Door))
def test_every_door_opens_under_the_names_of_loopback(
    door: Door, host: str, caller: tuple[tuple[str, int], int]
) -> None:
    assert answer(door, caller, {"host": host}) is None


FOREIGN_HOSTS = [
    "",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:80",
    "attacker.test",
    "attacker.test:4566",
    "127.0.0.1.attacker.test:4566",
    "attacker.test:4566,127.0.0.1:4566",
    "127.0.0.1:4566@attacker.test",
    "localhost.:4566",
    "0.0.0.0:4566",
    "192.168.1.7:4566",
    "127.0.0.1:4566 ",
    "a.execute-api.localhost:4566",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("door", list(Door))
def test_no_door_opens_under_another_name(door: Door, host: str, caller: tuple[tuple[str, int], int]) -> None:
    assert answer(door, caller, {"host": host} if host else {}) == "the request is for another host"


def test_a_signed_request_may_name_the_port_of_whatever_passed_it_on(caller: tuple[tuple[str, int], int]) -> None:
    assert answer(Door.CONTROL, caller, {"host": "127.0.0.1:1"}, is_signed=True) is None
    assert answer(Door.CONTROL, caller, {"host": "attacker.test:1"}, is_signed=True) is not None


PAGES = [
    {"origin": "https://attacker.test"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:4566"},  # a routed function's page has the emulator's origin
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "none"},
    {"sec-fetch-site": "same-origin"},
]


@pytest.mark.parametrize("said", PAGES)
@pytest.mark.parametrize("door", [Door.CONTROL, Door.FUNCTION])
def test_no_page_gets_to_control_and_function_ports(
    door: Door, said: dict[str, str], caller: tuple[tuple[str, int], int]
) -> None:
    assert answer(door, caller, {"host": "127.0.0.1:4566", **said}) == "pages have no business here"


def test_what_fiso_passes_on_may_say_what_its_callers_browser_said(caller: tuple[tuple[str, int], int]) -> None:
    passed_on = {"host": "127.0.0.1:4566", "origin": "https://shop.test", "x-fiso-invocation-id": "i"}
    assert answer(Door.FUNCTION, caller, passed_on) is None
    assert answer(Door.CONTROL, caller, passed_on) is not None


@pytest.mark.parametrize(("origin", "opens"), [("http://127.0.0.1:4566", True), ("null", False), ("http://x", False)])
def test_a_ports_own_page_may_send_its_form_and_no_others(
    origin: str, opens: bool, caller: tuple[tuple[str, int], int]
) -> None:
    assert (answer(Door.PAGE, caller, {"host": "127.0.0.1:4566", "origin": origin}) is None) == opens


def test_the_front_door_leaves_origins_to_the_stages_policies(caller: tuple[tuple[str, int], int]) -> None:
    headers = {"host": "127.0.0.1:4566", "origin": "https://shop.test", "sec-fetch-site": "cross-site"}
    assert answer(Door.API, caller, headers) is None


def test_a_connection_that_is_gone_belongs_to_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = socket.create_connection(server.getsockname())
        accepted, peer = server.accept()
        with accepted:
            assert is_of_owner(peer, server.getsockname())
            connection.close()
            assert not is_of_owner(peer, server.getsockname())


@contextmanager
def another_users_connection(port: int) -> Iterator[tuple[str, int]]:
    """The address of a connection that a process of another user holds."""
    script = (
        # the interpreter's files may be closed to that user: what is needed is loaded before
        f"import encodings.idna, os, socket, sys; os.setuid({NOBODY_ELSE}); "
        f"c = socket.create_connection(('127.0.0.1', {port})); "
        "print(*c.getsockname(), flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-I", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        host, own_port = child.stdout.readline().split()
        yield host, int(own_port)
        assert child.stdin is not None
        child.stdin.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("door", list(Door))
def test_no_door_opens_to_another_users_process(door: Door) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with another_users_connection(port) as peer:
            visit = Visit(headers={"host": f"127.0.0.1:{port}"}, caller=peer, port=port)
            assert refusal(visit, door) == "only processes of the user who started the local cloud may call it"


def request_of(made: AWSRequest) -> Request:
    parts = urlsplit(made.url)
    headers = {name.lower(): value for name, value in made.headers.items()}
    body = made.body if isinstance(made.body, bytes) else b""
    return Request(method=made.method, path=parts.path, query=parts.query, headers=headers, body=body)


def of_the_sdk(service: str, url: str, body: bytes = b"{}", key: AccessKey = KEY) -> Request:
    """A request as botocore signs it, now."""
    made = AWSRequest(method="POST", url=url, data=body, headers={"host": urlsplit(url).netloc})
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(BotoCredentials(key.id, key.secret), service, "us-east-1").add_auth(made)
    return request_of(made)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("dynamodb", "/"),
        (
            "lambda",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A0%3Afunction%3Af/invocations?Qualifier=a%2Fb",
        ),
        ("s3", "/bucket/a%20key/%C3%A9?list-type=2&prefix=a%2Fb&empty="),
        ("logs", "/?b=2&a=1&a=0"),
    ],
)
def test_what_the_sdk_signs_is_let_in(service: str, path: str) -> None:
    signatures.check(of_the_sdk(service, f"http://127.0.0.1:{PORT}{path}"), KEY, now())


@pytest.mark.parametrize("service", ["dynamodb", "s3", "lambda"])
def test_what_fisos_own_clients_and_the_local_cloud_itself_sign_is_let_in(service: str) -> None:
    url, host = f"http://127.0.0.1:{PORT}", f"127.0.0.1:{PORT}"
    body, path = b"body", "/bucket/a%20b"
    digest = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"
    endpoint = AwsEndpoint(service=service, region="us-east-1", url=url)
    headers = sign(
        "PUT", url + path, {"x-own": "1"}, digest, endpoint, Credentials(access_key=KEY.id, secret_key=KEY.secret), NOW
    )
    signatures.check(Request(method="PUT", path=path, query="", headers=headers, body=body), KEY, NOW)
    plain = Request(method="PUT", path=path, query="a=1", headers={"host": host}, body=body)
    own = signatures.signed(plain, KEY, service, "us-east-1", NOW)
    signatures.check(replace(plain, headers=own), KEY, NOW)


def test_a_presigned_address_is_let_in_and_no_longer_when_it_has_ended() -> None:
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{PORT}",
        region_name="us-east-1",
        aws_access_key_id=KEY.id,
        aws_secret_access_key=KEY.secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    parts = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "a b"}, ExpiresIn=60))
    request = Request(method="GET", path=parts.path, query=parts.query, headers={"host": parts.netloc})
    signatures.check(request, KEY, now())
    with pytest.raises(BadSignatureError):
        signatures.check(request, KEY, now() + timedelta(seconds=62))


def forged() -> dict[str, Request]:
    good = of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/?a=1")
    stored = of_the_sdk("s3", f"http://127.0.0.1:{PORT}/b/k")
    text = good.headers["authorization"]

    def said(value: str) -> Request:
        return replace(good, headers={**good.headers, "authorization": value})

    return {
        "unsigned": replace(good, headers={"host": good.headers["host"]}),
        "the known key": of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/", key=AccessKey(id="test", secret="test")),
        "the right id": of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/", key=replace(KEY, secret="test")),
        "before the first start": of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/", key=NONE_YET),
        "an account for an id": of_the_sdk("iam", "http://127.0.0.1:1/", key=AccessKey(id="0" * 12, secret="test")),
        "another body": replace(good, body=b"{} "),
        "another body of an object": replace(stored, body=b"x"),
        "another path": replace(good, path="/x"),
        "another query": replace(good, query="a=2"),
        "another method": replace(good, method="GET"),
        "another host": replace(good, headers={**good.headers, "host": "127.0.0.1:1"}),
        "another date": replace(good, headers={**good.headers, "x-amz-date": "20260101T000000Z"}),
        "no signature": said(text.partition(", Signature=")[0]),
        "an empty signature": said(text.partition("Signature=")[0] + "Signature="),
        "no names": said(text.replace("SignedHeaders=host;", "SignedHeaders=")),
        "a bearer": said("Bearer x"),
        "another algorithm": said(text.replace("HMAC-SHA256", "ECDSA-P256-SHA256")),
        "a query that lacks all else": replace(good, query="X-Amz-Signature=" + "0" * 64),
        "the emulator's dummy": replace(
            good,
            query="X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=600&X-Amz-Signature=ministack-local-presigned"
            f"&X-Amz-Credential={KEY.id}/20260304/us-east-1/s3/aws4_request&X-Amz-Date=20260304T050607Z"
            "&X-Amz-SignedHeaders=host",
        ),
    }


@pytest.mark.parametrize("name", list(forged()))
def test_a_request_that_was_not_signed_as_it_came_is_refused(name: str) -> None:
    with pytest.raises(BadSignatureError):
        signatures.check(forged()[name], KEY, now())


def test_an_old_request_cannot_be_sent_again() -> None:
    request = of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/")
    for skew in (timedelta(minutes=16), -timedelta(minutes=16)):
        with pytest.raises(BadSignatureError, match="not of this time"):
            signatures.check(request, KEY, now() + skew)


def test_a_functions_secret_follows_from_its_id_and_opens_the_door_too() -> None:
    of_function = AccessKey(id="LOCALF", secret=KEY.secret_of("LOCALF"))
    signatures.check(of_the_sdk("dynamodb", f"http://127.0.0.1:{PORT}/", key=of_function), KEY, now())
    assert of_function.secret not in {KEY.secret, KEY.secret_of("LOCALG"), replace(KEY, secret="x").secret_of("LOCALF")}
    assert KEY.secret_of(KEY.id) == KEY.secret


def test_keys_differ_and_are_kept_for_their_owner(tmp_path: Path) -> None:
    first, second = AccessKey.new(), AccessKey.new()
    assert first != second
    assert not first.id.isdigit()
    first.write(tmp_path / "access-key")
    second.write(tmp_path / "access-key")
    assert AccessKey.read(tmp_path / "access-key") == second
    assert stat.S_IMODE((tmp_path / "access-key").stat().st_mode) == 0o600


def a_cloud(state: Path) -> LocalCloud:
    return LocalCloud(root=CHECKOUT, state=state, base_port=PORT)


def test_a_state_that_stood_open_is_closed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "logs").mkdir(parents=True, mode=0o755)
    (state / "run.json").touch(mode=0o644)
    (state / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch(mode=0o644)
    private.folder(a_cloud(state))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.iterdir())}
    assert modes == {"state": 0o700, "logs": 0o700, "run.json": 0o600, "link": 0o644}


@pytest.mark.parametrize("folder", [Path("/"), Path.home(), CHECKOUT, CHECKOUT.parent])
def test_a_folder_that_holds_more_than_the_state_is_never_closed(folder: Path) -> None:
    before = folder.stat().st_mode
    with pytest.raises(CommandError, match="FISO_LOCAL_DIR"):
        private.folder(a_cloud(folder))
    assert folder.stat().st_mode == before


def test_a_folder_that_is_shared_is_never_closed(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    with pytest.raises(CommandError, match="FISO_LOCAL_DIR"):
        private.folder(a_cloud(tmp_path / "shared"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("what", ["state", "link", "link above", "open above", "none"])
def test_a_state_that_another_user_could_replace_is_neither_written_nor_read(what: str, tmp_path: Path) -> None:
    """Whoever puts a folder in its place reads the next key, or names the processes that `down` ends."""
    above = tmp_path / "above"
    state = above / "state"
    (tmp_path / "real" / "state").mkdir(parents=True, mode=0o700)
    match what:
        case "state":
            state.mkdir(parents=True)
            os.chown(state, NOBODY_ELSE, -1)
        case "link":
            above.mkdir()
            state.symlink_to(tmp_path / "real" / "state")
            os.chown(state, NOBODY_ELSE, -1, follow_symlinks=False)
        case "link above":
            above.symlink_to(tmp_path / "real")
            os.chown(above, NOBODY_ELSE, -1, follow_symlinks=False)
        case "open above":
            above.mkdir()
            above.chmod(0o777)
        case _:
            above.symlink_to(tmp_path / "real")
    if what == "none":
        private.folder(a_cloud(state))
        assert LocalCloud.from_environ({"FISO_LOCAL_DIR": str(state)}).state == state
    else:
        with pytest.raises(CommandError, match="FISO_LOCAL_DIR"):
            private.folder(a_cloud(state))
        with pytest.raises(CommandError, match="FISO_LOCAL_DIR"):
            LocalCloud.from_environ({"FISO_LOCAL_DIR": str(state)})


def test_a_link_to_what_holds_more_than_the_state_is_seen_through(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(Path.home())
    before = Path.home().stat().st_mode
    with pytest.raises(CommandError, match="FISO_LOCAL_DIR"):
        private.folder(a_cloud(tmp_path / "link"))
    assert Path.home().stat().st_mode == before


@pytest.mark.parametrize("said", [[], [(b"x-forwarded-proto", b"https")]])
def test_the_emulators_door_says_which_scheme_callers_speak_whatever_they_say(
    said: list[tuple[bytes, bytes]], caller: tuple[tuple[str, int], int]
) -> None:
    """Over plain http no cookie may be `Secure`, or a client's jar would not send it again."""
    peer, port = caller
    seen: list[list[tuple[bytes, bytes]]] = []

    async def application(scope: dict[str, Any], _: object, __: object) -> None:
        seen.append(scope["headers"])

    async def nothing() -> dict[str, Any]:
        return {}

    async def ignored(_: dict[str, Any]) -> None:
        return None

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/_aws/execute-api/abc/v1/invoke/f",
        "headers": [(b"host", f"127.0.0.1:{port}".encode()), *said],
        "client": peer,
        "server": ("127.0.0.1", port),
    }
    guarded = behind_door(application, lambda _, __: "an API", NONE_YET)

    async def asked() -> None:
        await guarded(scope, nothing, ignored)

    asyncio.run(asked())
    assert [value for name, value in seen[0] if name == b"x-forwarded-proto"] == [b"http"]


class _Echo(BaseHTTPRequestHandler):
    """A peer that says for whom it took the request, and for what it was signed."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        asked = Request(method="PUT", path=path, query=query, headers=headers, body=body)
        told = f"{headers['host']} {self.path} {signatures.check(asked, KEY, now())} {len(body)}".encode()
        self.send_response(201)
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.mark.parametrize("region", ["us-east-1", "us-west-2"])
@pytest.mark.parametrize("is_up", [True, False])
def test_what_is_signed_for_the_peers_region_is_the_peers_signed_for_its_own(
    region: str, is_up: bool, caller: tuple[tuple[str, int], int]
) -> None:
    address, port = caller
    sent: list[dict[str, Any]] = []

    async def application(_: object, __: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def whole() -> dict[str, Any]:
        return {"type": "http.request", "body": b"abc"}

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    with HTTPServer(("127.0.0.1", 0), _Echo) as server:
        host = f"127.0.0.1:{port}"
        asked = Request(
            method="PUT", path="/b/k", query="x=1", headers={"host": host, "content-length": "3"}, body=b"abc"
        )
        signed = signatures.signed(asked, KEY, "s3", region, now())
        peer = peer_of(f"us-west-2=http://127.0.0.1:{server.server_port}")
        if is_up:
            Thread(target=server.handle_request, daemon=True).start()
        else:
            server.server_close()
        scope = {"type": "http", "method": "PUT", "path": "/b/k", "query_string": b"x=1", "client": address}
        scope |= {"headers": [(n.encode(), v.encode()) for n, v in signed.items()], "server": ("127.0.0.1", port)}
        asyncio.run(_called(behind_door(application, lambda *_: None, KEY, peer), scope, whole, keep))
    if region != "us-west-2":
        assert sent[0]["status"] == 200
    elif is_up:
        told = f"{host} /b/k?x=1 {now():%Y%m%d}/us-east-1/s3/aws4_request 3"
        assert (sent[0]["status"], sent[1]["body"]) == (201, told.encode())
    else:
        assert sent[0]["status"] == 503


async def _called(application: Any, *given: Any) -> None:
    await application(*given)
