"""What stands in for App Service Authentication: audience, issuer, time and, where an Entra is named, the signature of
a token."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import httpx
import jwt

VARIABLE = "FISO_LOCAL_AUTHENTICATION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a caller must show. `keys` is the address of the issuer's JWKS; without it signatures are not looked at."""

    audiences: Sequence[str]
    issuer: str
    keys: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self | None:
        """None for an app that lets everybody in."""
        text = environ.get(VARIABLE)
        return cls(**json.loads(text)) if text else None

    def takes(self, authorization: str) -> bool:
        token = authorization.removeprefix("Bearer ")
        if not self.keys:
            return self._is_meant(token)
        try:
            key = _key(self.keys, str(jwt.get_unverified_header(token).get("kid")))
            jwt.decode(token, key, algorithms=["RS256"], audience=list(self.audiences), issuer=self.issuer)
        except (jwt.PyJWTError, httpx.HTTPError, StopIteration):
            return False
        return True

    def _is_meant(self, token: str) -> bool:
        try:
            part = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
            return claims["aud"] in self.audiences and float(claims["exp"]) > time.time()
        except (IndexError, KeyError, TypeError, ValueError):
            return False


@cache
def _key(url: str, kid: str) -> Any:
    listed = httpx.get(url, timeout=5, trust_env=False).json()["keys"]
    return jwt.PyJWK(next(each for each in listed if each["kid"] == kid), algorithm="RS256").key
