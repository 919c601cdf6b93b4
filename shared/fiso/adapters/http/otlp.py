"""OTLP over HTTP, in JSON (opentelemetry.io/docs/specs/otlp): one request a batch, tried once."""

import json
from collections.abc import Mapping

from fiso.domain.errors import StoreUnavailable
from fiso_client.core.transport import HttpTransport, TransportError

TIMEOUT_S = 2.0


class OtlpSpans:
    """A collector. `url` is its base, below which are `/v1/traces`."""

    def __init__(self, transport: HttpTransport, url: str) -> None:
        self._transport, self._url = transport, f"{url.rstrip('/')}/v1/traces"

    def export(self, body: Mapping[str, object]) -> None:
        sent = json.dumps(body, separators=(",", ":")).encode()
        headers = {"content-type": "application/json"}
        try:
            answer = self._transport.send("POST", self._url, headers=headers, body=sent, timeout_s=TIMEOUT_S)
        except TransportError as error:
            raise StoreUnavailable(f"the collector: {error}") from error
        if answer.status >= 300:
            raise StoreUnavailable(f"the collector answered {answer.status}")
