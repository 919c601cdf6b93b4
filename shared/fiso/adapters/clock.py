"""The system's clock, for whoever wires adapters to services; everything else is given one."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time of day, aware."""
    return datetime.now(UTC)
