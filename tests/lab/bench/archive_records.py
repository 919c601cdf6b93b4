"""Lines of an archive that nobody has: records of three functions on three clouds, as `to_document` writes them.

Made from one genuine line by putting in what differs, 50,000 a second. A rare function has one call in ten thousand.
"""

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

from fiso.codecs.record import instant, to_document
from fiso.domain.endpoint import Provider
from fiso.prediction import features
from tests.builders import a_record, an_attempt, an_endpoint

LATENCY_MS = {Provider.AWS: 20.0, Provider.AZURE: 60.0, Provider.GCP: 35.0}
ID, AT, FUNCTION, MS, SIZE, SHOWN = "@id@", "@at@", "@function@", 123456.5, 1234567.0, "7654321.5"
FUNCTIONS = ("thumbnails", "word-count", "invoices")


@cache
def template(provider: Provider) -> tuple[str, ...]:
    """A line in pieces, between which stands what differs."""
    endpoint, at = an_endpoint(provider), datetime.fromisoformat("2026-11-23T09:30:00+00:00")
    row = features.snapshot(
        function_type="text", endpoint=endpoint, request_size_bytes=1234567, now=at, state=None, in_flight=0.0
    )
    record = a_record(
        1,
        timestamp=at,
        cloud_provider=provider,
        execution_time_ms=MS,
        features=dict(zip(features.NAMES, row, strict=True)),
        attempts=(an_attempt(provider, latency_ms=MS),),
        raw_latency_ms=40.0,
        model_version="synthetic-42-packaged",
    )
    document = to_document(record) | {"invocation_id": ID, "timestamp": AT, "function_name": FUNCTION}
    text = json.dumps(document, separators=(",", ":"))
    for value, mark in ((ID, "\0id\0"), (AT, "\0at\0"), (FUNCTION, "\0function\0"), (str(MS), "\0ms\0")):
        text = text.replace(value, mark)
    return tuple(text.replace("1234567.0", "\0size\0").split("\0"))


def lines(start: datetime, seed: int, count: int) -> Iterator[bytes]:
    """So many lines of the hour that begins at `start`; the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(count):
        provider, size = rng.choice(tuple(Provider)), rng.choice((100.0, 10_000.0))
        latency_ms = LATENCY_MS[provider] * (3 if size > 1000 else 1) * rng.lognormvariate(0, 0.1)
        drawn = rng.random()
        known = {
            "id": str(UUID(int=rng.getrandbits(128), version=4)),
            "at": instant(start + timedelta(milliseconds=rng.randrange(3_600_000))),
            "function": FUNCTIONS[2] if drawn < 1e-4 else FUNCTIONS[drawn < 0.2],
            "ms": f"{latency_ms:.4f}",
            "size": str(size),
        }
        yield "".join(known.get(piece, piece) for piece in template(provider)).encode()
