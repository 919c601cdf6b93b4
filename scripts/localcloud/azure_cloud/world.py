"""What Azure holds: subscriptions' providers, groups, resources by id, role assignments, operations that go on by
themselves. Every request moves all that is under way one step on, so that a client that goes away changes nothing.
"""

import copy
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.faults import Faults
from localcloud.azure_cloud.running import Running
from localcloud.drill.object_store import Objects
from localcloud.managed_postgres import Servers

Document = dict[str, Any]
TENANT = "00000000-0000-0000-0000-00000000aaaa"
REGIONS = ("East US", "West Europe", "North Europe", "Sweden Central", "UK South")
"""With Flex Consumption."""
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@dataclass
class Operation:
    """Something long: `status` as Azure says it, the error, and what a deployment still has to make."""

    status: str = "Running"
    error: Document | None = None
    result: Document | None = None
    left: list[Any] = field(default_factory=list)
    hangs: bool = False


@dataclass
class World:
    """Everything. `folder` is where packages are unpacked; without `runs` they are not started. Apps take tokens of the
    Entra at `entra_url`."""

    folder: Path
    runs: bool = False
    entra_url: str = ""
    is_registered: bool = True
    """Whether the subscription's resource providers are registered to begin with."""
    known_after: int = 0
    """How many requests it takes until a new identity is known everywhere."""
    shows_after: int = 0
    faults: Faults = field(default_factory=Faults)
    providers: dict[str, str] = field(default_factory=dict)
    groups: dict[str, Document] = field(default_factory=dict)
    resources: dict[str, Document] = field(default_factory=dict)
    assignments: dict[str, Document] = field(default_factory=dict)
    principals: dict[str, int] = field(default_factory=dict)
    """Identities, and from which request on they are known."""
    operations: dict[str, Operation] = field(default_factory=dict)
    deployments: dict[str, Document] = field(default_factory=dict)
    """By id; each names its operation."""
    taken: set[str] = field(default_factory=set)
    """Names of apps and storage accounts that somebody else in the world has."""
    soft_deleted: dict[str, str] = field(default_factory=dict)
    """Workspaces' names, and the group where they were."""
    published: dict[str, list[Document]] = field(default_factory=dict)
    url: str = ""
    """Where this server is, for telemetry; unknown to apps where it is empty."""
    logs: dict[str, list[Document]] = field(default_factory=dict)
    """Rows by the table of the one workspace."""
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    running: Running = field(default_factory=Running)
    databases: Servers = field(default_factory=Servers)
    blobs: Objects = field(default_factory=Objects)
    """The blobs of workspaces for machine learning, by container and name."""
    preempted: int = 0
    """How often a low-priority machine is taken away before a job runs."""
    requests: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def resource(self, path: str) -> Document | None:
        """The resource of an id, as it is kept."""
        return self.resources.get(path.lower())

    def put(self, path: str, document: Document) -> Document:
        """Keep a resource under a new ETag."""
        kept = {**document, "id": path, "name": path.rpartition("/")[2], "etag": f'"{uuid.uuid4()}"'}
        self.resources[path.lower()] = kept
        return kept

    def below(self, path: str) -> Iterator[Document]:
        """The resource and its children."""
        start = path.lower()
        for key in sorted(self.resources):
            if key == start or key.startswith(f"{start}/"):
                yield self.resources[key]

    def group_of(self, path: str) -> Document:
        """The group that holds an id. Refused where there is none."""
        parts = path.split("/")
        found = self.groups.get(parts[4].lower()) if len(parts) > 4 else None
        if found is None:
            name = parts[4] if len(parts) > 4 else ""
            raise Refused(404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found.")
        return found

    def begin(self, operation: Operation) -> str:
        """An operation's number."""
        number = str(uuid.uuid4())
        self.operations[number] = operation
        return number

    def new_principal(self) -> str:
        """A managed identity, not known everywhere at once."""
        number = str(uuid.uuid4())
        self.principals[number] = self.requests + self.known_after
        return number

    def drop(self, path: str) -> None:
        """A resource and what is below it, with its assignments: those at a scope end with the scope."""
        for each in list(self.below(path)):
            self.running.stop(str(each["id"]).lower())
            self.databases.stop(str(each["id"]).lower())
            del self.resources[str(each["id"]).lower()]
        for number in [key for key in self.assignments if key.startswith(path.lower())]:
            del self.assignments[number]

    def snapshot(self) -> Document:
        """What is there, comparable: without what is new each time."""
        gone = {"etag", "principalId", "tenantId", "metadata", "leaseState"}

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {
                    name: each.partition(".")[0] if name == "fiso-package" else plain(each)
                    for name, each in value.items()
                    if name not in gone and not name.startswith("_")
                }
            return [plain(each) for each in value] if isinstance(value, list) else value

        return {
            "groups": plain(copy.deepcopy(self.groups)),
            "resources": plain(copy.deepcopy(self.resources)),
            "roles": sorted(each["properties"]["scope"] for each in self.assignments.values()),
        }

    def forget_locks(self) -> None:
        """As a minute later: every lease is over."""
        for each in self.resources.values():
            each["properties"].pop("_lease", None)
