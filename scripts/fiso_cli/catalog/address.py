"""Addresses of declared endpoints: their variables filled in. What they must look like then is `fiso.domain.address`.

Variables are `${FISO_AWS_…}`, `${FISO_AZURE_…}` and `${FISO_GCP_…}` only, so that a catalog file can never carry
another variable of the environment (a credential, say) into an address.
"""

import re
from collections.abc import Mapping

from fiso.domain.errors import BadAddress

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_MAY_NAME = re.compile(r"FISO_(AWS|AZURE|GCP)_[A-Z0-9_]+")


def resolved(address: str, variables: Mapping[str, str]) -> str:
    """The address with its variables filled in; `BadAddress` for one that is unknown, empty or not allowed."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if not _MAY_NAME.fullmatch(name):
            raise BadAddress(f"${{{name}}} must be named FISO_AWS_…, FISO_AZURE_… or FISO_GCP_…")
        found = variables.get(name, "").strip()
        if not found:
            raise BadAddress(f"${{{name}}} is not set in the environment")
        return found

    filled = _VARIABLE.sub(value, address)
    if "${" in filled:
        raise BadAddress("has a ${ that is never closed")
    return filled
