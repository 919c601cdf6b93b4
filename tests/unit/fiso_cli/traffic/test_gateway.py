import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials

from fiso_cli.errors import CommandError
from fiso_cli.traffic.documents import items, mapping, parsed
from fiso_cli.traffic.gateway import Gateway, error_line, is_loopback, unreachable
from fiso_cli.traffic.signing import SignedByCaller

FAR = "https://abc.execute-api.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4566/x", True),
        ("http://[::1]:1", True),
        ("http://localhost:1", True),
        ("http://abc.execute-api.localhost:4566", True),
        (FAR, False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.org", False),
    ],
)
def test_loopback_is_told_from_elsewhere(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_every_part_of_a_path_and_query_is_quoted() -> None:
    address = Gateway(url="http://h/$default").address("v1", "invoke", "a/b ?", query=(("k", "a b"), ("k", "&~")))
    assert address == "http://h/$default/v1/invoke/a%2Fb%20%3F?k=a%20b&k=%26~"


def test_a_refused_connection_says_the_way_out() -> None:
    refused = httpx.ConnectError("refused")
    assert str(unreachable("http://127.0.0.1:1", refused)).endswith('try "fiso local up" or "make run"')
    assert str(unreachable(FAR, refused)) == f"cannot reach {FAR}: is the stage deployed?"
    assert str(unreachable(FAR, httpx.ReadTimeout("slow"))) == f"{FAR} did not answer in time (ReadTimeout)"


def test_a_problem_document_is_told_in_its_own_words() -> None:
    body = b'{"title": "Unknown function", "detail": "no function \'x\'", "status": 404}'
    assert error_line(404, "application/problem+json", body) == "status 404 Unknown function: no function 'x'"
    assert error_line(403, "application/json", b'{"message":\n "Forbidden"}') == 'status 403: {"message": "Forbidden"}'
    assert error_line(502, "application/problem+json", b"[").endswith("does not parse")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_object_is_one_line(body: bytes) -> None:
    with pytest.raises(CommandError, match="the answer"):
        parsed(body)


def test_a_document_of_another_shape_is_one_line() -> None:
    for read in (items, mapping):
        with pytest.raises(CommandError, match="the answer is not as expected"):
            read(None)


def sent(request: httpx.Request, token: str | None) -> httpx.Request:
    credentials = Credentials("AKID", "secret", token)
    return next(SignedByCaller(credentials, "eu-west-1").auth_flow(request))


@pytest.mark.parametrize("token", [None, "session-token"])
def test_a_request_carries_the_signature_that_botocore_makes(token: str | None) -> None:
    url = f"{FAR}/v1/invoke/f?k=a%20b"
    request = sent(httpx.Request("POST", url, content=b"\x00x", headers={"content-type": "text/plain"}), token)
    signed = {name: request.headers[name] for name in ("host", "content-type", "x-amz-date")}
    if token:
        signed["X-Amz-Security-Token"] = token
    again = AWSRequest(method="POST", url=url, data=b"\x00x", headers=signed)
    again.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(ReadOnlyCredentials("AKID", "secret", token), "execute-api", "eu-west-1")
    signature = signer.signature(signer.string_to_sign(again, signer.canonical_request(again)), again)
    assert request.headers["authorization"].endswith(f"Signature={signature}")
    assert "/eu-west-1/execute-api/aws4_request" in request.headers["authorization"]
    assert request.headers.get("x-amz-security-token") == token
