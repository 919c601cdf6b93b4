"""Whatever stands in an image, it is either refused as it is read, or folds, is stored and is archived without harm."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.adapters.aws.dynamodb import closed_item, record_from_item
from fiso.adapters.aws.dynamodb_states import state_from_item, state_item
from fiso.codecs.record import to_document
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso.services.log.ingest import ingest
from fiso.testing.memory import InMemoryArchive, InMemoryDeadLetters, InMemoryEndpointStates, InMemoryRecordLists
from functions.stream_consumer.handler import consume
from functions.stream_consumer.wiring import Stores
from tests.builders import a_record, a_summary, an_attempt
from tests.logged import log_of

FUNCTION = a_record().request.function_name
BASE = a_record(attempts=(an_attempt("azure", status=None), an_attempt()), candidates=(a_summary(),))

numbers = st.one_of(
    st.sampled_from("NaN Infinity -Infinity 1e999 -1e999 1E+125 -1 0 -0.0 1e308 9e15 1e-320 0.0000001 5e-324".split()),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.just("9" * 5_000),
)
texts = st.one_of(
    st.sampled_from(
        [
            "",
            "\ud800",
            "\x00",
            "x" * 3_000,
            "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "2026-11-23T09:30:00",
            "1969-12-31T23:59:59Z",
        ]
    ),
    st.text(max_size=6),
)
attributes = st.one_of(
    numbers.map(lambda value: {"N": value}),
    texts.map(lambda value: {"S": value}),
    st.sampled_from([{"NULL": True}, {"BOOL": True}, {"M": {}}, {"L": []}, {"B": "AA=="}, {}, {"N": None}, {"S": 1}]),
)
raw_numbers = st.one_of(
    st.sampled_from([float("nan"), float("inf"), -1.0, 0.0, 1e308, 1e-320, -0.0, 10**400]),
    st.integers(),
    st.floats(),
)
json_values = st.one_of(raw_numbers, texts, st.none(), st.booleans(), st.just([]), st.just({}))
nested = st.sampled_from(("features", "candidates", "exclusions", "attempts"))


@st.composite
def images(draw: st.DrawFn) -> dict[str, Any]:
    """A genuine closed record's image with up to three attributes or nested values replaced."""
    image: dict[str, Any] = {name: dict(value) for name, value in closed_item(BASE).items()}
    detail = json.loads(image["detail"]["S"])
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            image[draw(st.sampled_from(sorted(set(image) - {"detail"})))] = draw(attributes)
        else:
            _damage(draw, detail)
    image["detail"] = {"S": json.dumps(detail)}
    return image


def _damage(draw: st.DrawFn, detail: dict[str, Any]) -> None:
    name = draw(nested)
    if not detail[name] or draw(st.integers(0, 9)) == 0:
        detail[name] = draw(json_values)
    elif isinstance(detail[name], dict):
        detail[name][draw(st.sampled_from(sorted(detail[name])))] = draw(json_values)
    elif isinstance(detail[name], list):
        row = detail[name][draw(st.integers(0, len(detail[name]) - 1))]
        if isinstance(row, dict):
            row[draw(st.sampled_from(sorted({*row, "failure", "cold_start", "billed_ms"})))] = draw(json_values)
        elif row:
            row[draw(st.integers(0, len(row) - 1))] = draw(json_values)


@settings(deadline=None, max_examples=400)
@given(st.lists(images(), min_size=1, max_size=4))
def test_an_image_is_refused_or_folds_and_is_stored_and_archived(hostile: list[dict[str, Any]]) -> None:
    states = InMemoryEndpointStates()
    for position, image in enumerate(hostile):
        try:
            record = record_from_item(image)
        except InvalidRecord:
            continue
        assert isinstance(record, InvocationRecord)
        json.dumps(to_document(record), allow_nan=False).encode()
        batch = [record, a_record(position + 10, timestamp=datetime.now(UTC), attempts=(an_attempt(latency_ms=90.0),))]
        ingest(batch, states=states, archive=InMemoryArchive(), batch_id=str(position))
    for state in states.states.values():
        item = state_item(state, packs=False)
        json.loads(item["state"]["S"], parse_constant=_refused)
        assert len(item["item"]["S"]) < 1_024
        assert 0 < len(item["function_name"]["S"].encode()) < 2_048
        assert state_from_item(item) == state_from_item(state_item(state)) == state


@settings(deadline=None, max_examples=100)
@given(images())
def test_a_hostile_image_is_poison_alone_and_those_before_it_are_folded(image: Mapping[str, Any]) -> None:
    sequence = [closed_item(a_record(2)), image]
    stores = Stores(
        log=log_of(*sequence),
        states=InMemoryEndpointStates(),
        archive=InMemoryArchive(),
        lists=InMemoryRecordLists(),
        letters=InMemoryDeadLetters(),
    )
    records = [{"dynamodb": {"SequenceNumber": str(n), "NewImage": each}} for n, each in enumerate(sequence)]
    assert consume(records, stores) in ({"batchItemFailures": []}, {"batchItemFailures": [{"itemIdentifier": "1"}]})
    assert a_record(2).invocation_id in stores.states.folded_among(FUNCTION, [a_record(2)])


def _refused(constant: str) -> float:
    raise AssertionError(f"a state holds {constant}")
