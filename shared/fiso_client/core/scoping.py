"""Scoping: an idempotency key as a function sees it. Router and client derive it alike, so that a request which goes by
both runs once."""

import hashlib


def scoped_key(tenant: str, function: str, key: str) -> str:
    """The sha256, in hex, of `fiso-key`, tenant, function and key, each on a line of its own (none of them holds a line
    break). What one caller calls its key is another's as well; a function that deduplicates on the key alone would give
    the second the first one's answer."""
    return hashlib.sha256(f"fiso-key\n{tenant}\n{function}\n{key}".encode()).hexdigest()
