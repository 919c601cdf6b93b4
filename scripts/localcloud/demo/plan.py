"""Plans: the requests of the first batch, each with the bytes that its answer must have. Pure and the same every time.

Four functions, payloads of three sizes each, users in three regions, in a fixed shuffled order.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from urllib.parse import urlencode

from fiso_cli.traffic.calls import Call
from fiso_workload import query as queries
from fiso_workload.app import App

SEED = 42
USER_REGIONS = ("us-east-1", "us-west-2", "eu-west-1")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One body for one function, with the query that goes with it."""

    function: str
    body: bytes
    content_type: str
    query: Query = ()

    def expected(self) -> bytes:
        """What every cloud must answer: the function's own body, run here."""
        query = queries.parse(urlencode(self.query))
        answer = App().handle(self.function, self.body, query, {"content-type": self.content_type})
        if answer.status != 200:
            raise ValueError(f"{self.function} refuses the payload: {answer.body!r}")
        return answer.body


def payloads() -> list[Payload]:
    """Three sizes for each function."""
    draw = random.Random(SEED)  # nosec B311
    return [
        *(_graph(size) for size in (100, 2_000, 10_000)),
        *(_compress(_text(draw, words)) for words in (150, 4_000, 20_000)),
        *(_pixels(draw, side, operation) for side, operation in ((32, "blur"), (96, "grayscale"), (192, "thumbnail"))),
        *(_words(_text(draw, words)) for words in (50, 2_000, 20_000)),
    ]


def calls(count: int) -> list[Call]:
    """`count` calls over all payloads and user regions, evenly, in a fixed shuffled order."""
    known = [(payload, payload.expected()) for payload in payloads()]
    combinations = list(product(known, USER_REGIONS))
    random.Random(SEED).shuffle(combinations)  # nosec B311
    return [_call(payload, expected, region) for (payload, expected), region in islice(cycle(combinations), count)]


def functions() -> Sequence[str]:
    """The names of the functions that the plan calls."""
    return tuple(dict.fromkeys(payload.function for payload in payloads()))


def _call(payload: Payload, expected: bytes, user_region: str) -> Call:
    return Call(
        function=payload.function,
        body=payload.body,
        content_type=payload.content_type,
        query=payload.query,
        headers={"x-fiso-user-region": user_region},
        expected=expected,
    )


def _graph(size: int) -> Payload:
    body = json.dumps({"size": size, "seed": SEED, "degree": 4}).encode()
    return Payload(function="graph-bfs", body=body, content_type="application/json")


def _compress(text: bytes) -> Payload:
    return Payload(function="compress", body=text, content_type="application/octet-stream")


def _pixels(draw: random.Random, side: int, operation: str) -> Payload:
    query = (("width", str(side)), ("height", str(side)), ("op", operation))
    body = draw.randbytes(side * side * 3)
    return Payload(function="pixels", body=body, content_type="application/octet-stream", query=query)


def _words(text: bytes) -> Payload:
    return Payload(function="word-count", body=text, content_type="text/plain; charset=utf-8", query=(("top", "20"),))


def _text(draw: random.Random, words: int) -> bytes:
    vocabulary = ["".join(draw.choices(LETTERS, k=draw.randint(2, 9))) for _ in range(400)]
    return " ".join(draw.choices(vocabulary, k=words)).encode()
