"""graph-bfs: distances, made graphs, and everything that is not a graph."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso_workload.answer import Refusal
from fiso_workload.graph_bfs import graph_bfs


def answer(document: object) -> dict[str, object]:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    found = json.loads(graph_bfs(body, {}).body)
    assert isinstance(found, dict)
    return found


def test_distances_are_counted_in_edges_from_the_source() -> None:
    graph = {"nodes": ["a", "b", "c", "d"], "edges": [["a", "b"], ["b", "c"]], "source": "a"}
    assert answer(graph) == {
        "source": "a",
        "reached": 3,
        "levels": [1, 1, 1],
        "distances": [["a", 0], ["b", 1], ["c", 2], ["d", None]],
    }


def test_a_directed_edge_is_not_walked_backwards() -> None:
    graph = {"nodes": [1, 2], "edges": [[1, 2]], "source": 2, "directed": True}
    assert answer(graph)["distances"] == [[1, None], [2, 0]]


def test_a_seed_makes_the_same_graph_everywhere() -> None:
    # Worked once and written down: the same numbers must come from every machine and Python version.
    assert answer({"size": 50, "seed": 42}) == {"source": 0, "reached": 49, "levels": [1, 4, 11, 16, 13, 3, 1]}


@given(st.integers(1, 40), st.integers(0, 1000), st.integers(0, 6))
def test_levels_add_up_to_the_nodes_reached(size: int, seed: int, degree: int) -> None:
    found = answer({"size": size, "seed": seed, "degree": degree})
    levels = found["levels"]
    assert isinstance(levels, list)
    assert sum(levels) == found["reached"]
    assert min(levels) >= 1


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=30))
def test_neighbours_are_at_most_one_step_apart(size: int, pairs: list[tuple[int, int]]) -> None:
    edges = [[start, end] for start, end in pairs if start < size and end < size]
    found = answer({"nodes": list(range(size)), "edges": edges, "source": 0})
    rows = found["distances"]
    assert isinstance(rows, list)
    distances = dict(rows)
    for start, end in edges:
        assert (distances[start] is None) == (distances[end] is None)
        if distances[start] is not None:
            assert abs(distances[start] - distances[end]) <= 1


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b'{"size": NaN, "seed": 1}',
        b"[" * 100_000,
        b'{"size": 1' + b"0" * 5000 + b', "seed": 1}',
        [],
        {},
        {"size": 0, "seed": 1},
        {"size": True, "seed": 1},
        {"size": 10, "seed": -1},
        {"size": 10, "seed": 1, "degree": 1.5},
        {"size": 10_000_000, "seed": 1},
        {"nodes": [], "edges": [], "source": 1},
        {"nodes": [1, 1], "edges": [], "source": 1},
        {"nodes": [True], "edges": [], "source": True},
        {"nodes": ["\ud800"], "edges": [], "source": "\ud800"},
        {"nodes": [1], "edges": [[1]], "source": 1},
        {"nodes": [1], "edges": [[1, 2]], "source": 1},
        {"nodes": [1], "edges": {}, "source": 1},
        {"size": 10, "seed": 1, "shape": "ring"},
        {"nodes": [1], "edges": [], "source": 2},
        {"nodes": [1], "edges": [], "source": 1, "directed": "no"},
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_not_a_graph_is_refused(document: object) -> None:
    with pytest.raises(Refusal) as caught:
        answer(document)
    assert 400 <= caught.value.status < 500
