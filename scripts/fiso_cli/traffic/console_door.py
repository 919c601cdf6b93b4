"""A door on loopback to a stage's console, for one browser.

Whoever runs as another user here, and every web page, can reach the port too. In comes who shows the cookie that the
printed address gave, once, and calls this port by its own address (not by a name that an attacker's resolver points
here), from no page of another origin. The console's own cookies stay here; the browser is sent none of them.
"""

import hmac
import re
import secrets
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urljoin, urlsplit

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from fiso_cli.errors import CommandError
from fiso_cli.rendering import remark
from fiso_cli.traffic.gateway import PROBLEM, Gateway, error_line, unreachable

LOOPBACK = "127.0.0.1"
READ_TIMEOUT_S = 10.0
LONGEST_FORM = 100_000
ROOTS = ("console", "api")
_TARGET = re.compile(r"/[\x21-\x7e]{0,4000}")
ASKED = ("accept", "accept-language", "content-type", "if-none-match", "if-modified-since", "sec-fetch-mode")
"""What of a browser's headers the console is told."""
OWN_HEADERS = frozenset(
    ("connection", "content-encoding", "content-length", "date", "keep-alive", "location", "server", "set-cookie")
) | {"strict-transport-security", "transfer-encoding", "upgrade"}
"""Of an answer's headers, those that are about the way from the stage to here."""
ENTERED = '<!doctype html><meta http-equiv="refresh" content="0;url=/console"><a href="/console">The console</a>'
CLOSED = {
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that goes no further: a status and a line."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the browser gets. `location` is set for a redirect only."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class Relay:
    """Asks the stage's console in the caller's name."""

    gateway: Gateway
    client: httpx.Client

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Reply:
        """The console's answer to a path and query below /console or /api; `Refused` for others and for none."""
        url = self._address(target)
        shown = {name: headers[name] for name in ASKED if headers.get(name, "").isascii() and name in headers}
        shown["accept-encoding"] = "identity"
        if method == "POST":  # as a form of the console's own, which it is: only its pages get this far
            shown["origin"] = origin_of(url)
        try:
            answer = self.client.request(method, url, headers=shown, content=body)
        except httpx.HTTPError as error:
            raise Refused(502, str(unreachable(self.gateway.url, error))) from error
        except (BotoCoreError, ClientError) as error:  # their words may hold what a credential process said
            raise Refused(
                502, f"your AWS credentials cannot be read ({type(error).__name__}): sign in again"
            ) from error
        return self._reply(url, answer)

    def _address(self, target: str) -> str:
        path, _, query = target.partition("?")
        parts = (
            [unquote(part, errors="surrogateescape") for part in path.split("/")[1:]]
            if _TARGET.fullmatch(target)
            else []
        )
        is_plain = all(part.isprintable() and part not in (".", "..") and not set(part) & set("/\\") for part in parts)
        if not parts or parts[0] not in ROOTS or not is_plain or "" in parts[:-1]:
            raise Refused(404, "there is the console only: /console")
        return self.gateway.address(*parts, query=tuple(parse_qsl(query, keep_blank_values=True)))

    def _reply(self, url: str, answer: httpx.Response) -> Reply:
        kind = answer.headers.get("content-type", "")
        if answer.status_code == 403 and not kind.startswith((PROBLEM, "text/html")):
            # API Gateway's own: it may repeat the whole of what was signed, a session's token too.
            raise Refused(403, "the gateway let this request not pass: `aws sts get-caller-identity` says who signs")
        headers = {name: value for name, value in answer.headers.items() if name not in OWN_HEADERS and value.isascii()}
        if answer.is_redirect:
            headers["location"] = self._here(urljoin(url, answer.headers["location"]))
        return Reply(status=answer.status_code, headers=headers, body=answer.content)

    def _here(self, url: str) -> str:
        """A redirect of the console's to itself leads here; any other where it says."""
        below = self.gateway.url.rstrip("/") + "/"
        return url[len(below) - 1 :] if url.startswith(below) else url


@dataclass(kw_only=True)
class Door:
    """The server. `entry` is the address that lets a browser in, once."""

    relay: Relay
    server: ThreadingHTTPServer
    _ticket: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _is_entered: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        """As browsers name it."""
        port = self.server.server_port
        return LOOPBACK if port == 80 else f"{LOOPBACK}:{port}"

    @property
    def entry(self) -> str:
        return f"http://{self.host}/{self._ticket}"

    @property
    def cookie_name(self) -> str:
        return f"fiso-console-{self.server.server_port}"

    def answer(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes | None) -> Reply:
        """What to answer to a request."""
        given = {name.lower(): value for name, value in headers}
        if len(given) != len(headers) or given.get("host") != self.host:
            raise Refused(421, f"this is http://{self.host}")
        if given.get("origin", f"http://{self.host}") != f"http://{self.host}":
            raise Refused(403, "a page of another site asked for this")
        if method == "GET" and hmac.compare_digest(target.encode(), f"/{self._ticket}".encode()):
            return self._enter()
        if given.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refused(403, "a page of another site asked for this")
        if not self._is_shown(given.get("cookie", "")):
            raise Refused(401, "open the address that `fiso console` printed; it lets one browser in, once")
        return self.relay.ask(method, target, given, body)

    def open_browser(self) -> None:
        """By a file that nobody else may read: what a browser is started with, all users of the machine see."""
        self._page = tempfile.NamedTemporaryFile("w", prefix="fiso-console-", suffix=".html")  # noqa: SIM115
        self._page.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(self.entry)}">')
        self._page.flush()
        if not webbrowser.open(f"file://{self._page.name}"):
            raise CommandError("no browser could be opened: leave out --open")

    def wait(self) -> None:
        """Until somebody interrupts."""
        threading.Event().wait()

    def _enter(self) -> Reply:
        with self._lock:
            is_first, self._is_entered = not self._is_entered, True
        if not is_first:
            raise Refused(403, "this address was used already; if not by you, somebody else is in: end `fiso console`")
        cookie = f"{self.cookie_name}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        # A page that leads on, since a redirect counts as the step of whoever led here, and Strict cookies stay away.
        headers = {"Set-Cookie": cookie, "Content-Type": "text/html; charset=utf-8", **CLOSED}
        return Reply(status=200, headers=headers, body=ENTERED.encode())

    def _is_shown(self, text: str) -> bool:
        try:
            shown = SimpleCookie(text).get(self.cookie_name)
        except CookieError:
            return False
        return shown is not None and hmac.compare_digest(shown.value.encode(), self._session.encode())


@contextmanager
def serving(gateway: Gateway, port: int = 0) -> Iterator[Door]:
    """The door, open as long as the block. `CommandError` when the port is taken or the stage's console refuses."""
    with gateway.client() as client:
        relay = Relay(gateway=gateway, client=client)
        _try(relay)
        try:
            server = Server((LOOPBACK, port), Visitor)
        except OSError as error:
            raise CommandError(f"port {port} of {LOOPBACK} cannot be had ({error.strerror}): try --port 0") from error
        server.door = Door(relay=relay, server=server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield server.door
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _try(relay: Relay) -> None:
    """What the browser would be told is told before there is one."""
    try:
        answer = relay.ask("GET", "/console", {"accept": "text/html"})
    except Refused as refused:
        raise CommandError(str(refused)) from refused
    if answer.status >= 400:
        raise CommandError(error_line(answer.status, answer.headers.get("content-type", ""), answer.body))


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Server(ThreadingHTTPServer):
    """One thread a request; none of them keeps the command from ending."""

    daemon_threads = True
    allow_reuse_address = False  # nobody else's port
    door: Door

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away is nothing to tell; of anything else its kind."""
        error = sys.exception()
        if not isinstance(error, OSError):
            remark(f"a request could not be answered ({type(error).__name__})", is_bad=True)


class Visitor(BaseHTTPRequestHandler):
    """One connection, one request (HTTP/1.0)."""

    server: Server
    timeout = READ_TIMEOUT_S
    server_version, sys_version = "fiso", ""

    def _answer(self) -> None:
        try:
            reply = self.server.door.answer(self.command, self.path, self.headers.items(), self._body())
        except Refused as refused:
            headers = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", **CLOSED}
            reply = Reply(status=refused.status, headers=headers, body=f"{refused}\n".encode())
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _body(self) -> bytes | None:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > LONGEST_FORM:
            raise Refused(413, "the console takes small forms only")
        return self.rfile.read(int(length)) if self.command == "POST" else None

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
