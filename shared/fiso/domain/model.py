"""Model pointers: which trained model serves, and how its file is known to be the one that was trained and signed."""

from dataclasses import dataclass
from datetime import datetime

from fiso.domain.signed import SignedText


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPointer:
    """The champion: a version and the digest of its artifact. `origin` is `layer` or `store`.

    What it says counts only as far as its manifest says the same and is signed (`prediction.manifest`). `previous` is
    the champion before it, to fall back on.
    """

    version: str
    sha256: str
    trained_at: datetime
    rows: int
    is_synthetic: bool
    origin: str = "layer"
    manifest: SignedText | None = None
    previous: "ModelPointer | None" = None


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
