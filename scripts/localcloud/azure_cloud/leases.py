"""Leases of blob containers, through the management API: who holds one is refused to nobody, for as long as it said."""

import re
import time
import uuid
from typing import TYPE_CHECKING

from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.world import Document, World

if TYPE_CHECKING:
    from localcloud.azure_cloud.app import Answer, Request


def lease(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    """Acquire, renew, release, break."""
    from localcloud.azure_cloud.app import Answer

    container, given = _container(world, match["of"]), request.document
    kept = container["properties"].setdefault("_lease", {"id": None, "until": 0.0})
    is_held = kept["id"] is not None and kept["until"] > time.monotonic()
    action, named = given.get("action"), given.get("leaseId")
    if action == "Acquire":
        duration = given.get("leaseDuration")
        if not isinstance(duration, int) or not (duration == -1 or 15 <= duration <= 60):
            raise Refused(400, "InvalidHeaderValue", "leaseDuration is -1, or from 15 to 60.")
        if is_held and kept["id"] != given.get("proposedLeaseId"):
            raise Refused(409, "LeaseAlreadyPresent", "There is already a lease present.")
        kept["id"] = given.get("proposedLeaseId") or str(uuid.uuid4())
        kept["until"] = time.monotonic() + (10**9 if duration == -1 else duration)
    elif kept["id"] is None or named != kept["id"]:
        raise Refused(409, "LeaseIdMismatchWithLeaseOperation", "The lease ID specified did not match the lease ID.")
    elif action == "Renew":
        kept["until"] = time.monotonic() + 60
    elif action == "Release":
        kept["id"] = None
    else:
        raise Refused(400, "InvalidRequestContent", f"The action {action} is not known here.")
    show(container)
    return Answer(body={"leaseId": kept["id"]})


def set_metadata(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    """Name and value pairs of a container."""
    from localcloud.azure_cloud.app import Answer

    container = _container(world, match["of"])
    container["properties"]["metadata"] = request.document["properties"].get("metadata", {})
    show(container)
    return Answer(body=container)


def _container(world: World, path: str) -> Document:
    found = world.resource(path)
    if found is None:
        raise Refused(404, "ContainerNotFound", "The specified container does not exist.")
    show(found)
    return found


def show(container: Document) -> None:
    """Say in a container how its lease is now."""
    kept = container["properties"].get("_lease", {"id": None, "until": 0.0})
    is_held = kept["id"] is not None and kept["until"] > time.monotonic()
    container["properties"]["leaseState"] = "Leased" if is_held else "Available"
