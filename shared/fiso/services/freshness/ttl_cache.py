"""TtlCache: a dictionary that lets go of what nobody asked for lately, so that it holds what is in use, no more."""

from datetime import datetime, timedelta
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Values in two generations. When `span` is over, or the younger one holds `most`, the older one is dropped and
    the younger one takes its place; what is asked for is young again. Nothing unused outlives two spans."""

    def __init__(self, *, span: timedelta, most: int) -> None:
        self._span, self._most = span, most
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._begun: datetime | None = None

    def __len__(self) -> int:
        """How many are held."""
        return len(self._young.keys() | self._old.keys())

    def get(self, key: K, now: datetime) -> V | None:
        """The value of a key; None when it is not, or no more, known."""
        begun = self._begun
        if begun is None or not begun <= now < begun + self._span:
            self._turn(now)
        value = self._young.get(key)
        if value is None and (value := self._old.get(key)) is not None:
            self._young[key] = value
        return value

    def put(self, key: K, value: V, now: datetime) -> None:
        """Hold a value."""
        if len(self._young) >= self._most:
            self._turn(now)
        self._young[key] = value

    def _turn(self, now: datetime) -> None:
        self._old, self._young, self._begun = self._young, {}, now
