"""The gateway's word: what API Gateway adds to each request that it hands on, in the stage's Secrets Manager.

One secret, `fiso/STAGE/gateway`, of which CloudFormation puts `word-N` into the gateway and `hashes-N` into functions.
The hashes are of the word before, this one and the next, so that a rotation refuses nobody whichever is updated first.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from fiso_cli.access_key import AccessKey
from fiso_cli.errors import CommandError
from fiso_cli.options import RotateOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.setup.settings import Settings
from fiso_cli.stage import Stage

_WORD = re.compile(r"word-([1-9][0-9]{0,8})")


def gateway_key(*, rotate: RotateOption = False, stage: StageOption = "local") -> Output:
    """Make the word by which functions know their gateway, unless there is one. Shows no secret.

    \b
    fiso gateway-key --stage prod            `fiso setup` does it, too
    fiso gateway-key --stage prod --rotate   then deploy
    """
    chosen = Stage.named(stage)
    words = GatewayWords(Settings(stage=chosen.name, client=chosen.client))
    with chosen.wrapped_errors():
        is_new = words.ensure()
        if rotate and not is_new:
            words.rotate()
        number = words.number()
    done = "written" if is_new or rotate else "is there"
    shown = f"{words.secret} {done}: the next deployment takes word {number}"
    return Output(document={"secret": words.secret, "key": number}, shown=[shown])


@dataclass(frozen=True, slots=True)
class GatewayWords:
    """A stage's secret, and the setting `gateway-key` by which a deployment knows which word's turn it is. The secret
    is written first: a number never names a word that there is not."""

    settings: Settings

    @property
    def secret(self) -> str:
        return f"fiso/{self.settings.stage}/gateway"

    def ensure(self) -> bool:
        """Make the first words unless there are some; whether anything was written."""
        if (known := self._known()) is None:
            self.settings.client("secretsmanager").create_secret(Name=self.secret, SecretString=json.dumps(first()))
        number = str(newest(known) if known else 1)
        is_new = known is None or self.settings.read("gateway-key") != number
        if is_new:
            self.settings.write("gateway-key", number)
        return is_new

    def rotate(self) -> None:
        """The next word's turn."""
        known = rotated(self._known() or {})
        self.settings.client("secretsmanager").put_secret_value(SecretId=self.secret, SecretString=json.dumps(known))
        self.settings.write("gateway-key", str(newest(known)))

    def number(self) -> int:
        return newest(self._known() or {})

    def _known(self) -> dict[str, str] | None:
        client = self.settings.client("secretsmanager")
        try:
            known: dict[str, str] = json.loads(client.get_secret_value(SecretId=self.secret)["SecretString"])
        except client.exceptions.ResourceNotFoundException:
            return None
        return known


def local_variables(key: AccessKey) -> dict[str, str]:
    """For a deployment to the local cloud, whose gateway has a word of its own for each run."""
    word = key.secret_of("the gateway's word")
    return {"FISO_GATEWAY_WORD": word, "FISO_GATEWAY_HASHES": sha256(word.encode()).hexdigest()}


def first() -> dict[str, str]:
    words = {"word-1": secrets.token_hex(32), "word-2": secrets.token_hex(32)}
    return words | {"hashes-1": _hashes(words, 1)}


def newest(known: Mapping[str, str]) -> int:
    """The newest word that may be deployed; the one after it waits for its turn. `CommandError` for what holds none."""
    numbers = [int(found[1]) for name in known if (found := _WORD.fullmatch(name))]
    if len(numbers) < 2:
        raise CommandError("the secret holds no gateway's words: delete it, and make it anew")
    return max(numbers) - 1


def rotated(known: Mapping[str, str]) -> dict[str, str]:
    """The next word's turn. What is deployed now stays, until the next rotation."""
    number = newest(known) + 1
    words = {name: known[name] for name in (f"word-{number - 1}", f"word-{number}")}
    words[f"word-{number + 1}"] = secrets.token_hex(32)
    before = f"hashes-{number - 1}"
    return words | {before: known[before], f"hashes-{number}": _hashes(words, number)}


def _hashes(words: Mapping[str, str], number: int) -> str:
    known = [words.get(f"word-{each}") for each in (number - 1, number, number + 1)]
    return " ".join(sha256(word.encode()).hexdigest() for word in known if word)
