"""Canary secrets: values that nothing else contains, in the forms that secrets have, and answers that spill them."""

import base64
import json
import random
import re
from collections.abc import Iterator, Mapping

FORMS: tuple[str, ...] = (
    "Authorization: Bearer {}",
    "authorization=Basic {}",
    "{{'authorization': 'Bearer {}', 'host': 'x'}}",
    '{{"Cookie": "sid={}; theme=dark"}}',
    "Set-Cookie: session={}; Path=/",
    "x-functions-key: {}",
    "x-api-key={}",
    "https://h.azurewebsites.net/api?code={}&x=1",
    "https://h.blob.core.windows.net/c?sig={}",
    "postgresql://fiso:{}@db/fiso",
    "password={}",
    '"password":"{}"',
    '{{\\"client_secret\\": \\"{}\\"}}',
    "AWS_SECRET_ACCESS_KEY={}",
    "X-Amz-Security-Token={}",
    "access_token={}&refresh_token={}",
    "token: '{}'",
    "\x1b[31mtoken={}\r\nlevel=INFO forged=1",
)
"""A text with a canary where a secret would stand."""


LOOKS = re.compile(r"c4n4ry[a-z0-9]{18}|AKIAC4N4RY[A-Z0-9]{18}")


class Canaries:
    """Makes them, and finds them again."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self.made = rng, list[str]()

    def plain(self) -> str:
        """A value of no known looks."""
        value = "c4n4ry" + "".join(self._rng.choices("bcdfghjkmnpqrstvwxz0123456789", k=18))
        self.made.append(value)
        return value

    def in_forms(self) -> Iterator[str]:
        """One in each form: named by what stands before it, and known by its own looks."""
        for form in FORMS:
            yield form.replace("{}", self.plain()).replace("{{", "{").replace("}}", "}")
        head, claims, signature = (base64.urlsafe_b64encode(b'{"a":"%d"}' % n).decode().rstrip("=") for n in range(3))
        jwt_end, key_body, key_id = self.plain(), self.plain(), "AKIA" + self.plain().upper()
        self.made.append(key_id)
        yield f"upstream said {head}.{claims}{signature}.{jwt_end} is over"
        yield f"-----BEGIN RSA PRIVATE KEY-----\n{key_body}\n-----END RSA PRIVATE KEY-----"
        yield f"signed by {key_id} today"

    def found_in(self, text: str) -> list[str]:
        """Those that stand in a text, or in what its JSON escapes mean."""
        there = set(LOOKS.findall(text))
        return [value for value in self.made if value in there]


def http_spills(text: str) -> Iterator[bytes]:
    """Answers of a provider in trouble that repeat a text everywhere they can."""
    one_line = text.replace("\r", " ").replace("\n", " ")
    body = f"failed: {text}".encode()
    for status in (401, 403, 429, 502, 503, 504):
        names = ("X-Debug", "Set-Cookie", "Www-Authenticate", "Retry-After")
        yield _answer(f"{status} {one_line}", dict.fromkeys(names, one_line), body)
    yield f"{one_line}\r\n\r\n".encode()  # no HTTP at all
    yield f"HTTP/1.1 200 OK\r\n{one_line}".encode()  # cut in a header
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body  # cut in the body
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + one_line.encode() + b"\r\n"


def lambda_spills(text: str) -> Iterator[bytes]:
    """Answers of Lambda's Invoke API of the same kind."""
    one_line = text.replace("\r", " ").replace("\n", " ")
    for status in (400, 403, 404, 429, 500, 502):
        yield _answer(f"{status} {one_line}", {"X-Amzn-ErrorType": one_line}, _json({"message": text}))
    for error in (
        {"errorType": text, "errorMessage": f"Task timed out after {text}"},
        {"errorType": "Sandbox.Timedout", "errorMessage": text},
    ):
        yield _answer("200 OK", {"X-Amz-Function-Error": "Unhandled"}, _json(error))
    for bad in ({"statusCode": text}, {"statusCode": 200, "isBase64Encoded": True, "body": text}):
        yield _answer("200 OK", {}, _json(bad))


def function_says(text: str, beside: str) -> bytes:
    """A function's own good answer, with `beside` in a header that FISO does not pass."""
    return _answer("200 OK", {"Content-Type": "text/plain", "X-Secret": beside}, text.encode())


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode()


def _answer(status: str, headers: Mapping[str, str], body: bytes) -> bytes:
    every = {**headers, "Connection": "close", "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in every.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
