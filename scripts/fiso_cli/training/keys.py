"""Keys that sign models and catalogs: made, kept in a file of their owner's,
and their public halves where code looks for them.

The private half of the packaged model's key is used once and thrown away unless a file is named; a stage on AWS signs
inside KMS; the local stage has key files beside its other files.
"""

import json
import os
from functools import cache
from pathlib import Path

from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs import signature
from fiso.codecs.seal import CatalogSeals
from fiso.codecs.signature import EXPONENT, PublicKey, PublicKeys
from fiso.prediction import manifest
from fiso.settings import LOCAL_STAGE
from fiso_cli.errors import CommandError
from fiso_cli.local_stage import CHECKOUT, LocalStage

BITS = 3072
"""NIST SP 800-57 part 1: good beyond 2030."""


def new() -> OpenKeySigner:
    """A fresh pair, only in memory."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    numbers = rsa.generate_private_key(public_exponent=EXPONENT, key_size=BITS).private_numbers()
    modulus = numbers.public_numbers.n
    return OpenKeySigner(public=PublicKey(id=signature.key_id(modulus), modulus=modulus), exponent=numbers.d)


@cache
def passing() -> OpenKeySigner:
    """A pair that lives as long as this process, for what publishes into memory: replays, simulations, experiments."""
    return new()


def trusting(signer: OpenKeySigner) -> PublicKeys:
    """The keys of whoever trusts this signer only."""
    return {signer.public.id: signer.public}


def sealing(signer: OpenKeySigner, stage: str = LOCAL_STAGE) -> CatalogSeals:
    """The seals of whoever signs catalogs with this and trusts nothing else."""
    return CatalogSeals(stage=stage, keys=trusting(signer), sign=signer.sign)


def read(path: Path) -> OpenKeySigner:
    """The pair in a file; `CommandError` when there is none."""
    try:
        return OpenKeySigner.parsed(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} holds no signing key: {error}") from error


def ensured(path: Path) -> OpenKeySigner:
    """The pair in a file, made on first use, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return read(path)
    signer = new()
    with open(handle, "w", encoding="ascii") as file:
        file.write(signer.text + "\n")
    return signer


def local_file(cloud: LocalStage, signed: str) -> Path:
    """Where the local stage keeps the key that `models` or the `catalog` is signed with."""
    return cloud.state / ("model-key" if signed == "models" else "catalog-key")


def local_variables(cloud: LocalStage) -> dict[str, str]:
    """What the local stage is deployed with: the pairs for retrainer and keeper, public halves for whoever reads."""
    models, catalog = (ensured(local_file(cloud, signed)) for signed in ("models", "catalog"))
    return {
        "FISO_MODEL_SIGNING_KEY": models.text,
        "FISO_MODEL_KEYS": signature.text_of(models.public.modulus),
        "FISO_CATALOG_SIGNING_KEY": catalog.text,
        "FISO_CATALOG_KEYS": signature.text_of(catalog.public.modulus),
    }


def public_file(artifacts: Path) -> Path:
    """Where the public half goes: into the code for the packaged model, else next to the folder, never into it."""
    if artifacts.resolve() == CHECKOUT / "ml_artifacts":
        return manifest.PACKAGED_KEYS
    return artifacts.parent / f"{artifacts.name}.keys.json"


def write_public(public: PublicKey, path: Path) -> None:
    """The public half as a JWK set (RFC 7517) of one key; older ones are trusted no more."""
    key = {
        "kty": "RSA",
        "alg": "RS256",
        "use": "sig",
        "kid": public.id,
        "e": signature.text_of(EXPONENT),
        "n": signature.text_of(public.modulus),
    }
    path.write_text(json.dumps({"keys": [key]}, indent=2) + "\n", encoding="ascii")
