"""word-count: how often each word occurs in a UTF-8 text. Standard library only."""

import re
from collections import Counter
from collections.abc import Mapping

from fiso_workload import query as queries
from fiso_workload.answer import Answer, Refusal, json_answer

WORD = re.compile(r"\w+")
MAX_WORDS = 1_000_000


def word_count(body: bytes, query: Mapping[str, str]) -> Answer:
    """`{"total": n, "distinct": n, "words": {word: count}}`, the most frequent first, ties by code point.

    Words are runs of letters, digits and underscores, lower-cased. The query's `top` limits how many are listed.
    """
    top = queries.whole(query, "top", default=MAX_WORDS, low=1, high=MAX_WORDS)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(f"the body is not UTF-8 (byte {error.start})") from error
    counts = Counter(WORD.findall(text.lower()))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return json_answer({"total": counts.total(), "distinct": len(counts), "words": dict(ordered[:top])})
