"""Names and tags of what is deployed to AWS: each follows from stage, function, region and size, so that a run that was
killed finds what it made.

No name holds a hyphen before a word of the user's: the orchestrator may invoke nothing that ends like a function of
FISO's own (`fiso-*-keeper*`, scripts/serverless/roles.yml), and a user may well have a `time-keeper`.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fiso_cli.errors import BadInput

STAGE_TAG, DEPLOYMENT_TAG, PACKAGE_TAG, TARGET_TAG = "fiso-stage", "fiso-deployment", "fiso-package", "fiso-target"
ROLE_PATH = "/fiso-functions/"
MEMORY_MB = (128, 10_240)
_MOST_NAME = 64
_UNCUT = _MOST_NAME - len("-123456")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stage's functions are made."""

    stage: str
    account: str
    partition: str = "aws"

    @property
    def prefix(self) -> str:
        """What the names of all of its functions begin with; the tags say whether it is one of them."""
        return f"fiso-{self.stage.replace('-', '_')}-fn_"

    def role(self, function: str) -> str:
        """The role that a function's copies run as, in whatever region."""
        return _cut(self.prefix + function.replace("-", "_"), f"{self.stage}|{function}")

    def copies(self, function: str) -> str:
        """A pattern of the names of a function's copies, whatever their size."""
        whole = self.prefix + function.replace("-", "_")
        return f"{whole}-*" if len(whole) + len("-10240") <= _MOST_NAME else f"{whole[:_UNCUT]}*"

    def role_arn(self, function: str) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role{ROLE_PATH}{self.role(function)}"

    def tags(self, deployment: str) -> dict[str, str]:
        """By which things are found again: `FUNCTION` of what its copies share, `FUNCTION.ENDPOINT` of a copy's own."""
        return {STAGE_TAG: self.stage, DEPLOYMENT_TAG: deployment}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy: a function in a region, with memory."""

    place: Place
    function: str
    region: str
    memory_mb: int

    @property
    def endpoint(self) -> str:
        """The endpoint's id in the catalog."""
        return f"aws-{self.region}-{self.memory_mb}"

    @property
    def name(self) -> str:
        """The Lambda function."""
        whole = f"{self.place.prefix}{self.function.replace('-', '_')}-{self.memory_mb}"
        return _cut(whole, f"{self.place.stage}|{self.function}|{self.memory_mb}")

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.name}"

    @property
    def tags(self) -> dict[str, str]:
        return self.place.tags(f"{self.function}.{self.endpoint}")


def _cut(name: str, whole: str) -> str:
    """At most 64 characters; what is longer is cut, and ends in a hash of the whole."""
    tail = f"-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"
    return name if len(name) <= _MOST_NAME else name[:_UNCUT] + tail


def is_ours(tags: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a thing carries the tags that it should."""
    return all((tags or {}).get(name) == wanted[name] for name in (STAGE_TAG, DEPLOYMENT_TAG))


def memories_of(given: str) -> list[int]:
    """Megabytes by commas. `BadInput` for what a Lambda function cannot have."""
    words = [word.strip() for word in given.split(",") if word.strip()]
    least, most = MEMORY_MB
    if not words or not all(word.isascii() and word.isdigit() and least <= int(word[:6]) <= most for word in words):
        raise BadInput(f"--memory {given!r}: one or more of {least} to {most} MB, by commas")
    return list(dict.fromkeys(map(int, words)))


def regions_of(given: str, known: Collection[str]) -> list[str]:
    """Regions by commas. `BadInput` for what is none of those known."""
    words = list(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))
    if not words:
        raise BadInput("--regions: name at least one, as in us-east-1")
    for word in words:
        if word not in known:
            raise BadInput(f"region {word!r}: Lambda has none of that name, as in us-east-1")
    return words
