"""Promotion: which model is the champion, and how another takes its place. Standard library only.

The keeper does it, not the retrainer: whoever reads the log and trains on it may write candidates, and signs nothing. A
candidate is admitted once its file says what its manifest says and its golden rows come out right; it is promoted in
two steps, file first, pointer last, and only from the champion it was compared with. Killed between any two writes the
old champion serves. docs/decisions/0011-signed-models.md
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from fiso.codecs import signature
from fiso.codecs.signature import PublicKeys
from fiso.domain.errors import ModelRefused, StoreError, WriteConflict
from fiso.domain.model import ModelPointer, TrialTerms
from fiso.domain.signed import SignedText
from fiso.ports import ModelFiles, ModelStore, PromotionWitness, Signer
from fiso.prediction import manifest
from fiso.prediction.artifact import Model

KEPT = 5
"""Versions that stay, the champion and the one before it among them."""

logger = logging.getLogger(__name__)


class Candidates(Protocol):
    """Models that were trained and are not promoted. Whoever trains writes them, and nothing that serves."""

    def put(self, files: ModelFiles) -> None:
        """Store a candidate; its pointer last. The oldest beyond the last five go."""
        ...

    def admit(self, pointer: ModelPointer) -> None:
        """Keep the pointer of a candidate as the promoter signed it."""
        ...

    def get(self, version: str, *, admitted: bool = True) -> ModelFiles | None:
        """The candidate, with its pointer as it was admitted, or as it was put; None when there is none such."""
        ...

    def versions(self) -> Sequence[str]:
        """All, the newest first."""
        ...


class Pins(Protocol):
    """The version that nothing offered may take the place of."""

    def pinned(self) -> str | None: ...

    def pin(self, version: str | None) -> None: ...


class PromotionDesk(Protocol):
    """Whoever promotes: another role than the retrainer's."""

    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        """Hand a candidate over, to be kept, or to be promoted in place of the champion it was compared with.
        `ModelRefused` when it is not taken, `StoreError` when nobody can be asked."""
        ...

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, *, replaces: ModelPointer) -> None:
        """Hand a candidate over that shall decide for a share of the requests first, beside the champion that it was
        compared with. As `offer`."""
        ...

    def end_trial(self, version: str, *, promote: bool) -> None:
        """The challenger on trial becomes the champion, or decides no more. `ModelRefused` when it is on trial no
        more."""
        ...

    def roll_back(self) -> str:
        """To the model before the champion, whose version it says; `ModelRefused` where there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """What the store points to, and the model behind it where it may serve."""

    pointer: ModelPointer | None = None
    model: Model | None = None
    number: int = 0
    stands_in: str | None = None

    @property
    def to_fall_back_on(self) -> ModelPointer | None:
        """This one, if it may serve. What stands beside one that may not is anybody's word."""
        if self.pointer is None or self.model is None:
            return None
        return replace(self.pointer, previous=None, trial=None)

    @property
    def before(self) -> ModelPointer | None:
        """The one that it replaced, by its own signed word: what else stands beside it is anybody's."""
        previous = self.pointer.previous if self.pointer is not None and self.model is not None else None
        return previous if previous is not None and previous.sha256 == self.stands_in else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoter:
    """Promotions are signed as this `stage`'s, each with the number after the newest that the champion or the `witness`
    has. `keys` are those that a champion may be signed with."""

    models: ModelStore
    signer: Signer
    keys: PublicKeys
    stage: str = ""
    witness: PromotionWitness | None = None

    def champion(self) -> Champion:
        """The champion, verified, numbered and known to the witness. One that must not serve is none, so that it does
        not stop the next one."""
        return self._witnessed(self._champion())

    def admit(self, files: ModelFiles) -> ModelFiles:
        """The candidate, signed as one: no promotion on any stage. `ModelRefused` unless it is whole."""
        if files.pointer.manifest is None:
            raise ModelRefused(f"candidate {files.pointer.version} has no manifest")
        stated = manifest.restated(files.pointer.manifest, stage=self._as_candidate, number=0)
        sealed = signature.signed(stated.text, self.signer.sign)
        admitted = replace(files, pointer=replace(files.pointer, manifest=sealed, previous=None))
        manifest.read(admitted.pointer, admitted.artifact, self.keys)
        return admitted

    def is_admitted(self, pointer: ModelPointer) -> bool:
        """Whether this stage's promoter has signed it as a candidate."""
        try:
            return manifest.opened(pointer.manifest, self.keys).stage == self._as_candidate
        except ModelRefused:
            return False

    @property
    def _as_candidate(self) -> str:
        return f"{self.stage}#candidate"

    def promote(self, files: ModelFiles, champion: Champion) -> ModelPointer:
        """Sign, read it as the orchestrator will, then move the pointer from the champion it was compared with.
        `WriteConflict` when that is the champion no more."""
        if files.pointer.manifest is None:
            raise ModelRefused(f"model {files.pointer.version} has no manifest to promote")
        number, kept = self._next_number(champion)
        stands_in = champion.to_fall_back_on
        stated = manifest.restated(
            files.pointer.manifest,
            stage=self.stage,
            number=number,
            stands_in=stands_in.sha256 if stands_in is not None else None,
        )
        sealed = signature.signed(stated.text, self.signer.sign)
        pointer = replace(files.pointer, manifest=sealed, previous=None, trial=None)
        # As whoever serves it will: a signature by a key that is not trusted would leave every environment on the old
        # model.
        manifest.read(pointer, files.artifact, self.keys)
        pointer = replace(pointer, previous=stands_in)
        self.models.publish(replace(files, pointer=pointer), replaces=champion.pointer)
        self._keep(sealed, kept)
        return pointer

    def point_to(self, pointer: ModelPointer, champion: Champion) -> ModelPointer:
        """Promote a model that is stored already, once more, with a new number: the way back."""
        if pointer.manifest is None:
            raise ModelRefused(f"model {pointer.version} is not signed")
        artifact = self.models.artifact(pointer)
        manifest.read(pointer, artifact, self.keys)
        stands_in = champion.to_fall_back_on if names_other(champion.pointer, pointer) else None
        number, kept = self._next_number(champion)
        stated = manifest.restated(
            pointer.manifest,
            stage=self.stage,
            number=number,
            stands_in=stands_in.sha256 if stands_in is not None else None,
        )
        sealed = signature.signed(stated.text, self.signer.sign)
        promoted = replace(pointer, manifest=sealed, previous=stands_in, trial=None)
        self.models.point(promoted, replaces=champion.pointer)
        self._keep(sealed, kept)
        return promoted

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, champion: Champion) -> ModelPointer:
        """Let a challenger decide for a share of the requests: its file first, then the pointer, which goes on naming
        the champion and names the challenger beside it."""
        serving = champion.pointer
        if files.pointer.manifest is None or serving is None or champion.model is None:
            raise ModelRefused(f"there is no champion beside which {files.pointer.version} could be tried")
        if serving.trial is not None:
            raise ModelRefused(f"{serving.trial.version} is on trial")
        stated = manifest.restated(
            files.pointer.manifest,
            stage=manifest.on_trial(self.stage),
            number=champion.number,
            stands_in=serving.sha256,
            trial=terms,
        )
        sealed = signature.signed(stated.text, self.signer.sign)
        challenger = replace(files.pointer, manifest=sealed, previous=None, trial=None)
        manifest.read(challenger, files.artifact, self.keys)
        self.models.store(replace(files, pointer=challenger))
        return self._move(replace(serving, trial=challenger), champion)

    def end_trial(self, version: str, champion: Champion, *, promote: bool) -> ModelPointer:
        challenger = champion.pointer.trial if champion.pointer is not None else None
        if champion.pointer is None or challenger is None or challenger.version != version:
            raise ModelRefused(f"{version} is not on trial any more")
        if promote:
            return self.point_to(challenger, champion)
        return self._move(replace(champion.pointer, trial=None), champion)

    def _move(self, pointer: ModelPointer, champion: Champion) -> ModelPointer:
        self.models.point(pointer, replaces=champion.pointer)
        return pointer

    def roll_back(self, champion: Champion) -> ModelPointer:
        """To the model before the champion. `ModelRefused` where there is none, or it cannot serve."""
        if champion.before is None:
            raise ModelRefused("the champion names no model before it to go back to")
        return self.point_to(champion.before, champion)

    def _next_number(self, champion: Champion) -> tuple[int, SignedText | None]:
        """The number after every one that is known, and what the witness holds now."""
        kept = self.witness.read() if self.witness is not None else None
        return max(champion.number, self._number_in(kept)) + 1, kept

    def _number_in(self, kept: SignedText | None) -> int:
        try:
            return (manifest.opened(kept, self.keys).number or 0) if kept is not None else 0
        except ModelRefused as error:
            logger.error("the models' witness counts as none: %s", error)
            return 0

    def _keep(self, sealed: SignedText, kept: SignedText | None) -> None:
        """After the pointer: a witness that were ahead of it would keep everybody off the champion."""
        if self.witness is None:
            return
        try:
            self.witness.keep(sealed, replaces=kept)
        except StoreError as error:
            logger.warning("the models' witness is kept at the next run: %s", error)

    def _witnessed(self, champion: Champion) -> Champion:
        """A champion that serves is promoted anew where it has no number, and kept by the witness where that was
        missed."""
        pointer = champion.pointer
        if pointer is None or champion.model is None or pointer.manifest is None:
            return champion
        if champion.number == 0:
            self.point_to(replace(pointer, previous=None), champion)
            return self._champion()
        kept = self.witness.read() if self.witness is not None else None
        if self.witness is not None and self._number_in(kept) < champion.number:
            self._keep(pointer.manifest, kept)
        return champion

    def _champion(self) -> Champion:
        kept = self.witness.read() if self.witness is not None else None
        return found(self.models, self.keys, stage=self.stage, least=self._number_in(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What may be asked of the promoter: by the retrainer, which offers, and by operators, who promote by name, go
    back, and pin. While a version is pinned nothing that is offered takes its place; operators still may."""

    promoter: Promoter
    candidates: Candidates | None = None
    pins: Pins | None = None

    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        if self.candidates is not None:
            self.candidates.admit(self.promoter.admit(files).pointer)
        if not promote:
            return
        self._refuse_pinned()
        champion = self.promoter.champion()
        if not names_same(champion.pointer, replaces):
            raise WriteConflict("another model was published meanwhile")
        self._only_the_last_few(self.promoter.promote(files, champion))

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, *, replaces: ModelPointer) -> None:
        if self.candidates is not None:
            self.candidates.admit(self.promoter.admit(files).pointer)
        self._refuse_pinned()
        champion = self.promoter.champion()
        if not names_same(champion.pointer, replaces):
            raise WriteConflict("another model was published meanwhile")
        self.promoter.begin_trial(files, terms, champion)

    def end_trial(self, version: str, *, promote: bool) -> None:
        if promote:
            self._refuse_pinned()
        self._only_the_last_few(self.promoter.end_trial(version, self.promoter.champion(), promote=promote))

    def _refuse_pinned(self) -> None:
        pinned = self.pins.pinned() if self.pins is not None else None
        if pinned is not None:
            raise ModelRefused(f"{pinned} is pinned: `fiso model pin --off` lets others take its place")

    def promote(self, version: str) -> ModelPointer:
        """By an operator's word: a candidate that was admitted, or one that was promoted before."""
        champion = self.promoter.champion()
        candidate = self.candidates.get(version) if self.candidates is not None else None
        if candidate is not None and self.promoter.is_admitted(candidate.pointer):
            return self._only_the_last_few(self.promoter.promote(candidate, champion))
        before = self.promoter.models.promoted(version)
        if before is None:
            raise ModelRefused(f"there is no admitted candidate and no promoted model {version}")
        return self.promoter.point_to(before, champion)

    def roll_back(self) -> str:
        return self.promoter.roll_back(self.promoter.champion()).version

    def _only_the_last_few(self, champion: ModelPointer) -> ModelPointer:
        try:
            self.promoter.models.keep_newest(KEPT)
        except StoreError as error:
            logger.warning("old models are dropped another time: %s", error)
        return champion

    def pin(self, version: str | None) -> str | None:
        """Make a version the champion and keep it so; with None offers count again."""
        if self.pins is None:
            raise ModelRefused("nothing can be pinned here")
        if version is not None and names_other_version(self.promoter.champion().pointer, version):
            self.promote(version)
        self.pins.pin(version)
        return version


def names_same(pointer: ModelPointer | None, other: ModelPointer | None) -> bool:
    if pointer is None or other is None:
        return pointer is other
    return not names_other(pointer, other)


def names_other_version(pointer: ModelPointer | None, version: str) -> bool:
    return pointer is None or pointer.version != version


def pointed_to(models: ModelStore) -> ModelPointer | None:
    """What the pointer names, not verified; one that cannot be read counts as none. `StoreError`."""
    try:
        return models.champion()
    except ModelRefused as error:
        logger.warning("the champion's pointer counts as none: %s", error)
        return None


def found(models: ModelStore, keys: PublicKeys, *, stage: str, least: int = 0) -> Champion:
    """The champion as far as it may serve; nothing is written."""
    pointer = pointed_to(models)
    if pointer is None:
        return Champion()
    try:
        stated = manifest.opened(pointer.manifest, keys)
        manifest.check_promotion(stated, stage=stage, least=least, accepts_older=True)
        model = manifest.read(pointer, models.artifact(pointer), keys)
        return Champion(pointer=pointer, model=model, number=stated.number or 0, stands_in=stated.stands_in)
    except ModelRefused as error:
        logger.warning("champion %s cannot be asked, logged predictions stand for it: %s", pointer.version, error)
        return Champion(pointer=pointer)


def names_other(pointer: ModelPointer | None, other: ModelPointer) -> bool:
    return pointer is None or (pointer.version, pointer.sha256) != (other.version, other.sha256)
