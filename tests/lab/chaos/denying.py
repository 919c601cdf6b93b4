"""A rig whose policy denies one cloud: no fault of a store may ever let a request through to it."""

import logging

from fiso import telemetry
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Provider
from fiso.testing.rig import Answer, Rig, word_count

DENIED = Provider.GCP


def catalog(*, timeout_ms: int = 10_000) -> CatalogEntry:
    """One function on three clouds, of which one is denied."""
    return word_count(denied_providers=frozenset({DENIED}), timeout_ms=timeout_ms)


def invoke(rig: Rig) -> Answer:
    """One request."""
    return rig.invoke("word-count", body='{"text": "a b"}')


def silence() -> None:
    """A line a request is not what is measured."""
    telemetry.logger().setLevel(logging.CRITICAL)
