from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.prediction.ensemble import LARGEST_TREE, LEAF, Ensemble, Forest


@dataclass(frozen=True)
class Fork:
    """A split of a tree as a person would write it."""

    feature: int
    threshold: float
    left: "Tree"
    right: "Tree"


Tree: TypeAlias = Fork | float

STUMP = Fork(0, 1.0, 10.0, 20.0)


def preorder(tree: Tree) -> list[tuple[int, float]]:
    if isinstance(tree, Fork):
        return [(tree.feature, tree.threshold), *preorder(tree.left), *preorder(tree.right)]
    return [(LEAF, tree)]


def a_forest(*trees: Tree, base: float = 0.0) -> Forest:
    nodes = [node for tree in trees for node in preorder(tree)]
    return Forest(
        base=base,
        features=array("b", [feature for feature, _ in nodes]),
        numbers=array("d", [number for _, number in nodes]),
    )


def walk(tree: Tree, row: Sequence[float]) -> float:
    while isinstance(tree, Fork):
        tree = tree.left if row[tree.feature] <= tree.threshold else tree.right
    return tree


def test_features_are_found_by_column() -> None:
    assert Ensemble([a_forest(STUMP)], columns=[2]).predict([9.0, 9.0, 0.0]) == [10.0]


def test_inputs_can_be_rounded_to_float32_before_they_are_compared() -> None:
    just_above = 1.0 + 1e-12
    assert Ensemble([a_forest(STUMP)], columns=[0]).predict([just_above]) == [20.0]
    assert Ensemble([a_forest(STUMP)], columns=[0], rounds_inputs=True).predict([just_above]) == [10.0]


def comb(leaves: int) -> Tree:
    tree: Tree = float(leaves)
    for threshold in range(leaves - 1, 0, -1):
        tree = Fork(0, float(threshold), float(threshold), tree)
    return tree


@pytest.mark.parametrize("leaves", [1, 2, 8, 9, 32, LARGEST_TREE])
def test_trees_of_every_size_are_served(leaves: int) -> None:
    ensemble = Ensemble([a_forest(comb(leaves), STUMP)], columns=[0])
    for value in (0.0, 0.5, 1.0, 3.5, leaves - 0.5, 1e9):
        assert ensemble.predict([value]) == [walk(comb(leaves), [value]) + walk(STUMP, [value])]


@pytest.mark.parametrize(
    ("features", "numbers", "why"),
    [
        ([0, LEAF], [1.0, 2.0], "not complete"),
        ([0], [1.0], "not complete"),
        ([LEAF, LEAF], [1.0], "differ in length"),
        ([1, LEAF, LEAF], [1.0, 2.0, 3.0], "feature 1 of 1"),
        ([-2, LEAF, LEAF], [1.0, 2.0, 3.0], "feature -2 of 1"),
        ([0, LEAF, LEAF], [float("nan"), 2.0, 3.0], "nan"),
        ([LEAF], [float("inf")], "inf"),
    ],
)
def test_damaged_trees_are_refused(features: list[int], numbers: list[float], why: str) -> None:
    forest = Forest(base=0.0, features=array("b", features), numbers=array("d", numbers))
    with pytest.raises(ValueError, match=why):
        Ensemble([forest], columns=[0])


def test_a_tree_with_too_many_leaves_is_refused() -> None:
    with pytest.raises(ValueError, match="65 leaves"):
        Ensemble([a_forest(comb(LARGEST_TREE + 1))], columns=[0])


coarse = st.integers(min_value=-3, max_value=3).map(float)
trees = st.recursive(
    coarse,
    lambda inner: st.builds(Fork, st.integers(min_value=0, max_value=2), coarse, inner, inner),
    max_leaves=24,
)
rows = st.tuples(*[st.floats(min_value=-4, max_value=4) | coarse] * 3)


@given(st.lists(trees, max_size=6), st.lists(trees, min_size=1, max_size=4), rows)
def test_the_ensemble_says_what_a_walk_through_every_tree_says(
    some: list[Tree], others: list[Tree], row: tuple[float, ...]
) -> None:
    ensemble = Ensemble([a_forest(*some), a_forest(*others, base=1.0)], columns=[0, 1, 2])
    expected = [sum(walk(tree, row) for tree in some), 1.0 + sum(walk(tree, row) for tree in others)]
    assert ensemble.predict(row) == expected


def test_rows_together_come_to_what_they_come_to_one_by_one() -> None:
    ensemble = Ensemble([a_forest(STUMP), a_forest(STUMP)], columns=[0, 1])
    rows = [[value, 1.0] for value in (0.0, 1.5, 9.0)]
    assert ensemble.predict_all(rows) == [ensemble.predict(row) for row in rows]
