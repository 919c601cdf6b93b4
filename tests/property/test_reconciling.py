"""The log after any writes, in any order and however often, is the same: the highest that each was written as."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fiso.domain.errors import WriteConflict
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.services.log.reconcile import Reconciliation
from fiso.services.maintenance.keep import unknown
from fiso.testing.memory import InMemoryInvocationLog, InMemorySpilledRecords, InMemoryWatermark
from tests.builders import KEYRING, NOW, a_record, a_spilled_line, an_open_record, invocation_id

Written = InvocationRecord | OpenRecord


def versions(number: int) -> tuple[Written, ...]:
    """What can be written of one invocation, lowest first."""
    intent = an_open_record(number)
    return intent, unknown(intent), a_record(number, timestamp=NOW)


writes = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12)


@settings(deadline=None)
@given(writes, st.randoms(use_true_random=False))
def test_the_log_does_not_depend_on_order_repetition_or_way(written: list[tuple[int, int]], rng) -> None:  # type: ignore[no-untyped-def]
    log, lines = InMemoryInvocationLog(), InMemorySpilledRecords()
    for number, height in rng.sample(written, len(written)) + rng.choices(written, k=3):
        record = versions(number)[height]
        if rng.random() < 0.5:
            lines.lines.append(a_spilled_line(record, NOW - timedelta(seconds=rng.randrange(1, 600))))
        else:
            _write(log, record)
    with ThreadPoolExecutor(max_workers=1) as executor:
        reconciliation = Reconciliation(
            spilled=lines,
            keys=lambda: KEYRING,
            watermark=InMemoryWatermark(),
            log=log,
            clock=lambda: NOW,
            executor=executor,
        )
        assert reconciliation.reconcile(until=NOW).is_complete
    highest = {number: max(height for other, height in written if other == number) for number, _ in written}
    assert log.records == {invocation_id(number): versions(number)[height] for number, height in highest.items()}


def _write(log: InMemoryInvocationLog, record: Written) -> None:
    if isinstance(record, OpenRecord):
        log.open(record)
        return
    try:
        log.close(record)
    except WriteConflict:
        assert log.find(record.invocation_id) != record
