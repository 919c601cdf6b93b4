"""Starts the emulator (ministack) behind its door, with every Lambda invocation sent to the local Lambda host.

Run in the emulator's own environment, by file name: may import the standard library, ministack, and what of the local
cloud needs no more than that. The emulator's own setting, `MINISTACK_LAMBDA_PROXY_<function>`, needs the names in
advance, flattens errors, and counts a cold start against the function's timeout; so its forwarding is replaced. The
host logs each invocation itself.
"""

import argparse
import inspect
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

if __name__ == "__main__":
    # Modules beside this file must not be taken for the standard library's or the emulator's own.
    _HERE = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _HERE]
    sys.path.append(str(_HERE.parent))

from fiso_cli.access_key import AccessKey, access_key_of
from localcloud import signatures
from localcloud.emulator_door import behind_door, peer_of
from localcloud.signatures import Request
from localcloud.web_identity import WebIdentity, role_of_function

# The names replaced in ministack.services.lambda_svc, with the parameters they must have (ministack 1.5.33).
_REPLACED = {
    "_proxy_url_for": ["config"],
    "_execute_function_proxy": ["func", "event", "url", "request_id"],
    "_emit_lambda_logs": ["func", "request_id", "log_text", "error", "duration_ms", "log_source"],
}
_WRAPPED = {
    "_handle_execute_in_scope": ["api_id", "stage", "path", "method"],
    "_match_route": ["api_id", "method", "path"],
    "_invoke_lambda_proxy": ["integration", "api_id", "stage", "path", "method", "headers", "body"],
    "_v2_request_body_is_text": ["content_type"],
}
"""The same of ministack.services.apigateway, with the parameters that they must begin with."""
_COLD_START_ALLOWANCE_S = 30


class HostForwarding:
    """The replacements. They answer what the emulator's own executors would."""

    def __init__(self, host_url: str, key: AccessKey) -> None:
        self._host_url = host_url.rstrip("/")
        self._key = key

    def url_for(self, config: dict[str, object]) -> str:
        return f"{self._host_url}/invoke/{quote(str(config['FunctionName']), safe='')}"

    def execute(self, func: dict[str, object], event: object, url: str, request_id: str) -> dict[str, object]:
        config = func.get("config")
        config = config if isinstance(config, dict) else func
        parts = urlsplit(url)
        headers = {
            "host": parts.netloc,
            "content-type": "application/json",
            "x-amzn-lambda-function-arn": str(config.get("FunctionArn", "")),
            "x-amzn-lambda-function-version": str(config.get("Version", "$LATEST")),
            "x-amzn-lambda-request-id": request_id,
        }
        body = json.dumps(event, ensure_ascii=False).encode()
        request = Request(method="POST", path=parts.path, query="", headers=headers, body=body)
        headers = signatures.signed(request, self._key, "lambda", "us-east-1", datetime.now(UTC))
        timeout_s = int(str(config.get("Timeout") or 3)) + _COLD_START_ALLOWANCE_S
        return _exchange(urllib.request.Request(url, data=body, headers=headers), timeout_s)


def _exchange(request: urllib.request.Request, timeout_s: float) -> dict[str, object]:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # nosec B310: the host, by HTTP
            return {"body": json.loads(answer.read() or b"null")}
    except urllib.error.HTTPError as refusal:
        document = _document(refusal.read())
        if refusal.code == 429:
            return {"body": document, "error": True, "throttle": True}
        return {"body": document, "error": True}
    except (OSError, ValueError) as error:
        return {"body": {"errorType": "ServiceException", "errorMessage": f"Lambda host: {error}"}, "error": True}


def _document(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return {"errorType": "ServiceException", "errorMessage": body.decode(errors="replace")}


def forward_to_host(service: object, host_url: str, key: AccessKey) -> None:
    """Replace the emulator's forwarding. Exits with one line when this is not the emulator that it was written for."""
    for name, expected in _REPLACED.items():
        found = list(inspect.signature(getattr(service, name, lambda: None)).parameters)
        if found != expected:
            sys.exit(f"this ministack is not the expected one: lambda_svc.{name}{tuple(found)}, not {tuple(expected)}")
    forwarding = HostForwarding(host_url, key)
    replacements = {
        "_proxy_url_for": forwarding.url_for,
        "_execute_function_proxy": forwarding.execute,
        "_emit_lambda_logs": lambda *_args, **_kwargs: None,
    }
    for name, replacement in replacements.items():
        setattr(service, name, replacement)


def hand_on_as_api_gateway(gateway: Any) -> None:
    """Let OPTIONS reach the routes of an API without CORS settings, as API Gateway does; the emulator answers 403.

    It compares the method with OPTIONS before it looks for a route, so the method goes past that in lower case. And a
    body that is no text goes as base64 whatever it says it is: the emulator would replace what it cannot decode.
    """
    for name, expected in _WRAPPED.items():
        found = list(inspect.signature(getattr(gateway, name, lambda: None)).parameters)
        if found[: len(expected)] != expected:
            sys.exit(f"this ministack is not the expected one: apigateway.{name}{tuple(found)}, not {tuple(expected)}")
    handle, match, invoke, says_text = (getattr(gateway, name) for name in _WRAPPED)
    is_readable: ContextVar[bool] = ContextVar("is_readable", default=True)
    apis = getattr(gateway, "_apis")  # noqa: B009 - the emulator's own

    async def handled(api_id: str, stage: str, path: str, method: str, *rest: Any, **named: Any) -> Any:
        has_settings = (apis.get(api_id) or {}).get("corsConfiguration")
        return await handle(api_id, stage, path, method if has_settings else method.lower(), *rest, **named)

    async def invoked(
        integration: Any,
        api_id: str,
        stage: str,
        path: str,
        method: str,
        headers: Any,
        body: Any,
        *rest: Any,
        **named: Any,
    ) -> Any:
        is_readable.set(_is_readable(body))
        given = handed_on(headers, integration.get("requestParameters") or {})
        return await invoke(integration, api_id, stage, path, method.upper(), given, body, *rest, **named)

    def is_sent_as_text(content_type: str | None) -> bool:
        return is_readable.get() and bool(says_text(content_type))

    def matched(api_id: str, method: str, path: str) -> Any:
        return match(api_id, method.upper(), path)

    for name, replacement in zip(_WRAPPED, (handled, matched, invoked, is_sent_as_text), strict=True):
        setattr(gateway, name, replacement)


def handed_on(headers: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """Headers as API Gateway hands them on: `overwrite:header.NAME` with a static value, which is all that FISO's
    template maps. The emulator does so for HTTP integrations alone."""
    given = {name.lower(): value for name, value in headers.items()}
    for parameter, value in parameters.items():
        kind, _, name = parameter.partition(":header.")
        if kind == "overwrite" and value:
            given[name.lower()] = value
    return given


def _is_readable(body: object) -> bool:
    try:
        return not isinstance(body, bytes) or body.decode() is not None
    except UnicodeDecodeError:
        return False


def roles_of(service: Any) -> Callable[[str], str | None]:
    """By the access keys of the emulator's functions, the ARNs of their roles."""
    records = getattr(getattr(service, "_functions"), "_data")  # noqa: B009 - the emulator's own

    def role_of(key_id: str) -> str | None:
        for (*_, name), record in [*records.items()]:
            if access_key_of(str(name)) == key_id:
                return role_of_function(str((record.get("config") or record)["Role"]))
        return None

    return role_of


def main() -> None:
    parser = argparse.ArgumentParser(description="ministack, with its functions run by the local Lambda host.")
    parser.add_argument("--lambda-host-url", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--access-key", type=Path, required=True, metavar="FILE", help="whoever calls must sign with it"
    )
    parser.add_argument(
        "--peer", type=peer_of, metavar="REGION=URL", help="another local cloud, as a region of this one"
    )
    given = parser.parse_args()
    os.environ |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(given.port),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    sys.argv[1:] = []
    from ministack import app as emulator
    from ministack.services import apigateway, lambda_svc

    key = AccessKey.read(given.access_key)
    forward_to_host(lambda_svc, given.lambda_host_url, key)
    hand_on_as_api_gateway(apigateway)
    api_of = getattr(emulator, "_parse_execute_api_url")  # noqa: B009 - the emulator's own
    identity = WebIdentity(Path.cwd(), roles_of(lambda_svc))
    emulator.app = behind_door(emulator.app, api_of, key, given.peer, identity)
    emulator.main()


if __name__ == "__main__":
    main()
