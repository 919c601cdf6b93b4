"""compress: the body's bytes, smaller. Standard library only.

bzip2 is the default because it has one implementation, so its output is the same on every machine. zlib's output may
differ between builds (zlib, zlib-ng, vendors' patches); it always decompresses to the same bytes.
"""

import bz2
import zlib
from collections.abc import Mapping

from fiso_workload import query as queries
from fiso_workload.answer import Answer


def compress(body: bytes, query: Mapping[str, str]) -> Answer:
    """The body compressed: `algorithm` bz2 (default) or zlib, `level` 1 to 9 (6)."""
    algorithm = queries.one_of(query, "algorithm", ("bz2", "zlib"))
    level = queries.whole(query, "level", default=6, low=1, high=9)
    if algorithm == "bz2":
        return Answer(body=bz2.compress(body, level), content_type="application/x-bzip2")
    return Answer(body=zlib.compress(body, level), content_type="application/zlib")
