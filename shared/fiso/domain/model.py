"""Model pointers: which trained model serves, and how its file is known to be the one that was trained and signed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from fiso.domain.signed import SignedText


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPointer:
    """The champion: a version and the digest of its artifact. `origin` is `layer` or `store`.

    What it says counts only as far as its manifest says the same and is signed (`prediction.manifest`). `previous` is
    the champion before it, to fall back on; `trial` a challenger that decides for a share of the requests beside it,
    which its own manifest says with everything else of the trial.
    """

    version: str
    sha256: str
    trained_at: datetime
    rows: int
    is_synthetic: bool
    origin: str = "layer"
    manifest: SignedText | None = None
    previous: "ModelPointer | None" = None
    trial: "ModelPointer | None" = None


class DrawnBy(StrEnum):
    """What is hashed to draw a request's arm: itself, or its tenant, all of whose requests then go alike."""

    REQUEST = "request"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTerms:
    """What is signed of a trial: which share of the requests the challenger decides for, drawn by a hash with `salt`,
    which names the trial; and until when, so that one that nobody ends is over all the same."""

    share: float
    salt: str
    until: datetime
    drawn_by: DrawnBy = DrawnBy.REQUEST

    def __post_init__(self) -> None:
        if not (0 < self.share <= 0.5 and self.salt):
            raise ValueError(f"no trial: share {self.share!r}, salt {self.salt[:20]!r}")


class RunEnd(StrEnum):
    """How a retraining ended. KILLED is said by the next one, of a run that told of no end. One ON_TRIAL has its end
    recorded once the requests that its challenger decided have said how that goes."""

    UNDER_WAY = "under way"
    ON_TRIAL = "on trial"
    PROMOTED = "promoted"
    REFUSED = "refused"
    FAILED = "failed"
    OUT_OF_TIME = "out of time"
    KILLED = "killed"


class Verdict(StrEnum):
    """How a step of a retraining ended. After one that STOPPED nothing follows."""

    PASSED = "passed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    UNDER_WAY = "under way"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a retraining: its verdict, why in words that stand on their own, and the figures it rests on."""

    name: str
    verdict: Verdict
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRun:
    """What one retraining did: a promotion, or a recorded refusal with its reason.

    It is recorded when it begins, and again when it ends. `rows` are of about `standing` records that the archive holds
    since `read_since`; `left_out` objects of it could not be read whole. What is None is not known, as of older runs;
    they have no `steps` either.
    """

    started_at: datetime
    trigger: str
    rows: int
    promoted: bool
    reason: str
    champion_version: str
    challenger_version: str | None = None
    champion_error: float | None = None
    challenger_error: float | None = None
    end: RunEnd | None = None
    ended_at: datetime | None = None
    read_since: datetime | None = None
    standing: int | None = None
    left_out: int | None = None
    steps: tuple[Step, ...] = ()
