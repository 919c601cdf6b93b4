"""A login whose issuer says what a test wants, on a clock that tests move, and the console around it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.fernet import Fernet

from fiso.access_ports import LoginTokens
from fiso.adapters.identity.jwt_tokens import JwtVerifier
from fiso.adapters.identity.sealing import FernetSeal
from fiso.domain.access import AuthMode
from fiso.domain.errors import LoginRefused
from fiso.services.identity.access import Access
from fiso.services.identity.login import Begun, Callback, Client, Login, Verifiers, code_challenge
from fiso.testing.clock import ManualClock
from functions.console import app
from functions.console.access import Entrance
from functions.console.login import BrowserLogin
from localcloud.issuer.tokens import Signer
from tests import tokens
from tests.builders import NOW
from tests.functional.console_browser import Browser
from tests.functional.console_world import busy_world
from tests.tokens import FixedKeys

CONSOLE = "https://fiso.example/console"
CLIENT = Client(id="console", redirect_uri=f"{CONSOLE}/callback", scope="openid fiso:read")
GENUINE, STRANGER = Signer.curve("k1"), Signer.curve("k1")
WORLD = busy_world(5)


@dataclass(kw_only=True)
class ScriptedIssuer:
    """An issuer whose tokens say what a test wants. It redeems a code for whoever shows the challenge's verifier."""

    name: str = tokens.ISSUER
    challenge: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    access: dict[str, Any] = field(default_factory=dict)
    signer: Signer = GENUINE
    is_swapped: bool = False

    def authorization_address(self) -> str:
        """With a query of its own, which must survive."""
        return f"{self.name}/authorize?tenant=t1"

    def redeem(self, code: str, *, code_verifier: str) -> LoginTokens:
        """As told."""
        if code != "good" or code_challenge(code_verifier) != self.challenge:
            raise LoginRefused("invalid_grant")
        identity = self.signer.sign(tokens.payload(NOW, aud="console", scope=None, **self.identity))
        access = GENUINE.sign(tokens.payload(NOW, **self.access))
        pair = (access, identity) if self.is_swapped else (identity, access)
        return LoginTokens(identity_token=pair[0], access_token=pair[1])


class Flow:
    """A login and its issuer, on a clock that tests move."""

    def __init__(self, keys: Sequence[str] | None = None) -> None:
        self.clock, self.issuer = ManualClock(), ScriptedIssuer()
        words = [Fernet.generate_key().decode()] if keys is None else keys
        self.login = Login(
            client=CLIENT,
            issuer=self.issuer,
            verifiers=Verifiers(identity=lambda: self.verifier("console"), access=lambda: self.verifier("fiso")),
            seal=FernetSeal(lambda: words, clock=self.clock),
            clock=self.clock,
        )

    def verifier(self, audience: str) -> JwtVerifier:
        """For the tokens of one audience."""
        keys = FixedKeys.of(GENUINE)
        return JwtVerifier(keys, issuer=tokens.ISSUER, audiences=[audience], clock=self.clock)

    def callback(self, begun: Begun, **changes: str | None) -> Callback:
        """The issuer's genuine answer to what was begun, but for the changes."""
        asked = parse_qs(urlsplit(begun.address).query)
        self.issuer.challenge = asked["code_challenge"][0]
        self.issuer.identity = {"nonce": asked["nonce"][0]} | self.issuer.identity
        fields: dict[str, Any] = {
            "state": asked["state"][0],
            "code": "good",
            "error": None,
            "issuer": None,
            "sealed_attempt": begun.sealed_attempt,
        }
        return Callback(**(fields | changes))

    def reason(self, **changes: str | None) -> str:
        """Why a login is refused."""
        with pytest.raises(LoginRefused) as caught:
            self.login.finish(self.callback(self.login.begin(None), **changes))
        return caught.value.reason


def the_console(flow: Flow) -> Browser:
    """On a stage in the cloud, with the login."""
    access = Access(mode=AuthMode.JWT, verifier=lambda: flow.verifier("fiso"))
    entrance = Entrance(access=access, login=BrowserLogin(login=flow.login, console_url=CONSOLE))
    created = app.create(WORLD.sources, stage="prod", entrance=entrance, console_url=CONSOLE)
    return Browser(app=created, gateway="aws")
