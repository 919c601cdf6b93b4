"""The lock of a stage on Azure: the lease of one blob container, through Resource Manager, so that whoever may deploy
may lock and nobody needs a right to read blobs. Who holds it stands in the container's metadata.

Of a lease: learn.microsoft.com/rest/api/storagerp/blob-containers/lease. It ends by itself 60 s after its last renewal.
"""

import uuid
from dataclasses import dataclass

from fiso_cli.clouds.azure.arm import Arm, Document
from fiso_cli.clouds.azure.names import Group
from fiso_cli.clouds.lock import LEASE, Conflict, Held, Holder
from fiso_cli.errors import CommandError

VERSION = "2025-01-01"
_TAKEN = ("LeaseAlreadyPresent", "LeaseIdMismatch", "LeaseNotPresent", "LeaseLost", "LeaseIsBroken")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLease:
    """The lock of a stage. Its version is the lease's id."""

    arm: Arm
    group: Group

    def read(self) -> Held | None:
        """Who holds it, as far as the metadata is of this lease."""
        properties = (self.arm.find(self.group.lock_container, VERSION) or {}).get("properties", {})
        if str(properties.get("leaseState", "")).lower() != "leased":
            return None
        said = {name.lower(): value for name, value in (properties.get("metadata") or {}).items()}
        return Held(Holder.read(str(said.get("fisoholder", ""))), str(said.get("fisolease", "")))

    def write(self, holder: Holder, over: str | None) -> str:
        """Acquire, or renew what `over` names."""
        if over is not None:
            self._lease({"action": "Renew", "leaseId": over})
            version = over
        else:
            version = str(uuid.uuid4())
            seconds = int(LEASE.total_seconds())
            self._lease({"action": "Acquire", "leaseDuration": seconds, "proposedLeaseId": version})
        said = {"fisoholder": holder.written(), "fisolease": version}
        self.arm.call("PATCH", self.group.lock_container, VERSION, {"properties": {"metadata": said}})
        return version

    def delete(self, version: str) -> None:
        """Release: only that very lease, so that of two who find a dead run's one gets it."""
        self._lease({"action": "Release", "leaseId": version})

    def _lease(self, action: Document) -> None:
        try:
            self.arm.call("POST", f"{self.group.lock_container}/lease", VERSION, action)
        except CommandError as error:
            if any(code in str(error) for code in _TAKEN):
                raise Conflict(str(error)) from error
            raise
