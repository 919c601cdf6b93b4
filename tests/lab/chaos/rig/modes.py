"""Modes: how a scripted provider behaves. Plain data, so that they can be sent to its process."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What becomes of a request that a mode is applied to."""

    OK = "ok"
    REFUSE = "refuse"  # nobody listens, open connections are reset
    BLACK_HOLE = "black_hole"  # the function runs, and no answer ever comes
    ERROR = "error"  # the provider's own 5xx, after the usual time
    TRUNCATED = "truncated"  # the body ends early, then the connection
    LENGTH_TOO_LONG = "length_too_long"  # content-length promises more than comes, and the connection stays open
    LENGTH_TOO_SHORT = "length_too_short"  # content-length promises less than comes
    HTML = "html"  # 200 with a page where the function's answer should be
    MALFORMED_JSON = "malformed_json"
    SLOW_DRIP = "slow_drip"  # one byte of the body every DRIP_S
    HUGE_BODY = "huge_body"  # 100 MB
    BAD_UTF8 = "bad_utf8"
    GZIP_BOMB = "gzip_bomb"  # 100 MB of zeros in 100 kB
    HUGE_HEADER = "huge_header"  # 64 kB in one header
    RESET = "reset"  # a TCP reset in the middle of the body
    RESET_AFTER_RUN = "reset_after_run"  # the function has run, then a TCP reset in place of an answer


NEVER_ANSWERED = frozenset({Kind.BLACK_HOLE, Kind.RESET_AFTER_RUN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """`kind` happens to `share` of the requests, the others are answered as ever.

    `slow` multiplies the latency, `jitter_ms` adds up to so much. Above `throttle_above` requests a second (counted
    over the last one) the answer is 429 with `retry_after_s`. With `up_s` and `down_s` the mode flaps: it holds for
    `down_s`, then all is well for `up_s`, and so on. `error_status` is what ERROR answers.
    """

    kind: Kind = Kind.OK
    share: float = 1.0
    slow: float = 1.0
    jitter_ms: float = 0.0
    error_status: int = 503
    throttle_above: float | None = None
    retry_after_s: int = 1
    up_s: float = 0.0
    down_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or self.slow <= 0 or self.jitter_ms < 0:
            raise ValueError("a share is within [0, 1], slow above 0, jitter not negative")
        if (self.up_s > 0) != (self.down_s > 0):
            raise ValueError("flapping needs both up_s and down_s")

    def is_down(self, elapsed_s: float) -> bool:
        """Whether the mode holds so long after it was set."""
        return not self.up_s or elapsed_s % (self.up_s + self.down_s) < self.down_s


OK = Mode()


def to_document(mode: Mode) -> dict[str, object]:
    """JSON-able."""
    return asdict(mode)


def from_document(document: Mapping[str, object]) -> Mode:
    """What `to_document` made; `ValueError` or `TypeError` otherwise."""
    fields = dict(document)
    return Mode(**{**fields, "kind": Kind(str(fields.get("kind", "ok")))})  # type: ignore[arg-type]
