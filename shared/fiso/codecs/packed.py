"""Packing: the nested part of a record, and a state, as deflated JSON, so that either takes one write unit, not two.

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
    ),
    2: (
        b'"last_failed_at":"equivalence":"canary":"cold_latency_ms":"cold_cost_usd":"changed_at":"tellers":[0,0,0,0,0,0,0'
        b'],"holds_reports":false,"reported":[],"said":[],"totals":[,"use":[,"only_of":","shape_by":"","odd_by":"text/'
        b'plainapplication/json","shape_calls":50.0,"oddity":"","shape":"","last_odd_at":null,"is_convicted":false,'
        b'"odd_since":0,"answers_since":0,"strikes":0,"evidence":0.0,"suspicion":0.0,"odd":0.0,"conduct":{"calls":'
        b'"answer_bytes":"shape_xy":"shape_xx":"shape_model_version":"","idle_colds":[0,0,0,0,0,0,0],"idle_calls":['
        b'"excess":0.0}},"above":[0.0,0.0,0.0,0.0,0.0,0.0,0.0],"last_at":"2026-T+00:00","raw_log":"cost_usd":"recent_ms":'
        b'"latency_square":"latency_ms":"warm":"cold_share":0.0,"tried_loss":0.0,"tries":0,"levels":{"0":{"answers":'
        b'"warm_answers":"last_failure":"","last_called_at":"cost_usd":"cold_known":0,"cold_starts":0,'
        b'"arrival_interval_ms":"error_rate":0.0,"latency_deviation_ms":"latency_ms":"consecutive_failures":0,'
        b'"failovers_from":0,"failures":0,{"attempts":'
    ),
}
RECORDS, STATES = 1, 2


def pack(text: str, dictionary: int = RECORDS) -> bytes:
    """Of a JSON object's text."""
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY, zdict=_DICTIONARIES[dictionary])
    return bytes([dictionary]) + deflate.compress(text.encode()) + deflate.flush()


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
