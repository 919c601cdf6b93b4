"""Settings of the retrainer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from fiso.services.maintenance import hand_over
from fiso.settings import LOCAL_STAGE, BadSetting, BucketElsewhere, required, share, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """Which share of the live requests a challenger decides before it is promoted, until it has decided so many, and
    `hours` at most; `by_tenant` draws tenants and not requests."""

    share: float
    requests: int
    hours: int
    by_tenant: bool

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self | None:
        """None where the share is 0: challengers are promoted by what was recorded alone."""
        wanted = share(environ, "FISO_TRIAL_SHARE")
        if not wanted:
            return None
        if wanted > 0.5:
            raise BadSetting(f"environment variable FISO_TRIAL_SHARE: at most 0.5 of the requests, not {wanted}")
        drawn_by = environ.get("FISO_TRIAL_DRAWN_BY", "").strip() or "request"
        if drawn_by not in ("request", "tenant"):
            raise BadSetting(f"environment variable FISO_TRIAL_DRAWN_BY: request or tenant, not {drawn_by[:20]!r}")
        return cls(
            share=wanted,
            requests=whole(environ, "FISO_TRIAL_REQUESTS", 1000),
            hours=whole(environ, "FISO_TRIAL_HOURS", 20),
            by_tenant=drawn_by == "tenant",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainerSettings:
    """What the retrainer needs. The minimums are rows; the brief asks for 1,000. Of the model `families`, names with
    blanks between, the one that does best is taken.

    It offers candidates to `keeper_function`, which promotes and signs; without one it promotes with a key in the open
    (`local_signing_key`), on the local stage only. `model_keys` are the public keys that a champion may be signed with.
    `state_table` holds the newest promotion's witness. A standby `follows` the bucket of the region that trains, and
    trains none itself. Drift is what exceeds `drift_threshold` (docs/decisions/0034).
    """

    stage: str
    bucket: str
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int
    families: tuple[str, ...] = ("hist_gradient_boosting",)
    most_rows: int = 200_000
    train_on: str = ""
    keeper_function: str | None = None
    local_signing_key: str | None = field(default=None, repr=False)
    model_keys: str = ""
    state_table: str | None = None
    follows: BucketElsewhere | None = None
    drift_threshold: float = 0.1
    retrains_on_drift: bool = True
    trial: TrialSettings | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        stage = required(environ, "FISO_STAGE")
        in_the_open = environ.get("FISO_MODEL_SIGNING_KEY", "").strip() or None
        return cls(
            stage=stage,
            bucket=required(environ, "FISO_BUCKET"),
            families=tuple(environ.get("FISO_MODEL_FAMILIES", "").split()) or ("hist_gradient_boosting",),
            most_rows=whole(environ, "FISO_MOST_ROWS", 200_000),
            train_on=_train_on(environ),
            keeper_function=environ.get("FISO_KEEPER_FUNCTION", "").strip() or None,
            local_signing_key=in_the_open if stage == LOCAL_STAGE else None,
            model_keys=environ.get("FISO_MODEL_KEYS", "").strip(),
            state_table=environ.get("FISO_STATE_TABLE", "").strip() or None,
            minimum_rows=whole(environ, "FISO_MINIMUM_ROWS", 1000),
            minimum_new_rows=whole(environ, "FISO_MINIMUM_NEW_ROWS", 100),
            lookback_days=whole(environ, "FISO_LOOKBACK_DAYS", 30),
            follows=BucketElsewhere.from_environ(environ, "FISO_MODELS_FROM"),
            drift_threshold=share(environ, "FISO_DRIFT_THRESHOLD") or 0.1,
            trial=TrialSettings.from_environ(environ),
            retrains_on_drift=environ.get("FISO_RETRAIN_ON_DRIFT", "1").strip() == "1",
        )


def _train_on(environ: Mapping[str, str]) -> str:
    try:
        return hand_over.parsed(environ.get("FISO_TRAIN_ON", "").strip())
    except ValueError as error:
        raise BadSetting(f"environment variable FISO_TRAIN_ON {error}") from error
