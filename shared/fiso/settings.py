"""Settings: one frozen value per function, read once from an environ mapping. The only place that knows the names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

LOCAL_STAGE = "local"


class MissingSetting(Exception):
    """A variable that the function cannot start without."""


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise MissingSetting(f"environment variable {name} is not set")
    return value


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    try:
        return int(text) if text else default
    except ValueError as error:
        raise MissingSetting(f"environment variable {name} must be a whole number, not {text!r}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """What the orchestrator needs. `allow_loopback` lets endpoints be http on loopback; only the local stage may.
    `lease_keys_parameter` names the parameter with the keys that sign leases; without it there are no leases. `region`
    is where it runs, as Lambda says. `model_keys` are the public keys that published models may be signed with."""

    stage: str
    log_table: str
    state_table: str
    bucket: str
    model_dir: Path
    allow_loopback: bool
    lease_keys_parameter: str | None = None
    region: str | None = None
    model_keys: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        stage = _required(environ, "FISO_STAGE")
        return cls(
            stage=stage,
            log_table=_required(environ, "FISO_LOG_TABLE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
            model_dir=Path(environ.get("FISO_MODEL_DIR") or "/opt/model"),
            allow_loopback=stage == LOCAL_STAGE and environ.get("FISO_ALLOW_LOOPBACK") == "1",
            lease_keys_parameter=environ.get("FISO_LEASE_KEYS_PARAMETER", "").strip() or None,
            region=environ.get("AWS_REGION") or None,
            model_keys=environ.get("FISO_MODEL_KEYS", "").strip(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConsumerSettings:
    """What the stream consumer needs."""

    stage: str
    state_table: str
    bucket: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainerSettings:
    """What the retrainer needs. The minimums are rows; the brief asks for 1,000.

    It signs with a key of KMS; with one in the open (`local_signing_key`) on the local stage only. `model_keys` are the
    public keys that a champion may be signed with, beside its own.
    """

    stage: str
    bucket: str
    minimum_rows: int
    minimum_new_rows: int
    lookback_days: int
    signing_key_id: str | None = None
    local_signing_key: str | None = field(default=None, repr=False)
    model_keys: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        stage = _required(environ, "FISO_STAGE")
        in_the_open = environ.get("FISO_MODEL_SIGNING_KEY", "").strip() or None
        return cls(
            stage=stage,
            bucket=_required(environ, "FISO_BUCKET"),
            signing_key_id=environ.get("FISO_MODEL_SIGNING_KEY_ID", "").strip() or None,
            local_signing_key=in_the_open if stage == LOCAL_STAGE else None,
            model_keys=environ.get("FISO_MODEL_KEYS", "").strip(),
            minimum_rows=_whole(environ, "FISO_MINIMUM_ROWS", 1000),
            minimum_new_rows=_whole(environ, "FISO_MINIMUM_NEW_ROWS", 100),
            lookback_days=_whole(environ, "FISO_LOOKBACK_DAYS", 30),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperSettings:
    """What the keeper needs. The database is a URL on local, a secret's ARN elsewhere."""

    stage: str
    log_table: str
    bucket: str
    database_url: str | None
    database_secret_arn: str | None
    state_table: str | None = None
    """Where the catalog's copy goes; without it there is none."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            log_table=_required(environ, "FISO_LOG_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
            database_url=environ.get("FISO_DATABASE_URL") or None,
            database_secret_arn=environ.get("FISO_DATABASE_SECRET_ARN") or None,
            state_table=environ.get("FISO_STATE_TABLE", "").strip() or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """What the console needs: everything it shows comes from tables and the bucket, read only."""

    stage: str
    log_table: str
    state_table: str
    bucket: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read and check."""
        return cls(
            stage=_required(environ, "FISO_STAGE"),
            log_table=_required(environ, "FISO_LOG_TABLE"),
            state_table=_required(environ, "FISO_STATE_TABLE"),
            bucket=_required(environ, "FISO_BUCKET"),
        )
