"""Telemetry: what the Functions host tells Application Insights of a request (`POST /v2.1/track`, the SDKs' own form),
where its connection string names a server on this machine. Nobody waits for it.
"""

import json
import urllib.request
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

TIMEOUT_S = 2.0
_SENDER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="telemetry")


class Requests:
    """Of one app."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        told = environ.get("APPLICATIONINSIGHTS_CONNECTION_STRING", "")
        parts = dict(part.partition("=")[::2] for part in told.split(";") if part)
        url, self._key = parts.get("IngestionEndpoint", "").rstrip("/"), parts.get("InstrumentationKey", "")
        self._url = f"{url}/v2.1/track" if url.startswith("http://127.0.0.1:") else ""
        self._role = environ.get("WEBSITE_SITE_NAME", "")
        self._instance = uuid.uuid4().hex

    def tell(self, function: str, url: str, status: int, seconds: float) -> None:
        """One request that is over."""
        if self._url:
            _SENDER.submit(_post, self._url, json.dumps(self._envelope(function, url, status, seconds)).encode())

    def _envelope(self, function: str, url: str, status: int, seconds: float) -> dict[str, Any]:
        minutes, rest = divmod(seconds, 60)
        request = {
            "ver": 2,
            "id": uuid.uuid4().hex[:16],
            "name": function,
            "url": url,
            "duration": f"{int(minutes // 60):02d}:{int(minutes % 60):02d}:{rest:09.6f}",
            "success": status < 400,
            "responseCode": str(status),
        }
        return {
            "name": "Microsoft.ApplicationInsights.Request",
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "iKey": self._key,
            "tags": {"ai.cloud.role": self._role, "ai.cloud.roleInstance": self._instance},
            "data": {"baseType": "RequestData", "baseData": request},
        }


def _post(url: str, body: bytes) -> None:
    asked = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with suppress(OSError), urllib.request.urlopen(asked, timeout=TIMEOUT_S):  # nosec B310: loopback, as checked above
        pass
