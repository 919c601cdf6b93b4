"""Log lines as the functions write them, without what varies from run to run."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fiso.telemetry import RedactingFormatter

_VARYING = {"location": "PLACE", "timestamp": "TIME", "service": "SERVICE"}


@contextmanager
def lines_of(logger: Any) -> Iterator[Callable[[], list[str]]]:
    """What is written to a logger meanwhile, through the functions' own formatter."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(RedactingFormatter(service="SERVICE"))
    logger.addHandler(handler)
    try:
        yield lambda: [json.dumps(json.loads(line) | _VARYING) for line in written.getvalue().splitlines()]
    finally:
        logger.removeHandler(handler)
