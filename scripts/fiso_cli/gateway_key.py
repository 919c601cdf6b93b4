"""The gateway's word: what API Gateway adds to each request that it hands on, in the stage's Secrets Manager.

One secret, `fiso/STAGE/gateway`, of which CloudFormation puts `word-N` into the gateway and `hashes-N` into functions.
The hashes are of the word before, this one and the next, so that a rotation refuses nobody whichever is updated first.
"""

import json
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256

from fiso_cli.access_key import AccessKey
from fiso_cli.errors import CommandError
from fiso_cli.options import RotateOption, StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

_WORD = re.compile(r"word-([1-9][0-9]{0,8})")


def gateway_key(*, rotate: RotateOption = False, stage: StageOption = "local") -> Output:
    """Make the word by which functions know their gateway, unless there is one. Shows no secret.

    \b
    fiso gateway-key --stage prod            before an iam stage is first deployed
    fiso gateway-key --stage prod --rotate   then deploy with what it says
    """
    chosen = Stage.named(stage)
    name = f"fiso/{chosen.name}/gateway"
    with chosen.wrapped_errors():
        client = chosen.client("secretsmanager")
        try:
            known = json.loads(client.get_secret_value(SecretId=name)["SecretString"])
        except client.exceptions.ResourceNotFoundException:
            known = None
        number = newest(known) if known else 1
        if known is None:
            client.create_secret(Name=name, SecretString=json.dumps(first()))
        elif rotate:
            number += 1
            client.put_secret_value(SecretId=name, SecretString=json.dumps(rotated(known)))
    done = "is there" if known and not rotate else "written"
    shown = f"{name} {done}: deploy with FISO_GATEWAY_KEY={number}"
    return Output(document={"secret": name, "key": number}, shown=[shown])


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
