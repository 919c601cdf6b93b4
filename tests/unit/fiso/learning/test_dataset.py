from dataclasses import replace
from datetime import timedelta
from math import isnan, nan

import numpy as np
import pytest

from fiso.domain.record import InvocationRecord, RecordStatus
from fiso.domain.request import TenantId
from fiso.learning import dataset
from fiso.prediction.features import NAMES
from fiso_client.core.failures import Failure
from tests.builders import NOW, a_record, an_attempt


def test_a_row_has_the_logged_features_and_targets() -> None:
    features = {name: float(position) for position, name in enumerate(NAMES)}
    data = dataset.build([a_record(features=features)])
    assert data.features.tolist() == [[float(position) for position in range(len(NAMES))]]
    assert (data.latency_ms[0], data.cost_usd[0], data.success[0]) == (100.0, 1e-6, 1.0)
    assert (data.served_latency_ms[0], data.served_by[0]) == (110.0, "m1")


def test_rows_come_oldest_first_whatever_the_order_of_the_archive() -> None:
    data = dataset.build([a_record(3, execution_time_ms=3.0), a_record(1, execution_time_ms=1.0), a_record(2)])
    assert data.latency_ms.tolist() == [1.0, 100.0, 3.0]
    assert np.all(np.diff(data.at) > 0)


def test_a_failure_teaches_success_only() -> None:
    data = dataset.build([a_record(error_occurred=True, execution_time_ms=28_000.0)])
    assert data.success.tolist() == [0.0]
    assert isnan(data.latency_ms[0])
    assert isnan(data.cost_usd[0])


def test_after_a_failover_the_cost_is_that_of_the_attempt_the_features_belong_to() -> None:
    attempts = (an_attempt("gcp", failure=Failure.TIMED_OUT, cost_usd=9e-6), an_attempt(cost_usd=2e-6))
    data = dataset.build([a_record(attempts=attempts, cost_usd=11e-6)])
    assert data.cost_usd.tolist() == [2e-6]


@pytest.mark.parametrize(
    "record",
    [
        a_record(status=RecordStatus.UNKNOWN),
        a_record(execution_time_ms=None),
        a_record(features={}),
        a_record(features=dict.fromkeys(NAMES, nan)),
        a_record(execution_time_ms=nan),
        a_record(execution_time_ms=0.0),
    ],
)
def test_a_record_that_teaches_nothing_is_counted_and_left_out(record: InvocationRecord) -> None:
    data = dataset.build([a_record(2), record])
    assert len(data) == 1
    assert data.skipped == 1


def test_an_unpriced_call_has_no_cost() -> None:
    assert isnan(dataset.build([a_record(attempts=(an_attempt(cost_usd=None),))]).cost_usd[0])


def test_an_empty_log_is_an_empty_set() -> None:
    data = dataset.build([])
    assert len(data) == 0
    assert data.features.shape == (0, len(NAMES))


def a_log(rows: int) -> dataset.DataSet:
    return dataset.build(
        [replace(a_record(number), timestamp=NOW + timedelta(seconds=number)) for number in range(rows)]
    )


def test_the_newest_fifth_is_held_out_and_nothing_older_than_what_is_learned() -> None:
    halves = dataset.split(a_log(100))
    assert (len(halves.train), len(halves.held_out)) == (80, 20)
    assert halves.train.at.max() < halves.held_out.at.min()


def test_no_more_is_held_out_than_the_champion_has_not_seen() -> None:
    halves = dataset.split(a_log(100), newest=5)
    assert (len(halves.train), len(halves.held_out)) == (95, 5)


def test_rows_newer_than_a_moment_are_counted() -> None:
    assert a_log(100).after((NOW + timedelta(seconds=89)).timestamp()) == 10


def a_mix(**rows: tuple[int, bool]) -> dataset.DataSet:
    """So many rows of each tenant, reported or seen by FISO, in turns."""
    records = []
    for tenant, (count, is_reported) in rows.items():
        for number in range(count):
            lease_id = "lease" if is_reported else None
            records.append(a_record(number, tenant=TenantId(tenant), lease_id=lease_id))
    return dataset.capped(dataset.build(records))


@pytest.mark.parametrize(
    ("rows", "reported"),
    [
        ({"liar": (100, True)}, 100),
        ({"liar": (100, True), "a": (72, False)}, 36),
        ({"liar": (10, True), "a": (72, False)}, 10),
        ({"liar": (1_000, True), "a": (72, False), "b": (28, True)}, 36),
        ({"liar": (1_000, True), "a": (72, False), "b": (6, True)}, 36),
        ({"a": (50, True), "b": (50, True), "c": (50, True)}, 0),
        ({"a": (50, True), "b": (50, True)}, 0),
        ({"a": (50, False), "b": (50, False)}, 0),
    ],
)
def test_what_several_tenants_report_is_at_most_a_third_of_all_rows(
    rows: dict[str, tuple[int, bool]], reported: int
) -> None:
    data = a_mix(**rows)
    assert np.count_nonzero(data.reported) == reported
    assert len(data) - reported == sum(count for count, is_reported in rows.values() if not is_reported)
    if len(rows) > 1:
        assert 3 * reported <= len(data)


def test_the_newest_of_what_is_capped_stay() -> None:
    data = a_mix(liar=(100, True), a=(20, False))
    assert data.at[data.reported > 0].min() > data.at[data.reported == 0].max()


def test_whoever_reports_late_and_much_keeps_no_row_from_judging() -> None:
    both = dataset.split(a_mix(a=(100, False), b=(500, True)))
    assert len(both.held_out) == 20
    assert both.held_out.at.min() > both.train.at.max()
    assert len(dataset.split(a_mix(a=(100, False), b=(500, True)), newest=55).held_out) == 5


def test_what_was_reported_judges_no_model_where_there_are_several_tenants() -> None:
    both = dataset.split(a_mix(a=(90, False), b=(60, True)))
    assert not both.held_out.reported.any()
    assert both.train.reported.any()
    alone = dataset.split(a_mix(b=(100, True)))
    assert len(alone.held_out) == np.count_nonzero(alone.held_out.reported) == 20
