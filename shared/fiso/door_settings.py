"""Settings of a front door on another cloud: where its mirror is, and who it is elsewhere."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from fiso.settings import LOCAL_STAGE, BadSetting, mirrors, required

_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """What a front door on another cloud needs beside what a stage's orchestrator does: where its mirror is, which
    name its log has there, and the words that sign leases, the same as on AWS. `audience` is whom its own cloud's word
    about it is for, where other clouds take that; `aws_role` the role on AWS that it may be, by that word."""

    mirror: str
    door: str
    lease_keys: str = field(default="", repr=False)
    audience: str = ""
    aws_role: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self | None:
        """None without FISO_MIRROR: a door on AWS."""
        places = mirrors(environ, "FISO_MIRROR", is_local=required(environ, "FISO_STAGE") == LOCAL_STAGE)
        if not places:
            return None
        if len(places) != 1:
            raise BadSetting("environment variable FISO_MIRROR must name one place: a door has one log")
        audience, role = environ.get("FISO_DOOR_AUDIENCE", "").strip(), environ.get("FISO_AWS_ROLE", "").strip()
        if audience and not re.fullmatch(r"[!-~]{1,200}", audience):
            raise BadSetting("environment variable FISO_DOOR_AUDIENCE must be one word, as tokens name their audience")
        if role and not (audience and _ROLE.fullmatch(role)):
            raise BadSetting(
                "environment variable FISO_AWS_ROLE must be a role's ARN, and FISO_DOOR_AUDIENCE whom that role's "
                f"provider of identities takes tokens for; not {role[:80]!a}"
            )
        return cls(
            mirror=places[0],
            door=door_of(places[0]),
            lease_keys=environ.get("FISO_LEASE_KEYS", "").strip(),
            audience=audience,
            aws_role=role,
        )


def door_of(mirror: str) -> str:
    """A door's name, of which cloud its mirror is on."""
    return "google" if mirror.startswith("gs://") else "azure"
