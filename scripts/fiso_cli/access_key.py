"""The access key of one local cloud: made anew at each start, in a file of its owner's. Standard library only.

Every caller signs with it, the emulator and the Lambda host ask for it. A function has an id of its own and a secret
that follows from that id, so that its calls can be told apart and the cloud's own secret is in no function.
"""

import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """The id is shown in requests, the secret is not."""

    id: str
    secret: str

    @classmethod
    def new(cls) -> Self:
        """A random one. No id of twelve digits: the emulator takes those for an account."""
        return cls(id="FISO" + secrets.token_hex(8).upper(), secret=secrets.token_urlsafe(30))

    @classmethod
    def read(cls, file: Path) -> Self:
        """The one in a file; `OSError` or `ValueError` when there is none."""
        key_id, secret = file.read_text(encoding="ascii").split()
        return cls(id=key_id, secret=secret)

    def write(self, file: Path) -> None:
        """Whole or not at all, readable by its owner only."""
        draft = file.with_suffix(".partial")
        draft.unlink(missing_ok=True)
        with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as text:
            text.write(f"{self.id}\n{self.secret}\n")
        os.replace(draft, file)

    def secret_of(self, key_id: str) -> str:
        """What belongs to an id: the cloud's own, or the one that follows from it."""
        if key_id == self.id:
            return self.secret
        return hmac.new(self.secret.encode(), key_id.encode(), "sha256").hexdigest()


def access_key_of(function_name: str) -> str:
    """The id by which the local cloud tells functions apart."""
    return "LOCAL" + re.sub(r"[^A-Z0-9]", "", function_name.upper())


NONE_YET = AccessKey(id="none", secret="none")  # nosec B106: opens nothing
"""What a client has before the first start; nobody answers it then."""
