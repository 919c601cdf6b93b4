"""Model pointers: which trained model serves, and how its file is known to be the one that was trained."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPointer:
    """The champion: a version and the digest of its artifact. `origin` is `layer` or `store`."""

    version: str
    sha256: str
    trained_at: datetime
    rows: int
    is_synthetic: bool
    origin: str = "layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRun:
    """What one retraining did: a promotion, or a recorded refusal with its reason."""

    started_at: datetime
    trigger: str
    rows: int
    promoted: bool
    reason: str
    champion_version: str
    challenger_version: str | None = None
    champion_error: float | None = None
    challenger_error: float | None = None
