"""Web identity: AWS's word on which role a function has, for clouds that believe it. The emulator's own token is signed
by nobody, and it takes every caller for the account's root. Here `GetCallerIdentity` names the function's role,
`GetWebIdentityToken` signs (RS256), IAM has the account's switch for it, and the issuer publishes its keys.

Written after botocore's models of STS and IAM and "Getting started with outbound identity federation" of IAM's user
guide. Standard library and cryptography only: the emulator runs it.
"""

import json
import os
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs
from uuid import NAMESPACE_URL, uuid4, uuid5

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fiso_cli.local_stage import ACCOUNT, ISSUERS_AT
from localcloud.signatures import Request, Scope

HOST_OF_STS = re.compile(r"sts\.[a-z0-9-]+\.amazonaws\.com")
"""The name that Google sends a signed request to."""
_XMLNS = {"sts": "https://sts.amazonaws.com/doc/2011-06-15/", "iam": "https://iam.amazonaws.com/doc/2010-05-08/"}
_STS = frozenset({"GetCallerIdentity", "GetWebIdentityToken"})
_SWITCH = "OutboundWebIdentityFederation"


class Answer(NamedTuple):
    status: int
    kind: str
    body: bytes


class RefusedError(Exception):
    """An error as AWS names it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class WebIdentity:
    """`folder` keeps the key and the switch; `role_of` gives the ARN of the role that belongs to an access key's id,
    None for the owner's. `clock` gives seconds since 1970."""

    def __init__(
        self, folder: Path, role_of: Callable[[str], str | None], clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._role_of, self.clock = folder, role_of, clock
        self._key = _key_in(folder / "web-identity.pem")
        numbers = self._key.public_key().public_numbers()
        self._jwk = {"kty": "RSA", "n": _text(_bytes(numbers.n)), "e": _text(_bytes(numbers.e)), "alg": "RS256"}
        self._jwk |= {"use": "sig", "kid": f"RSA_{uuid5(NAMESPACE_URL, self._jwk['n']).hex}"}
        self.host = f"{uuid5(NAMESPACE_URL, self._jwk['kid'])}.tokens.sts.global.api.aws"

    @property
    def issuer(self) -> str:
        return f"https://{self.host}"

    @property
    def is_on(self) -> bool:
        return (self._folder / "web-identity.on").exists()

    def published(self, path: str) -> Answer | None:
        """The issuer's configuration and keys; the host of its https URL stands in the path."""
        base, is_at, name = path.partition(f"{ISSUERS_AT}/{self.host}")
        if base or not is_at or not self.is_on:
            return None
        configuration = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/.well-known/jwks.json",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES384"],
        }
        documents = {"openid-configuration": configuration, "jwks.json": {"keys": [self._jwk]}}
        found = documents.get(name.removeprefix("/.well-known/"))
        return None if found is None else Answer(200, "application/json", json.dumps(found).encode())

    def answer(self, request: Request, scope: Scope) -> Answer | None:
        """What a signed request of the query protocol is answered; None for what is the emulator's to answer."""
        asked = {
            name: values[0] for name, values in parse_qs(f"{request.query}&{request.body.decode('latin-1')}").items()
        }
        action, service = asked.get("Action", ""), scope.service
        role = self._role_of(scope.key_id) if service == "sts" and action in _STS else None
        try:
            if role is not None:
                result = _caller(role) if action == "GetCallerIdentity" else self._token(role, asked, scope.region)
            elif service == "iam" and action.endswith((_SWITCH, f"{_SWITCH}Info")):
                result = self._switched(action)
            elif service == "sts" and action == "GetWebIdentityToken":
                raise RefusedError(
                    403, "AccessDenied", "the account's root is no role of which AWS would give its word"
                )
            else:
                return None
        except RefusedError as refused:
            return _error(service, refused)
        fields = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in result.items())
        inner = f"<{action}Result>{fields}</{action}Result><ResponseMetadata><RequestId>{uuid4()}</RequestId>"
        body = f'<{action}Response xmlns="{_XMLNS[service]}">{inner}</ResponseMetadata></{action}Response>'
        return Answer(200, "text/xml", body.encode())

    def _switched(self, action: str) -> dict[str, str]:
        switch = self._folder / "web-identity.on"
        if action.startswith("Enable"):
            if self.is_on:
                raise RefusedError(409, "FeatureEnabled", "outbound web identity federation is enabled already")
            switch.touch()
            return {"IssuerIdentifier": self.issuer}
        if not self.is_on:
            raise RefusedError(404, "FeatureDisabled", "outbound web identity federation is not enabled")
        if action.startswith("Disable"):
            switch.unlink()
            return {}
        return {"IssuerIdentifier": self.issuer, "JwtVendingEnabled": "true"}

    def _token(self, role: str, asked: Mapping[str, str], region: str) -> dict[str, str]:
        if not self.is_on:
            raise RefusedError(403, f"{_SWITCH}DisabledException", "outbound web identity federation is not enabled")
        audiences = [value for name, value in sorted(asked.items()) if name.startswith("Audience.member.")]
        lives_s = asked.get("DurationSeconds", "300")
        if asked.get("SigningAlgorithm") != "RS256":
            raise RefusedError(400, "ValidationError", "signingAlgorithm: RS256 is the one that is known here")
        if not 1 <= len(audiences) <= 10 or not all(1 <= len(each) <= 1000 for each in audiences):
            raise RefusedError(400, "ValidationError", "audience: 1 to 10, of 1 to 1000 characters each")
        if not lives_s.isdecimal() or not 60 <= int(lives_s) <= 3600:
            raise RefusedError(400, "ValidationError", "durationSeconds: 60 to 3600")
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": role,
            "aud": audiences[0] if len(audiences) == 1 else audiences,
            "iat": now,
            "exp": now + int(lives_s),
            "jti": str(uuid4()),
            "https://sts.amazonaws.com/": {
                "aws_account": role.split(":")[4],
                "source_region": region,
                "principal_id": role,
            },
        }
        ends = datetime.fromtimestamp(now + int(lives_s), UTC)
        return {"WebIdentityToken": self._signed(claims), "Expiration": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def _signed(self, claims: Mapping[str, object]) -> str:
        header = {"alg": "RS256", "typ": "JWT", "kid": self._jwk["kid"]}
        whole = ".".join(_text(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
        return f"{whole}.{_text(self._key.sign(whole.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _caller(role: str) -> dict[str, str]:
    account, name = role.split(":")[4], role.rpartition("/")[2]
    arn = f"arn:aws:sts::{account}:assumed-role/{name}/{name}"
    return {"Arn": arn, "UserId": f"AROALOCAL:{name}", "Account": account}


def _error(service: str, refused: RefusedError) -> Answer:
    error = f"<Error><Type>Sender</Type><Code>{refused.code}</Code><Message>{escape(str(refused))}</Message></Error>"
    body = f'<ErrorResponse xmlns="{_XMLNS[service]}">{error}<RequestId>{uuid4()}</RequestId></ErrorResponse>'
    return Answer(refused.status, "text/xml", body.encode())


def role_of_function(role: str) -> str:
    """A role's ARN, from that or from its bare name, which templates may give."""
    return role if role.startswith("arn:") else f"arn:aws:iam::{ACCOUNT}:role/{role}"


def _key_in(file: Path) -> rsa.RSAPrivateKey:
    """The key in a file, made there when there is none; readable by its owner only."""
    if not file.exists():
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        form = serialization.PrivateFormat.PKCS8
        content = made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        draft = file.with_suffix(".partial")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
            opened.write(content)
        os.replace(draft, file)
    found = serialization.load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(found, rsa.RSAPrivateKey):
        raise ValueError(f"{file} holds no RSA key")
    return found


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
