"""Secret: the owner's password of a created database, made here, kept in AWS's Secrets Manager and nowhere else: in no
template, no plan, no log. Once the server is there it holds the whole URL, which commands are given by the secret's
name: `secret://fiso/prod/database-gcp`.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from fiso_cli.clouds.aws.client import Aws, Refused
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different
from fiso_cli.errors import CommandError
from fiso_cli.stage import SECRET_URL

OWNER, DATABASE = "fiso", "fiso"


class Secret:
    """One secret. What it holds is read when it is needed, and not kept."""

    def __init__(self, aws: Aws, stage: str, cloud: str) -> None:
        self._aws, self.name = aws, f"fiso/{stage}/database-{cloud}"
        self._tags = {"fiso-stage": stage, "fiso-deployment": f"database-{cloud}"}

    @property
    def reference(self) -> str:
        """What FISO_DATABASE_URL and FISO_NEW_DATABASE_URL may be set to."""
        return f"{SECRET_URL}{self.name}"

    def password(self) -> str:
        """`CommandError` before it was made."""
        if (held := self._held()) is None:
            raise CommandError(f"there is no secret {self.name}: fiso db create makes it")
        return str(held["password"])

    def url(self) -> str | None:
        """None until the server is there."""
        held = self._held() or {}
        return str(held["url"]) if "url" in held else None

    def step(self) -> Step:
        """The password, before the server that gets it."""

        def look() -> Look:
            return AS_WANTED if self._held() is not None else ABSENT

        def make(say: Say) -> None:
            held = json.dumps({"password": secrets.token_urlsafe(24)})
            tags = [{"Key": key, "Value": value} for key, value in self._tags.items()]
            try:
                self._aws.call("secretsmanager", "create_secret", Name=self.name, SecretString=held, Tags=tags)
            except Refused as refused:
                if refused.code != "ResourceExistsException":
                    raise

        def undo(say: Say) -> None:
            self._aws.find("secretsmanager", "delete_secret", SecretId=self.name, ForceDeleteWithoutRecovery=True)

        return Step(name=f"secret {self.name}", makes="the owner's password", look=look, make=make, undo=undo)

    def address_step(self, where: Callable[[], tuple[str, int] | None], sslrootcert: str = "") -> Step:
        """The URL, once the server says where it is."""

        def wanted() -> str | None:
            place, held = where(), self._held()
            if place is None or held is None:
                return None
            options = f"?sslrootcert={quote(sslrootcert)}" if sslrootcert else ""
            password = quote(str(held["password"]), safe="")
            return f"postgresql://{OWNER}:{password}@{place[0]}:{place[1]}/{DATABASE}{options}"

        def look() -> Look:
            url = wanted()
            if url is None or self.url() is None:
                return ABSENT
            return AS_WANTED if self.url() == url else different("leads elsewhere")

        def make(say: Say) -> None:
            url = wanted()
            if url is None:
                raise CommandError("the server does not say where it is yet: run it again")
            held = json.dumps({**(self._held() or {}), "url": url})
            self._aws.call("secretsmanager", "put_secret_value", SecretId=self.name, SecretString=held)

        return Step(name="address", makes="how it is reached, in the secret", look=look, make=make)

    def _held(self) -> Mapping[str, Any] | None:
        found = self._aws.find("secretsmanager", "get_secret_value", SecretId=self.name)
        held: Mapping[str, Any] | None = json.loads(found["SecretString"]) if found else None
        return held
