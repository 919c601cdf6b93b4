"""Manifests: what a model is, as signed text. Nothing of an artifact is opened before its manifest was verified.

    signature -> manifest -> pointer and schema -> sha256 -> unpickler -> golden rows

The manifest names version, digest, features, metrics and golden rows: inputs with the outputs that the exported model
gave when it was made. A copy that says something else here is not the model that was judged.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fiso.codecs import signature
from fiso.codecs.record import instant, parse_instant
from fiso.codecs.signature import PublicKeys, Untrusted
from fiso.codecs.typed import USUAL, Codec, Form, Shape
from fiso.domain.errors import ModelRefused
from fiso.domain.model import ModelPointer, TrialTerms
from fiso.domain.signed import SignedText
from fiso.prediction import artifact, features
from fiso.prediction.artifact import Model

FORMAT = "fiso-manifest/1"
GOLDEN_ROWS = 4
GOLDEN_TOLERANCE = 1e-6
"""How far a golden output may be off, relative to the larger of the value and 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One row in the order of `features.NAMES`, and what the model says of it."""

    row: tuple[float, ...]
    latency_ms: float
    success_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is signed of a model. `metrics` are those of the held-out rows.

    Of a published one also the `stage`, and the `number` of its promotion there, which only moves up; `stands_in` is
    the digest of the one that may serve where this one's file is bad. The packaged one has none of these. Of one on
    trial the `trial`'s terms; `stands_in` is then the champion that it is tried beside, `number` that one's.

    Its lineage: `parent` is the version that it was made to replace, the rows are from `rows_since` to `rows_until`,
    with the digest `rows_sha256`.
    """

    version: str
    sha256: str
    created_at: datetime
    rows: int
    is_synthetic: bool
    feature_names: tuple[str, ...]
    metrics: Mapping[str, float]
    golden: tuple[Golden, ...]
    stage: str | None = None
    number: int | None = None
    stands_in: str | None = None
    trial: TrialTerms | None = None
    parent: str | None = None
    rows_since: datetime | None = None
    rows_until: datetime | None = None
    rows_sha256: str | None = None


_CODEC = Codec(
    # numbers are signed as they were written: a count among the metrics stays a whole number
    forms={datetime: Form(instant, parse_instant), float: Form(lambda value: value, USUAL[float].read)},
    shapes={Golden: Shape(is_row=True), Manifest: Shape(omits_none=True)},
)


def golden_of(model: Model, rows: Sequence[Sequence[float]]) -> tuple[Golden, ...]:
    """The golden rows of a model: the first of these."""
    chosen = [tuple(row) for row in rows[:GOLDEN_ROWS]]
    said = [model.predict(row) for row in chosen]
    return tuple(
        Golden(row=row, latency_ms=output.latency_ms, success_probability=output.success_probability)
        for row, output in zip(chosen, said, strict=True)
    )


def written(manifest: Manifest) -> SignedText:
    """The manifest as the text that is to be signed: canonical JSON."""
    document = {"format": FORMAT, **_CODEC.to_document(manifest)}
    return SignedText(text=json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False))


def opened(signed: SignedText | None, keys: PublicKeys) -> Manifest:
    """The manifest in a signed text; `ModelRefused` unless one of the keys signed exactly this text."""
    try:
        return _parsed(signature.verified(signed, keys))
    except Untrusted as error:
        raise ModelRefused(str(error)) from error


def unsigned(stated: SignedText) -> Manifest:
    """The manifest in a text that nobody signed yet: for whoever checks what it came with before it is."""
    return _parsed(stated.text)


def restated(
    signed: SignedText, *, stage: str, number: int, stands_in: str | None = None, trial: TrialTerms | None = None
) -> SignedText:
    """The same model's manifest as the promotion of this number on a stage, or as its trial, to be signed."""
    return written(replace(_parsed(signed.text), stage=stage, number=number, stands_in=stands_in, trial=trial))


def on_trial(stage: str) -> str:
    """What a trial is signed as: no promotion on any stage."""
    return f"{stage}#trial"


def terms_of(trial: ModelPointer, champion: Manifest, *, stage: str, keys: PublicKeys) -> TrialTerms:
    """What was signed of the trial of a challenger beside this champion; `ModelRefused` where it is not that."""
    stated = opened(trial.manifest, keys)
    if stated.trial is None or stated.stage != on_trial(stage):
        raise ModelRefused(f"{trial.version} was signed for no trial on this stage")
    if (stated.stands_in, stated.number) != (champion.sha256, champion.number):
        raise ModelRefused(f"the trial of {trial.version} is beside another champion")
    return stated.trial


def check_promotion(stated: Manifest, *, stage: str, least: int, accepts_older: bool = False) -> None:
    """`ModelRefused` unless this is a promotion on the stage, and none before the one numbered `least`.

    `accepts_older`: one without a stage and a number, as they were signed before there were any.
    """
    if stated.number is None and not accepts_older:
        raise ModelRefused("it has no number: code from before promoted it (FISO_ACCEPT_OLDER_FORMS)")
    if stated.number is not None and stated.stage != stage:
        raise ModelRefused(f"it was promoted on stage {str(stated.stage)[:20]!r}")
    if (stated.number or 0) < least:
        raise ModelRefused(f"it is promotion {stated.number}, and {least} is known: an old one was put back")


def read(pointer: ModelPointer, data: bytes, keys: PublicKeys) -> Model:
    """The model that a pointer names, from its artifact's bytes. `ModelRefused` for anything that must not serve."""
    manifest = opened(pointer.manifest, keys)
    _check_pointer(pointer, manifest)
    if not set(manifest.feature_names) <= set(features.NAMES):
        raise ModelRefused("its manifest names features that are not known here")
    model = artifact.read(data, sha256=manifest.sha256)
    if model.version != manifest.version or model.feature_names != manifest.feature_names:
        raise ModelRefused(f"the file is of {model.version}, the manifest of {manifest.version}, or of other features")
    # Last, since it runs the model: the same file served by other code, or on another machine, must say the same
    # (docs/decisions/0011-signed-models.md).
    check_golden(model, manifest)
    return model


def _check_pointer(pointer: ModelPointer, manifest: Manifest) -> None:
    stated = (pointer.version, pointer.sha256, instant(pointer.trained_at), pointer.rows, pointer.is_synthetic)
    signed = (manifest.version, manifest.sha256, instant(manifest.created_at), manifest.rows, manifest.is_synthetic)
    if stated != signed:
        raise ModelRefused(f"the pointer to {pointer.version} says something else than its manifest")


def check_golden(model: Model, manifest: Manifest) -> None:
    for position, golden in enumerate(manifest.golden):
        if len(golden.row) != len(features.NAMES):
            raise ModelRefused(f"golden row {position} is of another set of features")
        said = model.predict(golden.row)
        wanted = (golden.latency_ms, golden.success_probability)
        for found, value in zip((said.latency_ms, said.success_probability), wanted, strict=True):
            if not abs(found - value) <= GOLDEN_TOLERANCE * max(1.0, abs(value)):
                raise ModelRefused(f"golden row {position} gives {found!r}, the manifest says {value!r}")


def _parsed(said: str) -> Manifest:
    try:
        document = json.loads(said)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']!r}")
        return _CODEC.from_document(Manifest, document)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ModelRefused(f"the manifest does not parse: {type(error).__name__}: {error}") from error


PACKAGED_KEYS = Path(__file__).with_name("model_keys.json")
"""The keys that the packaged model may be signed with. They ship with the code, never beside the model."""


def packaged_keys() -> PublicKeys:
    """The keys in the code package. A file that is no set of keys trusts nothing, so that a start never fails by it."""
    try:
        return signature.from_file(PACKAGED_KEYS)
    except ValueError:
        return {}
