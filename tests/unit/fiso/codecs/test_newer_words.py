"""Words of newer code in a record: no poison to this code, which folds, stores and archives them as they are."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fiso.adapters.aws.dynamodb import closed_item, record_from_item
from fiso.adapters.aws.dynamodb_states import state_from_item, state_item
from fiso.codecs.record import from_document, to_document
from fiso.domain.decision import Purpose, Reason
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso.routing.fold import fold
from fiso.services.diagnosis.advice import for_verdict
from fiso.services.diagnosis.history import histories
from fiso_client.core.failures import CALLERS_FAULT, Failure, Fault
from functions.console.views.explanations import Names, explain
from tests.builders import a_record, an_attempt

BASE = a_record(
    attempts=(an_attempt("azure", status=None, failure=Failure.TIMED_OUT, verdict=Fault.COPY), an_attempt()),
    tried_for=Purpose.NEW_COPY,
)
NEW = "moon_phase"
PLACES: dict[str, Callable[[dict[str, Any]], object]] = {
    "reason": lambda document: document.update(reason=NEW),
    "tried_for": lambda document: document.update(tried_for=NEW),
    "failure": lambda document: document["attempts"][0].update(failure=NEW),
    "verdict": lambda document: document["attempts"][0].update(verdict=NEW),
    "shadow": lambda document: document.update(shadow={"endpoint": "gcp", "outcome": NEW}),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_word_of_newer_code_is_kept_and_folds(place: str) -> None:
    document = json.loads(json.dumps(to_document(BASE)))
    PLACES[place](document)
    record = from_document(document)
    assert isinstance(record, InvocationRecord)
    assert json.loads(json.dumps(to_document(record))) == document
    assert record_from_item(closed_item(record, packs=True)) == record
    states = fold({}, record)
    assert sum(state.folded for state in states.values()) == 1
    for state in states.values():
        assert state_from_item(state_item(state)) == state


def test_it_is_none_of_the_words_that_this_code_knows() -> None:
    document = json.loads(json.dumps(to_document(BASE)))
    PLACES["reason"](document)
    PLACES["failure"](document)
    record = from_document(document)
    assert isinstance(record, InvocationRecord)
    assert record.decision.reason not in set(Reason)
    assert record.attempts[0].failure not in CALLERS_FAULT
    assert NEW not in {word.value for word in Failure}, "what was read makes no word"


@pytest.mark.parametrize("place", PLACES)
def test_it_is_explained_and_diagnosed_without_a_guess(place: str) -> None:
    document = json.loads(json.dumps(to_document(replace(BASE, attempts=BASE.attempts[:1]))))
    PLACES[place](document)
    record = from_document(document)
    assert isinstance(record, InvocationRecord)
    text = " ".join(explain(record, Names.of([])))
    assert "azure" in text
    ((call,),) = histories([record]).values()
    assert for_verdict(call.told_by_itself or Fault.COPY, None, "timed_out", None)


@pytest.mark.parametrize("word", ["", "Two words", "x" * 41, "{}", 7, True, ["score"], {"a": 1}, "\ud800"])
def test_what_is_no_word_is_still_no_record(word: object) -> None:
    document = {**json.loads(json.dumps(to_document(BASE))), "reason": word}
    with pytest.raises(InvalidRecord):
        from_document(document)


def test_a_status_of_newer_code_is_not_guessed_at() -> None:
    with pytest.raises(InvalidRecord):
        from_document({**to_document(BASE), "status": "half-done"})
