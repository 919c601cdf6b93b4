"""Faults: what the provider proxy is told to do to a provider's functions."""

import http.client
import json
import math

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import HOST
from localcloud.layout import LocalCloud
from localcloud.profile import Provider

_TIMEOUT_S = 5.0


def kill(cloud: LocalCloud, provider: str) -> None:
    """Refuse every connection to the provider's functions."""
    _post(cloud, provider, {"kind": "kill"})


def heal(cloud: LocalCloud, provider: str) -> None:
    """End the provider's fault."""
    _post(cloud, provider, {"kind": "heal"})


def slow(cloud: LocalCloud, provider: str, factor: float) -> None:
    """Make the provider's answers take `factor` times as long."""
    if not (math.isfinite(factor) and factor >= 1):
        raise CommandError(f"the factor must be a number from 1 up, not {factor:g}")
    _post(cloud, provider, {"kind": "slow", "factor": factor})


def _post(cloud: LocalCloud, provider: str, fault: dict[str, str | float]) -> None:
    if provider not in set(Provider):
        raise CommandError(f"there is no provider {provider!r}: choose from {', '.join(Provider)}")
    connection = http.client.HTTPConnection(HOST, cloud.port("provider-proxy"), timeout=_TIMEOUT_S)
    body = json.dumps({"provider": provider, **fault})
    try:
        connection.request("POST", "/fault", body=body, headers={"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        raise CommandError("the provider proxy does not answer: run `fiso local up` first") from None
    finally:
        connection.close()
    if answer.status >= 400:
        raise CommandError(f"the provider proxy refused with {answer.status}: {_reason(told)}")


def _reason(told: str) -> str:
    try:
        return str(json.loads(told)["error"])
    except (ValueError, KeyError, TypeError):
        return told[:200]
