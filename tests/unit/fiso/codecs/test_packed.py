import json
import zlib

import pytest
from hypothesis import given

from fiso.adapters.aws.dynamodb import closed_item, record_from_item
from fiso.codecs.packed import MOST_BYTES, pack, unpack
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso_cli.cost import measured
from fiso_cli.cost.metered import WRITE_UNIT_BYTES, item_bytes
from tests.strategies import records


@given(records())
def test_a_record_is_the_same_packed_as_not(record: InvocationRecord) -> None:
    assert record_from_item(closed_item(record, packs=True)) == record_from_item(closed_item(record))


def test_a_request_among_three_copies_takes_one_write_unit() -> None:
    sampled = measured.Meter().sampled(5)
    assert max(item_bytes(closed_item(record, packs=True)) for record in sampled) <= 0.8 * WRITE_UNIT_BYTES
    assert min(item_bytes(closed_item(record)) for record in sampled) > WRITE_UNIT_BYTES
    assert measured.work().record_units == 1


def bomb() -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12, 5)
    return b"\x01" + deflate.compress(b'"' + b"0" * 4 * MOST_BYTES) + deflate.flush()


DAMAGED = {
    "nothing": b"",
    "a dictionary that there is not": b"\x07" + pack("{}")[1:],
    "no deflated bytes": b"\x01\xff\xff\xff",
    "cut off": pack(json.dumps({"a": list(range(200))}))[:-9],
    "more after it": pack("{}") + b"x",
    "no object": pack("[1]"),
    "no JSON": pack("{"),
    "far more than an item": bomb(),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_pack_never_made_is_an_invalid_record(name: str) -> None:
    with pytest.raises(InvalidRecord):
        unpack(DAMAGED[name])
