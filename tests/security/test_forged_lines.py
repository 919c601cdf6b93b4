"""Whoever may write the orchestrator's log group makes no record: a spilled line counts by FISO's own mark alone."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from fiso.codecs import lease_token, spilled_line
from fiso.codecs.lease_token import Keyring
from fiso.codecs.record import to_document
from fiso.domain.record import InvocationRecord
from fiso.ports import SpilledLine
from fiso.services.log.reconcile import Reconciled, Reconciliation, parse
from fiso.services.log.spill import KEYS_FRESH_S, LONGEST_KEY_WAIT_S, MARK
from fiso.testing.memory import (
    InMemoryInvocationLog,
    InMemoryLeaseKeys,
    InMemorySpilledRecords,
    InMemoryWatermark,
    away,
)
from fiso.testing.rig import Rig
from tests.builders import KEYRING, NOW, a_lease, a_record, a_spilled_line, invocation_id
from tests.golden.log_lines import lines_of
from tests.held_executor import HeldExecutor

OTHER, ROTATED = f"k2:{'b' * 32}", Keyring.parsed(f"k2:{'b' * 32} k1:{'a' * 32}")
TRUE = spilled_line.written(to_document(a_record(1)), KEYRING)
LIE = json.dumps(to_document(a_record(1, tenant="another", cost_usd=9.0)), separators=(",", ":"))
MARKED_AS_TRUE = TRUE.split(".", 3)[2]


@dataclass
class Keeper:
    """A keeper's replay over lines that somebody wrote."""

    keyring: Keyring | None = KEYRING
    accepts_older: bool = False

    def replay(self, *written: Any, whole: bool = False) -> tuple[Reconciled, InMemoryInvocationLog]:
        texts = written if whole else [json.dumps({"message": MARK, MARK: each}) for each in written]
        at = NOW - timedelta(minutes=2)
        lines = [SpilledLine(id=str(n), written_at=at, text=text) for n, text in enumerate(texts)]
        log = InMemoryInvocationLog()
        reconciliation = Reconciliation(
            spilled=InMemorySpilledRecords(*lines),
            keys=InMemoryLeaseKeys(self.keyring).read,
            watermark=InMemoryWatermark(),
            log=log,
            clock=lambda: NOW,
            executor=HeldExecutor(),
            accepts_older=self.accepts_older,
        )
        return reconciliation.reconcile(until=NOW), log


def test_a_marked_line_is_written_and_once_more_changes_nothing() -> None:
    done, log = Keeper().replay(TRUE, TRUE)
    assert (done.written, done.known, done.unmarked) == (1, 1, 0)
    assert log.records == {invocation_id(1): a_record(1)}


def flipped(position: int) -> str:
    return TRUE[:position] + ("0" if TRUE[position] != "0" else "1") + TRUE[position + 1 :]


FORGED: dict[str, Callable[[], Any]] = {
    "as it was written before there were marks": lambda: json.loads(LIE),
    "the document alone": lambda: LIE,
    "no mark": lambda: f"fs1.k1..{LIE}",
    "another record's mark": lambda: f"fs1.k1.{MARKED_AS_TRUE}.{LIE}",
    "a mark of zeros": lambda: f"fs1.k1.{'0' * 64}.{LIE}",
    "a key of one's own": lambda: spilled_line.written(json.loads(LIE), Keyring.parsed(OTHER)),
    "a key of one's own under FISO's id": lambda: spilled_line.written(
        json.loads(LIE), Keyring.parsed(f"k1:{'c' * 32}")
    ),
    "the lease key itself instead of the derived one": lambda: lease_token.seal(a_lease(), KEYRING),
    "another version": lambda: TRUE.replace("fs1.", "fs2.", 1),
    "upper case": lambda: TRUE.replace(MARKED_AS_TRUE, MARKED_AS_TRUE.upper()),
    "space behind": lambda: TRUE + " ",
    "a second document behind": lambda: TRUE + LIE,
    "a changed cost": lambda: TRUE.replace('"cost_usd":', '"cost_usd":1'),
    "a document twice in one line": lambda: [TRUE, LIE],
    "a character beyond ASCII": lambda: TRUE.replace("local", "loc\u0430l"),
    "a lone surrogate": lambda: TRUE[:-3] + "\ud800" + TRUE[-2:],
    "nothing": lambda: "",
    "a number": lambda: 1,
    "null": lambda: None,
    "too deep": lambda: "fs1.k1.0." + "[" * 50_000,
    **{f"character {n}": lambda n=n: flipped(n) for n in (0, 4, 5, 7, 40, 70, 72, 200, len(TRUE) - 2)},  # type: ignore[misc]
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_line_without_fisos_mark_is_counted_and_never_written(forged: Callable[[], Any]) -> None:
    done, log = Keeper().replay(forged(), spilled_line.written(to_document(a_record(2)), KEYRING))
    assert (done.unmarked, done.written, done.is_complete) == (1, 1, True)
    assert set(log.records) == {invocation_id(2)}


def test_lines_that_only_speak_of_spilling_are_nobodys_claim_and_what_is_cut_is_counted() -> None:
    """A caller may name a path or a function `log_spill`; its name then stands in lines of FISO's."""
    spoken = ['{"message": "invocation", "function": "log_spill"}', '"log_spill"', "[]", '{"cause": "log_spill"}']
    cut = a_spilled_line(a_record(1), NOW).text[:-9]
    done, log = Keeper().replay(*spoken, cut, whole=True)
    assert (done.unmarked, done.unreadable, done.written) == (1, 0, 0)
    assert log.records == {}


def test_a_line_that_stands_there_again_with_its_mark_is_no_strangers() -> None:
    """An environment wrote it before it had a key, and again when it had one."""
    document = to_document(a_record(1))
    twice = [spilled_line.written(document, key) for key in (None, KEYRING)]
    done, log = Keeper().replay(*twice, spilled_line.written(to_document(a_record(2)), None))
    assert (done.unmarked, done.known, done.written) == (1, 1, 1)
    assert set(log.records) == {invocation_id(1)}


def test_lines_in_the_form_of_before_count_only_while_a_stage_of_before_is_updated() -> None:
    older = to_document(a_record(1))
    assert Keeper().replay(older)[0].unmarked == 1
    done, log = Keeper(accepts_older=True).replay(older, LIE)
    assert (done.written, done.unmarked) == (1, 1), "a text without a mark is in no form that there was"
    assert log.records == {invocation_id(1): a_record(1)}


def test_a_line_in_both_forms_is_one_record_for_a_keeper_of_either_time() -> None:
    both = [TRUE, to_document(a_record(1))]
    for keeper in (Keeper(), Keeper(accepts_older=True)):
        done, log = keeper.replay(*both)
        assert (done.written, done.known, done.unmarked) == (1, 1, 0)
        assert set(log.records) == {invocation_id(1)}


@pytest.mark.parametrize("keyring", [ROTATED, KEYRING])
def test_a_rotation_refuses_nobody_who_marked_before_it(keyring: Keyring) -> None:
    done, _ = Keeper(ROTATED).replay(spilled_line.written(to_document(a_record(1)), keyring))
    assert (done.written, done.unmarked) == (1, 0)
    late, log = Keeper(Keyring.parsed(OTHER)).replay(TRUE)
    assert (late.unmarked, log.records) == (1, {}), "two rotations later the key is known no more"


def test_a_stage_without_a_key_writes_no_line_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    done, log = Keeper(None).replay(TRUE, spilled_line.written(to_document(a_record(2)), None))
    assert (done.unmarked, log.records, done.is_complete) == (2, {}, True)
    assert "no spilled line can be told from a forged one" in caplog.text


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[str]]]:
    """What goes to the function's own log meanwhile, as its formatter writes it."""
    with lines_of(logging.getLogger("fiso.services.log.spill")) as lines:
        yield lambda: [line for line in lines() if isinstance(json.loads(line)[MARK], str)]  # not in the form of before


def test_the_key_is_read_ahead_so_that_lines_are_marked_when_its_store_is_away_too(
    log_lines: Callable[[], list[str]],
) -> None:
    rig = Rig()
    rig.invoke("word-count")
    assert rig.stores.lease_keys.operations.total() == 0, "a start pays for no key"
    rig.clock.advance(1)
    rig.invoke("word-count")
    rig.invoke("word-count")
    assert rig.stores.lease_keys.operations.total() == 1
    rig.stores.lease_keys.before = rig.stores.log.before = away("region")
    rig.clock.advance(2 * KEYS_FRESH_S)
    rig.invoke("word-count")
    assert [type(parse(line, KEYRING)) for line in log_lines()] == [InvocationRecord]  # it may be repeated: no intent


def test_without_any_key_a_request_is_answered_and_its_lines_carry_no_mark(
    log_lines: Callable[[], list[str]],
) -> None:
    rig = Rig()
    rig.stores.lease_keys.before = rig.stores.log.before = away("region")
    assert rig.invoke("word-count").status == 200
    assert len(log_lines()) == 1
    done, _ = Keeper().replay(*log_lines(), whole=True)
    assert (done.unmarked, done.written) == (1, 0)
    assert LONGEST_KEY_WAIT_S <= 0.3
