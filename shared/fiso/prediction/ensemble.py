"""Ensembles: many small decision trees, served in plain Python from arrays of builtin types. Standard library only.

QuickScorer (Lucchese et al., SIGIR 2015) with one big integer for all trees of all targets: each tree owns a lane of
bits, one bit per leaf from left to right. A split that sends a row to the right clears the bits of its left subtree;
the lowest bit left in a lane is the leaf that the row ends in. The splits that send a row to the right by one feature
are those with a threshold below its value: their combined mask is found by bisection, without walking 300 trees.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from operator import add, and_, getitem, or_
from typing import TypeAlias

LEAF = -1
LARGEST_TREE = 64
"""Leaves per tree at most: a tree's lane has one bit for each."""

_LOWEST_BIT = bytes([0] + [(bits & -bits).bit_length() - 1 for bits in range(1, 256)])
_SIX_BITS = bytes(value & 0x3F for value in range(256))
_Question: TypeAlias = tuple[int, list[float], list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forest:
    """The trees of one target, whose leaves add up: `base` plus one leaf of each tree.

    `features` and `numbers` hold every tree's nodes in preorder, left child first: a split has the index of its feature
    and a threshold (a row goes left when its value is at most that), a leaf has LEAF and its value. Preorder needs no
    child indices, so no damage can make a walk loop.
    """

    base: float
    features: "array[int]"
    numbers: "array[float]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split: rows above `threshold` never reach leaves `first` up to (excluding) `end` of its tree."""

    feature: int
    threshold: float
    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    splits: tuple[Split, ...]
    leaves: tuple[float, ...]


def trees_of(forest: Forest, *, feature_count: int) -> Iterator[Tree]:
    """Take a forest apart. `ValueError` when the arrays are no whole trees within the limits."""
    if len(forest.features) != len(forest.numbers) or not isfinite(forest.base):
        raise ValueError("features and numbers differ in length, or the base is not finite")
    splits: list[Split] = []
    leaves: list[float] = []
    waiting: list[tuple[int, float, int] | None] = []  # splits above whose left side is not done; None where it is
    for feature, number in zip(forest.features, forest.numbers, strict=True):
        if not (LEAF <= feature < feature_count and isfinite(number)):
            raise ValueError(f"a node names feature {feature} of {feature_count} with the number {number}")
        if feature != LEAF:
            # Preorder: what follows is its left subtree. When that is complete, `len(leaves)` has grown by its leaves.
            waiting.append((feature, number, len(leaves)))
            continue
        leaves.append(number)
        while waiting and waiting[-1] is None:
            waiting.pop()
        parent = waiting.pop() if waiting else None
        if parent is not None:
            splits.append(Split(feature=parent[0], threshold=parent[1], first=parent[2], end=len(leaves)))
            waiting.append(None)
            continue
        if len(leaves) > LARGEST_TREE:
            raise ValueError(f"a tree has {len(leaves)} leaves, more than {LARGEST_TREE}")
        yield Tree(splits=tuple(splits), leaves=tuple(leaves))
        splits, leaves = [], []
    if waiting or leaves:
        raise ValueError("the last tree is not complete")


class Ensemble:
    """Several forests over the same features, ready to predict.

    `columns[i]` is where feature i stands in a row. `rounds_inputs` compares inputs as float32, as forests of
    scikit-learn do; its boosting compares float64.
    """

    __slots__ = ("_bases", "_full", "_lanes", "_questions", "_rounds_inputs")

    def __init__(self, forests: Sequence[Forest], *, columns: Sequence[int], rounds_inputs: bool = False) -> None:
        taken = [list(trees_of(forest, feature_count=len(columns))) for forest in forests]
        self._bases = [forest.base for forest in forests]
        self._lanes = _lanes_for(taken)
        width = self._lanes.width
        placed = list(zip(self._lanes.lanes(taken), (tree for part in taken for tree in part), strict=True))
        self._full = sum(_ones(0, len(tree.leaves)) << lane * width for lane, tree in placed)
        self._questions = _questions(placed, width=width, full=self._full, columns=columns)
        self._rounds_inputs = rounds_inputs

    def step(self, column: int, value: float) -> int:
        """Which of its steps a column's value falls on: values on the same one are never told apart."""
        thresholds = next((splits for place, splits, _ in self._questions if place == column), [])
        return bisect_left(thresholds, value)

    def predict(self, row: Sequence[float]) -> list[float]:
        """One sum per forest."""
        return self.predict_all([row])[0]

    def predict_all(self, rows: Sequence[Sequence[float]]) -> list[list[float]]:
        """One sum per forest, for each row. A column that is the same in all is looked up once."""
        if self._rounds_inputs:
            rows = [array("f", row) for row in rows]
        alive = [self._full] * len(rows)
        for column, thresholds, masks in self._questions:
            values = [row[column] for row in rows]
            if values.count(values[0]) == len(values):
                mask = masks[bisect_left(thresholds, values[0])]
                alive = [left & mask for left in alive]
            else:
                found = [masks[bisect_left(thresholds, value)] for value in values]
                alive = list(map(and_, alive, found))
        return [list(map(add, self._bases, sums)) for sums in self._lanes.sums_of(alive)]


class _ByteLanes:
    """Trees of up to 8 leaves, a byte each: the lowest bit of every lane by one translation.

    Two neighbouring lanes of a forest then make one index of six bits into the sums of two trees' leaves: half as many
    look-ups.
    """

    width = 8

    def __init__(self, forests: Sequence[Sequence[Tree]]) -> None:
        self._tables: list[list[list[float]]] = []
        self._slices: list[slice] = []
        first = 0
        for trees in forests:
            pairs = [trees[index : index + 2] for index in range(0, len(trees), 2)]
            self._tables.append([_pair_sums(pair) for pair in pairs])
            self._slices.append(slice(first, first + 2 * len(pairs), 2))
            first += 2 * len(pairs)
        self._bytes = first

    def lanes(self, forests: Sequence[Sequence[Tree]]) -> list[int]:
        """Where each tree's lane is; a forest of an odd number of trees leaves one empty."""
        found: list[int] = []
        first = 0
        for trees in forests:
            found.extend(range(first, first + len(trees)))
            first += len(trees) + len(trees) % 2
        return found

    def sums_of(self, rows: Sequence[int]) -> list[list[float]]:
        """For each row, by what is alive: per forest the sum of each tree's lowest leaf. All rows are read at once."""
        size = self._bytes
        alive = b"".join([row.to_bytes(size, "little") for row in rows])
        # Each byte becomes the number of its lowest set bit, the leaf that its tree ended in, in one call for all rows.
        # Shifting by 5 moves the upper lane's three bits beside the lower lane's: of every second byte, six bits then
        # name the leaves of two trees (docs/decisions/0005-prediction-in-layers.md).
        lowest = int.from_bytes(alive.translate(_LOWEST_BIT), "little")
        pairs = (lowest | lowest >> 5).to_bytes(len(alive), "little").translate(_SIX_BITS)
        parts = list(zip(self._tables, self._slices, strict=True))
        return [
            [sum(map(getitem, table, row[part])) for table, part in parts]
            for row in (pairs[first : first + size] for first in range(0, len(pairs), size))
        ]


def _pair_sums(pair: Sequence[Tree]) -> list[float]:
    """By the lowest leaves of two trees, three bits each, the first one's below: their sum."""
    one, other = pair[0].leaves, pair[1].leaves if len(pair) > 1 else (0.0,)
    return [
        one[index & 7] + other[index >> 3] if index & 7 < len(one) and index >> 3 < len(other) else 0.0
        for index in range(64)
    ]


class _WordLanes:
    """Trees of up to 64 leaves: the lowest bit of every lane by subtracting 1 from each; none is 0, none borrows."""

    width = LARGEST_TREE

    def __init__(self, forests: Sequence[Sequence[Tree]]) -> None:
        trees = [tree for forest in forests for tree in forest]
        self._leaves = [{1 << bit: leaf for bit, leaf in enumerate(tree.leaves)} for tree in trees]
        self._ones = sum(1 << lane * self.width for lane in range(len(trees)))
        self._words = struct.Struct(f"<{len(trees)}Q")
        ends = list(accumulate(len(forest) for forest in forests))
        self._parts = [slice(end - len(forest), end) for forest, end in zip(forests, ends, strict=True)]

    def lanes(self, forests: Sequence[Sequence[Tree]]) -> list[int]:
        """Where each tree's lane is: one after another."""
        return list(range(sum(len(forest) for forest in forests)))

    def sums_of(self, rows: Sequence[int]) -> list[list[float]]:
        return [self._sums(row) for row in rows]

    def _sums(self, alive: int) -> list[float]:
        # x & (x - 1) clears the lowest set bit, in every 64-bit lane at once: no lane is 0, since a row always ends in
        # some leaf, so subtracting 1 from each never borrows from the next. What xor leaves is that lowest bit.
        lowest = alive ^ (alive & (alive - self._ones))
        leaves = list(map(getitem, self._leaves, self._words.unpack(lowest.to_bytes(self._words.size, "little"))))
        return [sum(leaves[part]) for part in self._parts]


def _lanes_for(forests: Sequence[Sequence[Tree]]) -> _ByteLanes | _WordLanes:
    largest = max((len(tree.leaves) for trees in forests for tree in trees), default=1)
    return _ByteLanes(forests) if largest <= _ByteLanes.width else _WordLanes(forests)


def _questions(placed: Sequence[tuple[int, Tree]], *, width: int, full: int, columns: Sequence[int]) -> list[_Question]:
    """Per feature its thresholds, ascending, and what is left alive above the first 0, 1, 2, ... of them."""
    cleared: list[dict[float, int]] = [{} for _ in columns]
    for lane, tree in placed:
        for split in tree.splits:
            of_feature = cleared[split.feature]
            # Going right at a split rules the leaves of its left subtree out. They are numbered from left to right, so
            # they are one run of bits.
            bits = _ones(split.first, split.end) << lane * width
            of_feature[split.threshold] = of_feature.get(split.threshold, 0) | bits
    questions: list[_Question] = []
    for column, of_feature in zip(columns, cleared, strict=True):
        thresholds = sorted(of_feature)
        gone = accumulate((of_feature[threshold] for threshold in thresholds), or_, initial=0)
        if thresholds:
            questions.append((column, thresholds, [full ^ bits for bits in gone]))
    return questions


def _ones(first: int, end: int) -> int:
    return (1 << end) - (1 << first)
