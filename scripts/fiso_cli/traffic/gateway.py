"""Gateways: the HTTP API of one stage, as a client that reports failures in one line.

Knows nothing of what the documents mean. Outside the local stage every request is signed.
"""

import ipaddress
import json
import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

import httpx

from fiso.codecs.typed import Document
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.stage import Stage
from fiso_cli.traffic.documents import parsed, text_or_none

ANSWER_TIMEOUT_S = 35.0
"""Longer than the 30 s within which API Gateway answers by itself."""
CONNECT_TIMEOUT_S = 5.0
PROBLEM = "application/problem+json"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where a stage's HTTP API is and how to identify oneself to it. `url` has no trailing slash."""

    url: str
    auth: httpx.Auth | None = None
    timeout_s: float = ANSWER_TIMEOUT_S

    def client(self) -> httpx.Client:
        """A client that keeps its connections alive. Close it."""
        return httpx.Client(auth=self.auth, timeout=self._timeouts(), trust_env=not is_loopback(self.url))

    def async_client(self, connections: int) -> httpx.AsyncClient:
        """The same for at most `connections` at once."""
        return httpx.AsyncClient(
            auth=self.auth,
            timeout=self._timeouts(),
            trust_env=not is_loopback(self.url),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def address(self, *path: str, below: str = "", query: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> str:
        """The URL of a path, every part of it quoted, spaces as %20 (a signature counts on it); `below` is quoted."""
        quoted = "/".join(quote(part, safe="-_.~") for part in path)
        pairs = urlencode(query, quote_via=quote, safe="-_.~")
        return f"{self.url}/{quoted}{below}" + (f"?{pairs}" if pairs else "")

    def get(self, *path: str, query: Mapping[str, str] | tuple[tuple[str, str], ...] = ()) -> Document:
        """A JSON document; `CommandError` when there is none."""
        return self._document("GET", self.address(*path, query=query))

    def post(self, *path: str, body: bytes, headers: Mapping[str, str]) -> Document:
        """What a POST answers, as a JSON document; `CommandError` when there is none."""
        return self._document("POST", self.address(*path), body=body, headers=headers)

    def send(self, method: str, *path: str, document: Document) -> Document:
        """What another method answers to a JSON document."""
        headers = {"content-type": "application/json"}
        return self._document(method, self.address(*path), body=json.dumps(document).encode(), headers=headers)

    def _timeouts(self) -> httpx.Timeout:
        return httpx.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)

    def _document(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Document:
        with self.client() as client, reported(self.url):
            answer = client.request(method, url, content=body, headers=dict(headers or {}))
        refuse_errors(answer)
        return parsed(answer.content)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine; a proxy from the environment must then stay out of the way."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


@contextmanager
def reported(url: str) -> Iterator[None]:
    """Turns what the HTTP library raises into one line with the way out."""
    try:
        yield
    except httpx.HTTPError as error:
        raise unreachable(url, error) from error


def unreachable(url: str, error: httpx.HTTPError) -> CommandError:
    """Why a gateway gave no answer, and what to do."""
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        way_out = (
            'is the local cloud up? try "fiso local up" or "make run"' if is_loopback(url) else "is the stage deployed?"
        )
        return CommandError(f"cannot reach {url}: {way_out}")
    if isinstance(error, httpx.TimeoutException):
        return CommandError(f"{url} did not answer in time ({type(error).__name__})")
    return CommandError(f"{url} broke off: {error or type(error).__name__}")


def refuse_errors(answer: httpx.Response) -> None:
    """`CommandError` for an answer that is an error, in its own words."""
    if answer.status_code >= 400:
        raise CommandError(error_line(answer.status_code, answer.headers.get("content-type", ""), answer.content))


def error_line(status: int, content_type: str, body: bytes) -> str:
    """One line for an error answer: the problem document's own words where it is one."""
    if content_type.partition(";")[0].strip() != PROBLEM:
        said = " ".join(body[:200].decode("utf-8", "replace").split())
        return f"status {status}" + (f": {said}" if said else "")
    try:
        problem = parsed(body)
    except CommandError:
        return f"status {status}, with a problem document that does not parse"
    title, detail = text_or_none(problem.get("title")), text_or_none(problem.get("detail"))
    return f"status {status} {title or ''}".rstrip() + (f": {detail}" if detail else "")


def gateway_of(
    stage_name: str, api_url: str = "", *, timeout_s: float = ANSWER_TIMEOUT_S, to_console: bool = False
) -> Gateway:
    """The gateway, signed for outside the local stage; `to_console`: that of the console and its API, where clients
    have another door. `CommandError` when the stage is not to be found."""
    stage = Stage.named(stage_name)
    url = (api_url or (stage.gateway_url if to_console else stage.api_url)).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise BadInput(f"{url!r} is not an address; it must start with http:// or https://")
    return Gateway(url=url, auth=_credentials(stage), timeout_s=timeout_s)


def _credentials(stage: Stage) -> httpx.Auth | None:
    """What calls show of the caller: FISO_TOKEN, as `fiso token` or an issuer gives it; else a signature on AWS."""
    token = stage.environ.get("FISO_TOKEN", "").strip()
    if token:
        return ShownToken(token)
    if stage.is_local:
        return None
    from fiso_cli.traffic.signing import SignedByCaller  # botocore: a third of a second that a local call does not need

    credentials = stage.session.get_credentials()
    if credentials is None:
        raise CommandError('no AWS credentials to sign with; set AWS_PROFILE, or run "aws configure"')
    return SignedByCaller(credentials, stage.region)


class ShownToken(httpx.Auth):
    """A bearer token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        if not _TOKEN.fullmatch(token):
            raise CommandError("FISO_TOKEN holds no token: set it to what `fiso token` prints, or unset it")
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request
