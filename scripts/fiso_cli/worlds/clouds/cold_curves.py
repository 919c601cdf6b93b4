"""Cold curves: how long an idle instance is kept, from published curves of P(cold | idle time). Pure but for `read`.

An instance alive at t seconds of idleness is one whose own draw u is at least P(cold | t). The curve's running maximum
is taken, since nothing that was given up comes back, and beyond its last point everything is given up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso.routing.levels import COLD_AFTER_IDLE, IDLE_BINS
from fiso_cli.errors import BadInput
from fiso_cli.rendering import one_line
from fiso_cli.worlds.inputs import csv_records

SNAPSHOT = "2021-01-07"
"""The newest of mikhail.io's measurements, the one that `fiso.routing.levels` was read off."""
LONGEST_IDLE_S = 2 * IDLE_BINS[-1]
_COLUMNS = ("snapshot", "provider", "idle_min", "p_cold")


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdCurve:
    """P(cold) by idle time: steps that begin at `idle_s` (ascending) with the chance `p_cold` (never falling)."""

    idle_s: tuple[float, ...]
    p_cold: tuple[float, ...]
    last_s: float

    def __post_init__(self) -> None:
        if len(self.idle_s) != len(self.p_cold) or not self.idle_s or list(self.idle_s) != sorted(self.idle_s):
            raise ValueError("a curve needs as many chances as ascending idle times")
        if list(self.p_cold) != sorted(self.p_cold) or not (self.p_cold[0] >= 0 and self.p_cold[-1] <= 1):
            raise ValueError("chances must lie within [0, 1] and never fall")

    def cold(self, idle_s: float) -> float:
        """P(cold | idle_s)."""
        if idle_s > self.last_s:
            return 1.0
        return max((p for at, p in zip(self.idle_s, self.p_cold, strict=True) if at <= idle_s), default=0.0)

    def kept_s(self, draw: float) -> float:
        """How long an instance with this uniform draw is kept: `draw >= cold(t)` exactly for t below it."""
        beyond = (at for at, p in zip(self.idle_s, self.p_cold, strict=True) if p > draw)
        return next(beyond, self.last_s)

    @property
    def median_s(self) -> float:
        """How long every second instance is kept."""
        return self.kept_s(0.5)


Curves = Mapping[Provider, ColdCurve]


def curve_of(points: Sequence[tuple[float, float]]) -> ColdCurve:
    """The steps of measured points (idle seconds, P(cold)), each reaching half way to its neighbours."""
    ordered = sorted(points)
    times = [at for at, _ in ordered]
    begins = [0.0, *((before + after) / 2 for before, after in pairwise(times))]
    chances = accumulate((p_cold for _, p_cold in ordered), max)
    return ColdCurve(idle_s=tuple(begins), p_cold=tuple(chances), last_s=times[-1])


def shipped() -> Curves:
    """The coarse table of `fiso.routing.levels`, by class of idle time; given up at the latest after two hours."""
    begins = (0.0, *IDLE_BINS)
    return {
        provider: ColdCurve(idle_s=begins, p_cold=chances, last_s=LONGEST_IDLE_S)
        for provider, chances in COLD_AFTER_IDLE.items()
    }


def read(path: Path) -> Curves:
    """The curves of SNAPSHOT from a file like mikhail.io's idle_pcold.csv. `BadInput`."""
    rows = csv_records(path)
    if missing := [name for name in _COLUMNS if not rows or name not in rows[0]]:
        raise BadInput(f"{path}: columns missing: {', '.join(missing)}")
    points: dict[Provider, list[tuple[float, float]]] = {provider: [] for provider in Provider}
    try:
        for row in rows:
            if row["snapshot"] == SNAPSHOT:
                points[Provider(row["provider"])].append((60 * float(row["idle_min"]), float(row["p_cold"])))
        if empty := [provider.value for provider, found in points.items() if not found]:
            raise ValueError(f"no rows of snapshot {SNAPSHOT} for {', '.join(empty)}")
        return {provider: curve_of(found) for provider, found in points.items()}
    except ValueError as error:
        raise BadInput(f"{path}: {one_line(error)}") from error
