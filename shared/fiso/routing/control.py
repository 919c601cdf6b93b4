"""Control blocks: stretches of time in which every request of a function goes to its home endpoint, for comparison.

Blocks, not single requests (a switchback design): a thin trickle of control requests would find the home endpoint
colder than full traffic does, and flatter the router. A block should be longer than the clouds keep an idle copy warm
(5 to 20 minutes). Compare whole blocks by their number (`block_of`), not requests by their reason: a control block in
which home was unavailable is still control, and its first minutes carry the warmth of the block before.
"""

from datetime import datetime
from hashlib import blake2b

_RANGE = 2**64


def is_control(function: str, at: datetime, *, share: float, block_s: int) -> bool:
    """Whether a time lies in a control block of the function: the same answer in every environment.

    Every block is drawn for itself with probability `share` by a hash of function and block number, so the draws of
    functions are independent, and raising the share only adds blocks.
    """
    if share <= 0:
        return False
    seed = f"{function}\n{block_of(at, block_s=block_s)}".encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(seed, digest_size=8).digest(), "big") < share * _RANGE


def block_of(at: datetime, *, block_s: int) -> int:
    """The number of the block that a time (aware) lies in, counted from 1970."""
    return int(at.timestamp() // block_s)
