"""graph-bfs: breadth-first distances in a graph that is sent, or made from a seed. Standard library only.

A body is one of
    {"nodes": ["a", "b"], "edges": [["a", "b"]], "source": "a", "directed": false}
    {"size": 1000, "seed": 42, "degree": 4}
The second makes a graph of `size` nodes with `size * degree / 2` edges from the seed, so that a small request asks for
much work.
"""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from fiso_workload.answer import Answer, Refusal, json_answer

MAX_NODES = 200_000
MAX_EDGES = 1_000_000
MAX_DEGREE = 32
GIVEN_FIELDS = frozenset({"nodes", "edges", "source", "directed"})
SEEDED_FIELDS = frozenset({"size", "seed", "degree"})

Node = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes by position, neighbours as positions."""

    nodes: Sequence[Node]
    neighbours: Sequence[Sequence[int]]
    source: int


def graph_bfs(body: bytes, query: Mapping[str, str]) -> Answer:
    """Distances from the source in edges.

    `levels[d]` is the number of nodes at distance d. A graph that was sent also gets `distances`: `[node, d]` in the
    order of `nodes`, null where the source does not reach.
    """
    del query
    document = _document(body)
    seeded = "size" in document
    graph = _seeded(document) if seeded else _given(document)
    distances = search(graph)
    summary: dict[str, object] = {
        "source": graph.nodes[graph.source],
        "reached": sum(distance is not None for distance in distances),
        "levels": _levels(distances),
    }
    if not seeded:
        summary["distances"] = [[node, distance] for node, distance in zip(graph.nodes, distances, strict=True)]
    return json_answer(summary)


def search(graph: Graph) -> list[int | None]:
    """The distance of every node from the source, by position; None when it is not reached."""
    distances: list[int | None] = [None] * len(graph.nodes)
    distances[graph.source] = 0
    frontier, distance = [graph.source], 0
    while frontier:
        distance += 1
        reached: list[int] = []
        for node in frontier:
            for neighbour in graph.neighbours[node]:
                if distances[neighbour] is None:
                    distances[neighbour] = distance
                    reached.append(neighbour)
        frontier = reached
    return distances


def _levels(distances: Iterable[int | None]) -> list[int]:
    known = [distance for distance in distances if distance is not None]
    levels = [0] * (max(known) + 1)
    for distance in known:
        levels[distance] += 1
    return levels


def _document(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body.decode(), parse_constant=_not_json)
    except RecursionError as error:
        raise Refusal("the body is nested too deeply") from error
    except ValueError as error:
        raise Refusal("the body is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise Refusal("the body must be a JSON object")
    allowed = SEEDED_FIELDS if "size" in document else GIVEN_FIELDS
    if unknown := sorted(set(document) - allowed):
        raise Refusal(f"unknown field {unknown[0][:40]!a}; expected {', '.join(sorted(allowed))}")
    return document


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def _seeded(document: Mapping[str, object]) -> Graph:
    """A random graph; `random.Random(seed).random()` is the one generator that Python promises to keep the same."""
    size = _whole(document, "size", low=1, high=MAX_NODES)
    seed = _whole(document, "seed", low=0, high=2**53)
    degree = _whole(document, "degree", low=0, high=MAX_DEGREE, default=4)
    draw = random.Random(seed).random  # nosec B311: a workload, not a secret
    pairs = ((int(draw() * size), int(draw() * size)) for _ in range(size * degree // 2))
    return Graph(nodes=range(size), neighbours=_adjacency(size, pairs, directed=False), source=0)


def _given(document: Mapping[str, object]) -> Graph:
    nodes = _nodes(document.get("nodes"))
    positions = {node: position for position, node in enumerate(nodes)}
    if len(positions) != len(nodes):
        raise Refusal("nodes must be distinct")
    directed = document.get("directed", False)
    if not isinstance(directed, bool):
        raise Refusal("directed must be true or false")
    edges = [_edge(edge, positions) for edge in _array(document.get("edges"), "edges", MAX_EDGES)]
    source = _position(document.get("source"), positions, "source")
    return Graph(nodes=nodes, neighbours=_adjacency(len(nodes), edges, directed=directed), source=source)


def _adjacency(size: int, edges: Iterable[tuple[int, int]], *, directed: bool) -> list[list[int]]:
    neighbours: list[list[int]] = [[] for _ in range(size)]
    for start, end in edges:
        neighbours[start].append(end)
        if not directed:
            neighbours[end].append(start)
    return neighbours


def _array(value: object, name: str, limit: int) -> list[object]:
    if not isinstance(value, list):
        raise Refusal(f"{name} must be an array")
    if len(value) > limit:
        raise Refusal(f"{name} has more than {limit} items", status=413)
    return value


def _nodes(value: object) -> list[Node]:
    nodes = [_node(item) for item in _array(value, "nodes", MAX_NODES)]
    if not nodes:
        raise Refusal("nodes must not be empty")
    return nodes


def _node(value: object) -> Node:
    """Text or a whole number. Text must be encodable, which lone surrogates are not."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refusal("a node must be text or a whole number")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Refusal("a node's text holds a lone surrogate") from error
    return value


def _edge(value: object, positions: Mapping[Node, int]) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise Refusal("an edge must be an array of two nodes")
    return _position(value[0], positions, "an edge"), _position(value[1], positions, "an edge")


def _position(value: object, positions: Mapping[Node, int], name: str) -> int:
    position = positions.get(_node(value))
    if position is None:
        raise Refusal(f"{name} names a node that is not in nodes")
    return position


def _whole(document: Mapping[str, object], name: str, *, low: int, high: int, default: int | None = None) -> int:
    value = document.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Refusal(f"{name} must be a whole number between {low} and {high}")
    return value
