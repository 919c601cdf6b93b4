"""Stage access: the gateway of a stage, by its name or by an address given by hand, and the options for both."""

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Annotated, TypeAlias

import httpx
import typer

from fiso_cli.errors import CommandError
from fiso_cli.stage import Stage
from fiso_cli.traffic.gateway import ANSWER_TIMEOUT_S, Gateway

if TYPE_CHECKING:
    from fiso_cli.traffic.signing import SignedByCaller

StageOption: TypeAlias = Annotated[str, typer.Option("--stage", help="The stage to speak to.")]
UrlOption: TypeAlias = Annotated[
    str, typer.Option("--api-url", envvar="FISO_API_URL", help="The API's address, instead of looking it up.")
]
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def gateway_of(stage_name: str, api_url: str = "", *, timeout_s: float = ANSWER_TIMEOUT_S) -> Gateway:
    """The gateway, signed for outside the local stage. `CommandError` when the stage is not to be found."""
    stage = Stage.named(stage_name)
    url = (api_url or stage.api_url).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise CommandError(f"{url!r} is not an address; it must start with http:// or https://")
    return Gateway(url=url, auth=_shown(stage), timeout_s=timeout_s)


def _shown(stage: Stage) -> httpx.Auth | None:
    """What calls show of the caller: FISO_TOKEN, as `fiso token` or an issuer gives it; else a signature on AWS."""
    token = stage.environ.get("FISO_TOKEN", "").strip()
    if token:
        return ShownToken(token)
    return None if stage.is_local else _signature(stage)


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


def _signature(stage: Stage) -> "SignedByCaller":
    from fiso_cli.traffic.signing import SignedByCaller  # botocore: a third of a second that a local call does not need

    credentials = stage.session.get_credentials()
    if credentials is None:
        raise CommandError('no AWS credentials to sign with; set AWS_PROFILE, or run "aws configure"')
    return SignedByCaller(credentials, stage.region)
