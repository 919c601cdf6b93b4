"""Names and tags of what is deployed to Azure: each follows from stage, function, region and size, so that a run that
was killed finds what it made. Some names are everybody's (apps, storage accounts): those end in a hash of the
subscription.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STAGE_TAG, DEPLOYMENT_TAG, PACKAGE_TAG = "fiso-stage", "fiso-deployment", "fiso-package"
SHARED = "shared"
"""The deployment tag of what all copies of a stage use."""
SIZES = (512, 2048, 4096)
"""Memory of an instance in Flex Consumption, MB."""
_MOST_APP = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What a stage's copies share."""

    stage: str
    subscription: str

    @property
    def name(self) -> str:
        """The resource group."""
        return f"fiso-{self.stage}"

    @property
    def id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.name}"

    @property
    def lock_account(self) -> str:
        return f"fisolock{self._hash('lock', length=16)}"

    @property
    def lock_container(self) -> str:
        """The id of the container whose lease is the lock."""
        return self.resource("Microsoft.Storage/storageAccounts", self.lock_account) + (
            "/blobServices/default/containers/fiso-lock"
        )

    @property
    def insights(self) -> str:
        return f"fiso-{self.stage}"

    def tags(self, deployment: str = SHARED) -> dict[str, str]:
        """By which things are found again."""
        return {STAGE_TAG: self.stage, DEPLOYMENT_TAG: deployment}

    def resource(self, kind: str, name: str) -> str:
        """A resource's id."""
        return f"{self.id}/providers/{kind}/{name}"

    def _hash(self, *parts: str, length: int) -> str:
        whole = "|".join([self.subscription, self.stage, *parts])
        return hashlib.sha256(whole.encode()).hexdigest()[:length]

    def hashed(self, *parts: str, length: int) -> str:
        """Hexadecimal digits that stand for the subscription, the stage and the parts."""
        return self._hash(*parts, length=length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy: a function in a region and a size."""

    group: Group
    function: str
    folder: Path
    region: str
    memory_mb: int

    @property
    def deployment(self) -> str:
        """What its things are tagged with; also the endpoint's id in the catalog."""
        return f"azure-{self.region}-{self.memory_mb}"

    @property
    def app(self) -> str:
        """The app and its plan."""
        tail = f"-{self.region}-{self.memory_mb}-{self._hash(6)}"
        return f"fiso-{self.group.stage}-{self.function}"[: _MOST_APP - len(tail)].rstrip("-") + tail

    @property
    def storage(self) -> str:
        return f"fiso{self._hash(20)}"

    @property
    def app_id(self) -> str:
        return self.group.resource("Microsoft.Web/sites", self.app)

    @property
    def storage_id(self) -> str:
        return self.group.resource("Microsoft.Storage/storageAccounts", self.storage)

    @property
    def tags(self) -> dict[str, str]:
        return self.group.tags(f"{self.function}.{self.deployment}")

    def _hash(self, length: int) -> str:
        return self.group.hashed(self.function, self.region, str(self.memory_mb), length=length)


def is_ours(tags: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    """Whether a thing carries the tags that it should."""
    return all((tags or {}).get(name) == wanted[name] for name in (STAGE_TAG, DEPLOYMENT_TAG))
