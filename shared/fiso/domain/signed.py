"""Signed texts: what a signer says of a model or of a catalog, exactly as it was signed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedText:
    """The text, which key signed it, and the signature (base64). The latter two are empty before it was signed."""

    text: str
    key_id: str = ""
    signature: str = ""

    @classmethod
    def among(cls, fields: Mapping[str, object], name: str) -> Self | None:
        """The one whose text stands under a name among other fields; None where there is none."""
        text, key_id, signature = (
            part if isinstance(part := fields.get(key), str) else "" for key in (name, "key_id", "signature")
        )
        return cls(text=text, key_id=key_id, signature=signature) if text else None
