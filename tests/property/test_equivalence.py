"""Laws of comparing answers: what holds for all of them, whatever the copies say."""

import json
from collections.abc import Iterable
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fiso.domain.equivalence import NOTHING, Comparable, Ignored, agreement, differences
from fiso_client.core.answers import FunctionAnswer

texts = st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=True) | texts
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4))
bodies = st.binary(max_size=40) | documents.map(lambda document: json.dumps(document).encode())
header_names = st.sampled_from("content-type etag x-own date location x-fiso-region allow".split())
header_values = st.sampled_from(["a", "application/json", "text/plain; charset=UTF-8", ""])
answers = st.builds(
    FunctionAnswer,
    status=st.integers(200, 204),
    body=bodies,
    headers=st.dictionaries(header_names, header_values, max_size=4),
    cookies=st.lists(st.sampled_from(["a=1; Path=/", "a=2; path=/", "b=1; Secure", "", ";"]), max_size=3).map(tuple),
)


def as_json(document: object, **how: object) -> FunctionAnswer:
    text = json.dumps(document, **how)  # type: ignore[arg-type]
    return FunctionAnswer(status=200, body=text.encode(), headers={"content-type": "application/json"})


def between(this: FunctionAnswer, that: FunctionAnswer, ignored: Ignored = NOTHING) -> list[str]:
    found = differences(Comparable(this, ignored), Comparable(that, ignored), ignored)
    return [difference.place for difference in found]


@given(answers)
def test_an_answer_is_like_itself(answer: FunctionAnswer) -> None:
    assert between(answer, answer) == []


@given(answers, answers)
def test_it_does_not_matter_which_of_two_comes_first(this: FunctionAnswer, that: FunctionAnswer) -> None:
    assert set(between(this, that)) == set(between(that, this))
    one, other = Comparable(this), Comparable(that)
    back = {d.place: (d.that, d.this) for d in differences(other, one)}
    assert {d.place: (d.this, d.that) for d in differences(one, other)} == back


@given(documents, st.randoms(use_true_random=False))
def test_the_order_of_keys_and_the_blanks_do_not_matter(document: object, random: Random) -> None:
    assert between(as_json(document), as_json(shuffled(document, random), indent=3)) == []


@given(documents, documents)
def test_documents_are_alike_when_their_values_are(this: object, that: object) -> None:
    assert (between(as_json(this), as_json(that)) == []) == (canonical(this) == canonical(that))


@given(st.dictionaries(texts, documents, min_size=1, max_size=4), documents, st.data())
def test_what_is_ignored_may_be_anything(document: dict[str, object], other: object, data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    changed = {**document, key: other}
    without = {name: value for name, value in document.items() if name != key}
    assert between(as_json(document), as_json(changed), Ignored(pointers=(pointer,))) == []
    assert between(as_json(document), as_json(without), Ignored(pointers=(pointer,))) == []


@given(answers, answers)
def test_ignoring_more_never_finds_more(this: FunctionAnswer, that: FunctionAnswer) -> None:
    ignored = Ignored(pointers=("/*",), headers=frozenset({"etag", "x-*"}))
    assert set(between(this, that, ignored)) <= {place.split(" /")[0] for place in between(this, that)} | set(
        between(this, that)
    )


@given(st.lists(answers, min_size=1, max_size=5))
def test_every_copy_is_in_one_group_and_a_majority_is_more_than_half(given_answers: list[FunctionAnswer]) -> None:
    found = agreement({str(number): Comparable(answer) for number, answer in enumerate(given_answers)})
    assert sorted(flat(found.groups)) == sorted(map(str, range(len(given_answers))))
    assert not found.majority or len(found.majority) * 2 > len(given_answers) > 2
    assert set(found.odd).isdisjoint(found.majority)


def flat(groups: Iterable[Iterable[str]]) -> list[str]:
    return [name for group in groups for name in group]


def shuffled(document: object, random: Random) -> object:
    if isinstance(document, dict):
        pairs = [(key, shuffled(value, random)) for key, value in document.items()]
        random.shuffle(pairs)
        return dict(pairs)
    return [shuffled(each, random) for each in document] if isinstance(document, list) else document


def canonical(document: object) -> object:
    """A value that is equal for equal documents: types kept apart as JSON does, numbers by value."""
    if isinstance(document, dict):
        return frozenset((key, canonical(value)) for key, value in document.items())
    if isinstance(document, list):
        return tuple(canonical(each) for each in document)
    if isinstance(document, bool) or document is None or isinstance(document, str):
        return (type(document).__name__, document)
    return ("number", json.dumps(document) if document != document or abs(document) == float("inf") else document)  # type: ignore[arg-type]
