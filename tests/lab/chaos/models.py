"""Models for experiments: small ones that are whole and signed, and every way in which a published one can be bad."""

import os
import pickle  # nosec B403 - a hostile file is written here, and must never be loaded
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path

from fiso.learning import dataset, synthetic
from fiso.learning.export import Origin, package
from fiso.learning.signing import signed
from fiso.learning.train import Trained, train
from fiso.ports import ModelFiles
from fiso_cli.training import keys

ROWS = 600
BIT_FLIPS = "bit flip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A published model that must not serve, and what was done to it."""

    kind: str
    files: ModelFiles
    is_missing: bool = False


class Hostile:
    """Whoever unpickles it creates a file."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self._trace}",)


def whole(version: str) -> ModelFiles:
    """A trained model, signed with this process's key."""
    halves, trained = _trained()
    files = package(trained, halves, Origin(version_prefix=version, trained_at=None))
    return signed(files, keys.passing())


def bad_ones(count: int, trace: Path, rng: random.Random) -> Iterator[Bad]:
    """`count` single bit flips of the artifact, and as many again of the other kinds as there are."""
    good = whole("bad")
    for _ in range(count):
        yield Bad(kind=BIT_FLIPS, files=replace(good, artifact=_flipped(good.artifact, rng)))
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        yield Bad(kind="truncated", files=replace(good, artifact=good.artifact[: int(share * len(good.artifact))]))
    yield Bad(kind="missing", files=good, is_missing=True)
    yield from _badly_signed(good)
    hostile = pickle.dumps(Hostile(trace))
    yield Bad(kind="exploit", files=replace(good, artifact=hostile))
    digest = sha256(hostile).hexdigest()
    yield Bad(kind="exploit, digest fits", files=_pointing(replace(good, artifact=hostile), sha256=digest))
    forged = good.pointer.manifest and good.pointer.manifest.text.replace(good.pointer.sha256, digest)
    yield Bad(kind="exploit, manifest fits", files=_manifested(replace(good, artifact=hostile), text=forged or ""))


def _badly_signed(good: ModelFiles) -> Iterator[Bad]:
    manifest = good.pointer.manifest
    assert manifest is not None  # nosec B101 - `whole` signs
    yield Bad(kind="not signed", files=_pointing(good, manifest=None))
    yield Bad(kind="empty signature", files=_manifested(good, signature=""))
    yield Bad(kind="signature of zeros", files=_manifested(good, signature="A" * len(manifest.signature)))
    foreign = signed(good, keys.new())
    yield Bad(kind="foreign key", files=foreign)
    yield Bad(kind="foreign key under our name", files=_manifested(foreign, key_id=manifest.key_id))
    wrong = manifest.text.replace('"request_size_bytes"', '"phase_of_the_moon"')
    yield Bad(kind="other features", files=_manifested(good, text=wrong))
    ours = signed(_manifested(good, text=wrong), keys.passing())
    yield Bad(kind="other features, signed by us", files=ours)


def _pointing(files: ModelFiles, **changes: object) -> ModelFiles:
    return replace(files, pointer=replace(files.pointer, **changes))  # type: ignore[arg-type]


def _manifested(files: ModelFiles, **changes: str) -> ModelFiles:
    manifest = files.pointer.manifest
    return files if manifest is None else _pointing(files, manifest=replace(manifest, **changes))


def _flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


@cache
def _trained() -> tuple[dataset.Halves, Trained]:
    halves = dataset.split(synthetic.generate(ROWS))
    return halves, train(halves.train)
