"""A login over genuine HTTP: the local issuer, the console under a WSGI server, a browser's cookies. The issuer lies
when it is told to."""

import re
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
from flask import Flask, Response, request
from werkzeug.serving import make_server

from fiso.console_settings import ConsoleSettings, LoginSettings
from fiso.domain.access import AuthMode
from fiso.settings import AccessSettings
from functions.console import app, wiring
from localcloud.issuer import app as issuer_app
from localcloud.issuer.app import Issuer
from localcloud.issuer.tokens import AUDIENCE, CLIENT_ID, TENANT_CLAIM, Codes, Person, Request, Signer, TokenMaker
from tests.emulator import free_port
from tests.functional.console_world import World, busy_world
from tests.lab.bound_process import bound

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0
SESSION = "fiso-session"
TLS = ssl.create_default_context()  # made once: it is most of what a client costs


class StoredParameters:
    """What is used of boto3's SSM client, over a mapping."""

    def __init__(self, **values: str) -> None:
        self.values = values

    def get_parameter(self, Name: str, WithDecryption: bool) -> dict[str, dict[str, str]]:  # noqa: N803
        """As AWS answers."""
        assert WithDecryption
        return {"Parameter": {"Value": self.values[Name]}}


@dataclass(kw_only=True)
class Lies:
    """What the issuer says instead of the truth: claims (None leaves one out), whole answers by path; what it heard."""

    identity: dict[str, Any] = field(default_factory=dict)
    access: dict[str, Any] = field(default_factory=dict)
    signer: Signer | None = None
    answers: dict[str, Response] = field(default_factory=dict)
    heard: list[tuple[str, str | None, dict[str, str]]] = field(default_factory=list)

    def hear(self) -> Response | None:
        """Before each request."""
        self.heard.append((request.path, request.headers.get("Authorization"), request.form.to_dict()))
        return self.answers.get(request.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LyingSigner(Signer):
    """Signs other claims than it was given."""

    lies: Lies

    def sign(self, payload: Mapping[str, Any], **header: Any) -> str:
        """An access token or an identity token."""
        changes = self.lies.access if header.get("typ") == "at+jwt" else self.lies.identity
        claims = {name: value for name, value in {**payload, **changes}.items() if value is not None}
        return Signer.sign(self.lies.signer or self, claims, **header)


@dataclass
class ShiftedClock:
    """The time of day, later by what was asked for."""

    later: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.later


@dataclass(kw_only=True)
class LoginWorld:
    """Everything between a browser and the console's pages."""

    world: World
    issuer_url: str
    console_url: str
    lies: Lies
    maker: TokenMaker
    codes: Codes
    keys: StoredParameters
    clock: ShiftedClock = field(default_factory=ShiftedClock)
    browsers: list["LoginBrowser"] = field(default_factory=list)

    def app(self, *, stage: str = "local", **changes: Any) -> Flask:
        """The console as it is wired, over stores in memory; `changes` of its login's settings."""
        access = AccessSettings(
            mode=AuthMode.JWT,
            issuer=self.issuer_url,
            audiences=(AUDIENCE,),
            tenant_claim=TENANT_CLAIM,
            allow_loopback=True,
        )
        scope = "openid profile fiso:read"
        login = replace(
            LoginSettings(client_id=CLIENT_ID, console_url=self.console_url, scope=scope, keys_parameter="keys"),
            **changes,
        )
        settings = ConsoleSettings(
            stage=stage,
            log_table="l",
            state_table="s",
            bucket="b",
            access=access,
            console_url=login.console_url,
            login=login,
        )
        entrance = wiring.entrance_of(settings, self.clock, ssm=lambda: self.keys)
        return app.create(self.world.sources, stage=stage, entrance=entrance, console_url=settings.console_url)

    def token(self, scope: str, *, tenant: str = "local") -> str:
        """As `fiso token` makes it."""
        person = Person(name=tenant, tenant=tenant)
        return self.maker.access_token(person, scope, now=datetime.now(UTC), lifetime=timedelta(minutes=5))

    def agreed(self, address: str) -> str:
        """Where the issuer would send a browser for an address of its own, whatever the console's is."""
        asked = fields_of(address)
        names = ("client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge")
        wanted = Request(**{name: asked[name] for name in names})
        return changed(
            wanted.redirect_uri, code=self.codes.give(wanted, Person(name="ada", tenant="local")), state=wanted.state
        )

    def browser(self) -> "LoginBrowser":
        """A browser without any cookie."""
        self.browsers.append(LoginBrowser(issuer_url=self.issuer_url, console_url=self.console_url))
        return self.browsers[-1]

    def tidy(self) -> None:
        """Close the browsers, put the clock right, and let the issuer say the truth."""
        while self.browsers:
            self.browsers.pop().client.close()
        self.clock.later = timedelta()
        self.lies.__init__()  # type: ignore[misc]


class LoginBrowser:
    """One person's browser. It follows no redirect by itself."""

    def __init__(self, *, issuer_url: str, console_url: str) -> None:
        self.issuer_url, self.console_url = issuer_url, console_url
        self.client = httpx.Client(follow_redirects=False, trust_env=False, timeout=PATIENCE_S, verify=TLS)

    def get(self, url: str, **headers: str) -> httpx.Response:
        """One GET, of a whole address or of a path of the console's site."""
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return self.client.get(self._whole(url), headers=given)

    def to_issuer(self, wanted: str = "/console") -> str:
        """From a page that needs a session to the address at the issuer."""
        answer = self.get(wanted)
        assert answer.status_code == 302
        answer = self.get(answer.headers["location"])
        assert answer.status_code == 302
        return str(answer.headers["location"])

    def agree(self, address: str, *, name: str = "ada", tenant: str = "local") -> str:
        """Say a name on the issuer's page; the address that it sends the browser to."""
        page = self.get(address)
        assert page.status_code == 200, page.text
        fields = hidden_fields(page.text) | {"name": name, "tenant": tenant}
        answer = self.client.post(f"{self.issuer_url}/authorize", data=fields)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    def log_in(self, wanted: str = "/console", **person: str) -> httpx.Response:
        """The whole way; the callback's answer."""
        return self.get(self.agree(self.to_issuer(wanted), **person))

    def log_out(self, form_token: str | None, origin: str | None) -> httpx.Response:
        """Send the form."""
        data = {} if form_token is None else {"form_token": form_token}
        headers = {} if origin is None else {"origin": origin}
        return self.client.post(f"{self.console_url}/logout", data=data, headers=headers)

    def form_token(self) -> str:
        """What stands in the page's form."""
        return hidden_fields(self.get("/console").text)["form_token"]

    def _whole(self, url: str) -> str:
        return url if "://" in url else self.console_url.removesuffix("/console") + url


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of a page's form."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


def changed(url: str, **fields: str | None) -> str:
    """An address with other query fields; None leaves one out."""
    query = {**fields_of(url), **fields}
    return urlunsplit(urlsplit(url)._replace(query=urlencode({name: v for name, v in query.items() if v is not None})))


def fields_of(url: str) -> dict[str, str]:
    """The query of an address."""
    return dict(parse_qsl(urlsplit(url).query))


@contextmanager
def login_world() -> Iterator[LoginWorld]:
    """Both servers up, until the end."""
    issuer_port, console_port, lies, clock = free_port(), free_port(), Lies(), ShiftedClock()
    issuer_url = f"http://127.0.0.1:{issuer_port}"
    maker = TokenMaker(signer=LyingSigner(id="k1", private=Signer.curve("k1").private, lies=lies), issuer=issuer_url)
    codes = Codes(clock=ShiftedClock())
    issuer = issuer_app.create(Issuer(maker=maker, codes=codes, console_port=console_port, clock=ShiftedClock()))
    issuer.before_request(lies.hear)
    world = LoginWorld(
        world=busy_world(20),
        issuer_url=issuer_url,
        console_url=f"http://127.0.0.1:{console_port}/console",
        lies=lies,
        maker=maker,
        codes=codes,
        keys=StoredParameters(keys=f"k1:{token_urlsafe(32)}"),
        clock=clock,
    )
    with serving(issuer, issuer_port), serving(world.app(), console_port):
        yield world


@contextmanager
def serving(served: Flask, port: int) -> Iterator[None]:
    """An app on loopback, in a thread."""
    server = make_server("127.0.0.1", port, served, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_issuer(port: int, folder: Path, console_port: int) -> Iterator[str]:
    """The local issuer's process; gives its URL."""
    options = {"--port": port, "--keys": folder, "--console-port": console_port}
    words = [str(word) for option in options.items() for word in option]
    environ = {"PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'shared'}"}
    process = subprocess.Popen(bound([sys.executable, "-m", "localcloud.issuer", *words]), env=environ, cwd=ROOT)
    try:
        _await_health(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(10) == 0


def _await_health(url: str, process: "subprocess.Popen[bytes]") -> None:
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        assert process.poll() is None, "the issuer ended"
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the issuer does not answer")


def is_logged_out(answer: httpx.Response, world: LoginWorld) -> bool:
    """Whether a page was refused in favour of the login."""
    return answer.status_code == 302 and answer.headers["location"].startswith(f"{world.console_url}/login?")
