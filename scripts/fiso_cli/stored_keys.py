"""Stored keys: the secrets of one purpose in a stage's Parameter Store, as words `k2:… k1:…`, the newest first.

`fiso lease-key` and `fiso login-key` make and rotate them.
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from fiso_cli.errors import CommandError
from fiso_cli.options import RotateOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

KEPT = 2
"""Keys in the parameter after a rotation: the new one and the one before it."""
_ID = re.compile(r"k([0-9]{1,9})")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKeys:
    """One parameter. `new_secret` makes a secret without spaces. The newest key signs, the one before it verifies."""

    stage: Stage
    parameter: str
    new_secret: Callable[[], str]

    def ensured(self) -> str:
        """Make the first key unless there is one; one line about it."""
        keys = self._stored()
        if keys:
            return f"{self.parameter} is there, {self._named(keys)}"
        return self._store([f"k1:{self.new_secret()}"], replace=False)

    def rotated(self) -> str:
        """A new key before the newest; one line about it."""
        keys = self._stored()
        numbers = [int(found[1]) for key in keys if (found := _ID.fullmatch(key.partition(":")[0]))]
        new = f"k{max(numbers, default=0) + 1}:{self.new_secret()}"
        return self._store([new, *keys][:KEPT], replace=True)

    def _stored(self) -> list[str]:
        with self.stage.wrapped_errors():
            client = self.stage.client("ssm")
            try:
                found = client.get_parameter(Name=self.parameter, WithDecryption=True)
            except client.exceptions.ParameterNotFound:
                return []
        return str(found["Parameter"]["Value"]).split()

    def _store(self, keys: list[str], *, replace: bool) -> str:
        with self.stage.wrapped_errors():
            client = self.stage.client("ssm")
            try:
                client.put_parameter(Name=self.parameter, Value=" ".join(keys), Type="SecureString", Overwrite=replace)
            except client.exceptions.ParameterAlreadyExists as error:
                raise CommandError(f"{self.parameter} was made by somebody else meanwhile: try again") from error
        return f"{self.parameter} written, {self._named(keys)}"

    def _named(self, keys: list[str]) -> str:
        newest, *older = [key.partition(":")[0] for key in keys]
        return f"{newest} signs" + (f", {', '.join(older)} verifies" if older else "")


def lease_keys(stage: Stage) -> StoredKeys:
    """What signs leases, where serverless.yml tells the orchestrator that it is."""
    return StoredKeys(stage=stage, parameter=f"/fiso/{stage.name}/lease-keys", new_secret=lambda: secrets.token_hex(32))


def login_keys(stage: Stage) -> StoredKeys:
    """What signs the console's sessions, where serverless.yml tells the console that it is."""
    return StoredKeys(
        stage=stage, parameter=f"/fiso/{stage.name}/login-keys", new_secret=lambda: secrets.token_urlsafe(32)
    )


def lease_key(*, rotate: RotateOption = False, stage: StageOption = "local") -> Output:
    """Make the key that a stage's leases are signed with, unless there is one. Shows no secret.

    \b
    fiso lease-key --stage prod
    fiso lease-key --stage prod --rotate
    """
    return _kept(lease_keys(Stage.named(stage)), rotate=rotate)


def login_key(*, rotate: RotateOption = False, stage: StageOption = "local") -> Output:
    """Make the key that signs the console's sessions, unless there is one. Shows no secret.

    \b
    fiso login-key --stage prod
    fiso login-key --stage prod --rotate     twice in a row, it ends every session
    """
    return _kept(login_keys(Stage.named(stage)), rotate=rotate)


def _kept(keys: StoredKeys, *, rotate: bool) -> Output:
    line = keys.rotated() if rotate else keys.ensured()
    return Output(document={"parameter": keys.parameter, "keys": line.partition(", ")[2]}, shown=[line])
