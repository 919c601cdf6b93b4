"""The claims on the log, in seconds: the genuine edge over the emulator, its table behind a store that fails."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from uuid import uuid4

import pytest

from fiso.adapters.aws.client import DynamoDBClient
from fiso.adapters.aws.dynamodb import DynamoDBInvocationLog
from fiso.domain.record import InvocationRecord, OpenRecord
from fiso.domain.request import InvocationId
from fiso.ports import SpilledLine
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.log.reconcile import Reconciliation
from fiso.services.log.spill import LONGEST_WAIT_S, MARK, SpillingLog
from fiso.testing.memory import InMemoryMetrics, InMemorySpilledRecords, InMemoryWatermark
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import KEYRING, a_record, an_open_record
from tests.lab.chaos.log.faulty_store import FaultyStore, StoreFault, faulty_store
from tests.lab.chaos.rig.stores import LOG_TABLE, running_emulator

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyStore]:
    home: Path = tmp_path_factory.mktemp("emulator")
    with running_emulator(home) as cloud, faulty_store(cloud.port) as faulty:
        yield faulty


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    transport = HttpTransport()
    yield transport
    transport.close()


def quick_log(store: FaultyStore, transport: HttpTransport, timeout_s: float = LONGEST_WAIT_S) -> DynamoDBInvocationLog:
    """As the orchestrator writes it, or with the keeper's patience."""
    service = SignedService(
        endpoint=AwsEndpoint(service="dynamodb", region="us-east-1", url=store.url),
        credentials=Credentials(access_key="k", secret_key="s"),
        transport=transport,
        clock=lambda: datetime.now(UTC),
    )
    client = DynamoDBClient(service, timeout_s=timeout_s)
    return DynamoDBInvocationLog(client, LOG_TABLE, clock=lambda: NOW)


def spilled_lines(caplog: pytest.LogCaptureFixture) -> list[SpilledLine]:
    texts = [json.dumps({MARK: line.log_spill}) for line in caplog.records if line.message == MARK]  # type: ignore[attr-defined]
    return [SpilledLine(id=str(n), written_at=NOW - timedelta(minutes=1), text=text) for n, text in enumerate(texts)]


@pytest.mark.parametrize("fault", [fault for fault in StoreFault if fault is not StoreFault.NONE])
def test_nothing_is_lost_and_nothing_doubled_whatever_the_table_does(
    fault: StoreFault, store: FaultyStore, transport: HttpTransport, caplog: pytest.LogCaptureFixture
) -> None:
    log = quick_log(store, transport)
    with ThreadPoolExecutor(max_workers=1) as executor:
        budget = StoreWaitBudget(executor, stopwatch=monotonic)
        keys = CachedValue("keys", lambda _: KEYRING, budget=budget)
        assert keys.get_or_wait() == KEYRING
    spilling = SpillingLog(log, metrics=InMemoryMetrics(), keys=lambda: keys)
    ids = [InvocationId(str(uuid4())) for _ in range(8)]
    with caplog.at_level(logging.ERROR):
        for number, id in enumerate(ids):
            store.fault = fault if number >= 3 else StoreFault.NONE
            spilling.open(an_open_record(invocation_id=id))
            store.fault = fault if 2 <= number < 6 else StoreFault.NONE
            spilling.close(a_record(invocation_id=id, timestamp=an_open_record().timestamp))
    store.fault = StoreFault.NONE
    lines = spilled_lines(caplog)
    assert lines
    with ThreadPoolExecutor(max_workers=2) as executor:
        reconciliation = Reconciliation(
            spilled=InMemorySpilledRecords(*lines),
            keys=lambda: KEYRING,
            watermark=InMemoryWatermark(),
            log=quick_log(store, transport, timeout_s=10),
            clock=lambda: NOW,
            executor=executor,
        )
        done = reconciliation.reconcile(until=NOW)
    assert done.is_complete
    assert (done.contradicted, done.unreadable, done.unmarked) == (0, 0, 0)
    records = [log.find(id) for id in ids]
    assert all(isinstance(record, InvocationRecord) for record in records)


def test_a_killed_orchestrators_intent_is_there_to_be_found(store: FaultyStore, transport: HttpTransport) -> None:
    log, id = quick_log(store, transport), InvocationId(str(uuid4()))
    SpillingLog(log, metrics=InMemoryMetrics()).open(an_open_record(invocation_id=id, deadline_at=NOW))
    assert isinstance(log.find(id), OpenRecord)
