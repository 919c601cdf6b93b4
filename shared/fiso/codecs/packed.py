"""Packing: the nested part of a record as deflated JSON, so that a record takes one write unit of DynamoDB's, not two.

The first byte says by which dictionary: what every record's JSON has in it need not be in each of them. A dictionary
never changes; another one is another byte. docs/decisions/0027-a-record-takes-one-write-unit.md
"""

import json
import zlib

from fiso.codecs.typed import Json
from fiso.domain.errors import InvalidRecord

MOST_BYTES = 1 << 20
"""Of what is unpacked: no item of DynamoDB's ever held more than 400 KB."""
_WINDOW_BITS, _MEMORY, _LEVEL = -12, 5, 6
_DICTIONARIES = {
    1: (
        b'"gcp","azure","aws"],"third":"odd":"outcome":"equal"},"shadow":{"canary":["failure":"timed_out","verdict":'
        b'"evidence":"cold_start":false,"billed_ms":"status":200,"shape":"application/json","cost_usd":"latency_ms":'
        b'"started_at":"2026-"attempts":[{"endpoint":"exclusions":[],"candidates":[["memory_mb":512.0},'
        b'"idle_seconds":86400.0,"in_flight":0.0,"current_load_factor":0.0,"historical_avg_latency":'
        b'"region_encoded":0.0,"hour_of_day":"day_of_week":"request_size_bytes":{"features":{'
        b'"cloud_provider_encoded":0.0,"function_type_encoded":'
    )
}
_NEWEST = 1


def pack(text: str) -> bytes:
    """Of a JSON object's text."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zdict=_DICTIONARIES[_NEWEST])
    return bytes([_NEWEST]) + deflate.compress(text.encode()) + deflate.flush()


def unpack(packed: bytes) -> dict[str, Json]:
    """`InvalidRecord` for what `pack` never made."""
    try:
        inflate = zlib.decompressobj(_WINDOW_BITS, zdict=_DICTIONARIES[packed[0]])
        text = inflate.decompress(packed[1:], MOST_BYTES)
        nested = json.loads(text)
    except (zlib.error, LookupError, ValueError, RecursionError) as error:
        raise InvalidRecord(f"packed detail does not parse: {type(error).__name__}: {error}") from error
    if not inflate.eof or inflate.unused_data or not isinstance(nested, dict):
        raise InvalidRecord("packed detail is cut off, or more than a record's")
    return nested
