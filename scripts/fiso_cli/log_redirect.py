"""Own lines: where FISO's log lines go while a command runs its services in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def lines_to(stream: TextIO) -> Iterator[None]:
    """They go there meanwhile; without this they would mix with what the command prints."""
    from fiso import telemetry  # a command that runs nothing does not wait for it

    structured = telemetry.logger().registered_handler
    if not isinstance(structured, logging.StreamHandler):
        raise TypeError("the structured logger writes to a stream")
    before = structured.stream
    structured.setStream(stream)
    try:
        yield
    finally:
        structured.setStream(before)
