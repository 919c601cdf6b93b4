"""Names and labels of what is deployed to Google: each follows from stage, function, region and memory, so that a run
that was killed finds what it made. Service accounts have no labels: their description says the same.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fiso_cli.clouds.google.wrapper import WRAPPED, is_plain
from fiso_cli.errors import BadInput

STAGE_LABEL, DEPLOYMENT_LABEL = "fiso-stage", "fiso-deployment"
FUNCTION_LABEL, ENDPOINT_LABEL, PACKAGE_LABEL = "fiso-function", "fiso-endpoint", "fiso-package"
DEPLOYMENT = "functions"
"""The deployment label of all that `fiso deploy gcp` makes."""
MEMORY_MB = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+-[a-z]+\d{1,2}")
_MOST_SERVICE = 49


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What a stage's copies share in a project."""

    stage: str
    project: str
    region: str
    """Where what is shared lies: bucket, images, builds."""

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise BadInput(f"project {self.project!r}: say its id, as in my-project-123")
        if not _REGION.fullmatch(self.region):
            raise BadInput(f"region {self.region!r}: must be one of Google's, as in us-east4")

    @property
    def labels(self) -> dict[str, str]:
        """By which things are found again."""
        return {STAGE_LABEL: self.stage, DEPLOYMENT_LABEL: DEPLOYMENT}

    @property
    def mark(self) -> str:
        """The description of a service account of ours."""
        return f"{STAGE_LABEL}={self.stage} {DEPLOYMENT_LABEL}={DEPLOYMENT}"

    @property
    def caller_mark(self) -> str:
        """The caller's account is the trust's (`fiso trust gcp`), which may make it first or find it made."""
        return f"{STAGE_LABEL}={self.stage} {DEPLOYMENT_LABEL}=trust"

    @property
    def bucket(self) -> str:
        return f"fiso-{self.stage}-{self.project}"

    @property
    def location(self) -> str:
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def repository(self) -> str:
        """The full name of the images' repository."""
        return f"{self.location}/repositories/fiso-{self.stage}"

    @property
    def builder(self) -> str:
        """Who builds: it reads the source, writes the image, and logs."""
        return self.account(f"fiso-{self.stage}-make")

    @property
    def runner(self) -> str:
        """Who the copies run as: it may do nothing."""
        return self.account(f"fiso-{self.stage}-run")

    @property
    def caller(self) -> str:
        """Who FISO is to Google (docs/decisions/0016): it may call the copies."""
        return self.account(f"fiso-{self.stage}")

    def account(self, name: str) -> str:
        """A service account's address."""
        return f"{name}@{self.project}.iam.gserviceaccount.com"

    def account_name(self, email: str) -> str:
        """A service account's full name."""
        return f"projects/{self.project}/serviceAccounts/{email}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A function of a version: what is built once, and runs in every region. `version` is its package's sha256."""

    names: Names
    function: str
    target: str
    version: str

    @property
    def object(self) -> str:
        return f"source/{self.function}/{self.version[:16]}.tar.gz"

    @property
    def tag(self) -> str:
        """The full name of the image's tag."""
        return f"{self.names.repository}/packages/{self.function}/tags/{self.version[:16]}"

    @property
    def image(self) -> str:
        names = self.names
        repository = f"{names.region}-docker.pkg.dev/{names.project}/fiso-{names.stage}"
        return f"{repository}/{self.function}:{self.version[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy: a function in a region, with memory."""

    source: Source
    region: str
    memory_mb: int

    @property
    def endpoint(self) -> str:
        """The endpoint's id in the catalog."""
        return f"gcp-{self.region}-{self.memory_mb}"

    @property
    def service(self) -> str:
        """At most 49 characters; what is longer is cut, and ends in a hash of the whole."""
        whole = f"fiso-{self.source.names.stage}-{self.source.function}-{self.memory_mb}"
        tail = f"-{hashlib.sha256(whole.encode()).hexdigest()[:6]}"
        return whole if len(whole) <= _MOST_SERVICE else whole[: _MOST_SERVICE - len(tail)].rstrip("-") + tail

    @property
    def parent(self) -> str:
        return f"projects/{self.source.names.project}/locations/{self.region}"

    @property
    def name(self) -> str:
        """The service's full name."""
        return f"{self.parent}/services/{self.service}"

    @property
    def labels(self) -> dict[str, str]:
        own = {FUNCTION_LABEL: self.source.function, ENDPOINT_LABEL: self.endpoint}
        return {**self.source.names.labels, **own, PACKAGE_LABEL: self.source.version[:16]}


def is_ours(labels: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a thing carries the labels of the stage."""
    return all((labels or {}).get(name) == wanted[name] for name in (STAGE_LABEL, DEPLOYMENT_LABEL))


def regions_of(given: str) -> list[str]:
    """Regions by commas. `BadInput` for what is none."""
    found = [region.strip() for region in given.split(",") if region.strip()]
    if not found:
        raise BadInput("--regions: name at least one, as in us-east4")
    for region in found:
        if not _REGION.fullmatch(region):
            raise BadInput(f"region {region!r}: must be one of Google's, as in us-east4")
    return list(dict.fromkeys(found))


def memories_of(given: str) -> list[int]:
    """Megabytes by commas. `BadInput` for what a Cloud Run function cannot have."""
    found = [word.strip() for word in given.split(",") if word.strip()]
    known = [str(each) for each in MEMORY_MB]
    if not found or not set(found) <= set(known):
        raise BadInput(f"--memory {given!r}: one or more of {', '.join(known)} MB")
    return list(dict.fromkeys(map(int, found)))


def target_of(folder: Path) -> str:
    """The function that the functions framework is to serve: the one that is decorated in main.py, or the wrapper's."""
    if is_plain(folder):
        return WRAPPED
    text = (folder / "main.py").read_text(encoding="utf-8", errors="replace") if (folder / "main.py").is_file() else ""
    found = re.findall(r"^@functions_framework\.http\b.*\n(?:@.*\n)*(?:async )?def (\w+)", text, re.MULTILINE)
    if len(found) > 1:
        raise BadInput(f"{folder}/main.py: {', '.join(found)} are all decorated: say --target NAME")
    if not found:
        raise BadInput(f"{folder}/main.py: no function is decorated with @functions_framework.http: say --target NAME")
    return str(found[0])
