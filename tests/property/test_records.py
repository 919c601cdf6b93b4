import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from fiso.adapters.aws.dynamodb import closed_item, record_from_item
from fiso.adapters.aws.dynamodb_states import state_from_item, state_item
from fiso.codecs.record import from_document, to_document
from fiso.codecs.typed import Json
from fiso.domain.endpoint import EndpointId
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.state import EndpointState
from fiso.routing.fold import fold
from fiso.services.log.ingest import ingest
from fiso.testing.memory import InMemoryArchive, InMemoryEndpointStates
from tests.builders import a_record
from tests.strategies import records

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(records())
def test_a_record_survives_its_document(record: InvocationRecord) -> None:
    once = from_document(json.loads(json.dumps(to_document(record))))
    assert from_document(to_document(once)) == once  # type: ignore[arg-type]
    assert isinstance(once, InvocationRecord)
    assert once.invocation_id == record.invocation_id
    assert [a.failure for a in once.attempts] == [a.failure for a in record.attempts]


@given(records())
def test_a_record_is_the_same_from_the_table_as_from_the_archive(record: InvocationRecord) -> None:
    assert record_from_item(closed_item(record)) == from_document(json.loads(json.dumps(to_document(record))))


@given(records(), st.sampled_from([*sorted(to_document(a_record())), "status"]), json_values)
def test_a_damaged_document_is_invalid_and_nothing_else(record: InvocationRecord, name: str, value: Json) -> None:
    document = {**to_document(record), name: value}
    try:
        from_document(document)
    except InvalidRecord:
        return


@given(st.lists(records("f"), max_size=12, unique_by=lambda r: r.invocation_id), st.randoms(use_true_random=False))
def test_replaying_the_log_gives_the_state_however_often_records_come(log: list[InvocationRecord], rng) -> None:  # type: ignore[no-untyped-def]
    states = InMemoryEndpointStates()
    expected: dict[EndpointId, EndpointState] = {}
    for position, record in enumerate(log):
        expected = fold(expected, record) if record.status is RecordStatus.FINAL else expected
        again = rng.choices(log[: position + 1], k=2)
        batch = [record, *again, record]
        ingest(batch, states=states, archive=InMemoryArchive(), batch_id=str(position))
    actual = {endpoint: replace(state, version=0) for (_, endpoint), state in states.states.items()}
    assert actual == expected


@given(st.lists(records("f"), min_size=1, max_size=5))
def test_a_state_survives_its_item(log: list[InvocationRecord]) -> None:
    states: dict[EndpointId, EndpointState] = {}
    for record in log:
        states = fold(states, record)
    for state in states.values():
        assert state_from_item(state_item(state)) == state
