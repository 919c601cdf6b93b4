"""Signing: AWS Signature Version 4 for API Gateway (`execute-api`) or a function URL (`lambda`), for httpx."""

from collections.abc import Generator
from typing import Protocol

import httpx
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

SERVICE, URL_SERVICE, URL_HOST = "execute-api", "lambda", ".lambda-url."
SIGNED_HEADERS = ("host", "content-type")


class Credentials(Protocol):
    """Where current credentials come from: botocore's own object, which refreshes what expires."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """The key, secret and token of this moment."""
        ...


class SignedByCaller(httpx.Auth):
    """Signs every request with the caller's credentials, at the moment it is sent."""

    requires_request_body = True

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._credentials, self._region = credentials, region

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the signature's headers."""
        to_sign = AWSRequest(
            method=request.method,
            url=str(request.url),
            data=request.content,
            headers={name: request.headers[name] for name in SIGNED_HEADERS if name in request.headers},
        )
        service = URL_SERVICE if URL_HOST in request.url.host else SERVICE
        SigV4Auth(self._credentials.get_frozen_credentials(), service, self._region).add_auth(to_sign)
        request.headers.update(dict(to_sign.headers.items()))
        yield request
