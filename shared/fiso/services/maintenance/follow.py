"""Following: a standby region takes over the champion of the region that trains, and trains none itself.

It is verified here as whoever serves it will verify it, and only ever a later promotion than the one that stands. The
copy is this region's own: it goes on serving when the other region is gone. docs/decisions/0025-a-second-region.md
"""

from dataclasses import dataclass, replace
from datetime import datetime

from fiso.codecs.signature import PublicKeys
from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer, RetrainingRun
from fiso.domain.signed import SignedText
from fiso.ports import ModelFiles, ModelStore, PromotionWitness, RetrainingRuns
from fiso.prediction import manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """`leader` is read only. `keys` are those that champions may be signed with: the other region's among them."""

    leader: ModelStore
    models: ModelStore
    runs: RetrainingRuns
    keys: PublicKeys
    stage: str
    witness: PromotionWitness | None = None

    def retrain(self, *, now: datetime, trigger: str, ends_at: datetime | None = None) -> RetrainingRun:
        """One look at the leader, recorded where it brought something or went wrong. The names are the retrainer's;
        what is done takes seconds."""
        run = RetrainingRun(started_at=now, trigger=trigger, rows=0, promoted=False, reason="", champion_version="none")
        try:
            taken, own = self._taken()
        except (ModelRefused, StoreError) as error:
            run = replace(run, reason=f"the leader's champion is not taken over: {error}")
        else:
            run = replace(run, champion_version=own.version if own else "none")
            if taken is None:
                return replace(run, reason="the leader has no later champion")
            run = replace(run, promoted=True, reason="taken over", challenger_version=taken.version, rows=taken.rows)
        self.runs.append(run)
        return run

    def roll_back(self, *, now: datetime, trigger: str) -> RetrainingRun:
        """Refused: what the leader promotes next would be taken over all the same."""
        reason = "this region follows another one: go back there, or end following first (docs/disaster.md)"
        return RetrainingRun(
            started_at=now, trigger=trigger, rows=0, promoted=False, reason=reason, champion_version="none"
        )

    def _taken(self) -> tuple[ModelPointer | None, ModelPointer | None]:
        """The champion that was taken over, if one was; and the one that stood here before."""
        own = self._own()
        pointer = self.leader.champion()
        if pointer is None:
            return None, own
        kept = self.witness.read() if self.witness is not None else None
        known = max(self._number(own.manifest if own else None), self._number(kept))
        stated = manifest.opened(pointer.manifest, self.keys)
        manifest.check_promotion(stated, stage=self.stage, least=0)
        if (stated.number or 0) <= known:
            return None, own
        artifact = self.leader.artifact(pointer)
        manifest.read(pointer, artifact, self.keys)
        previous = replace(own, previous=None) if own is not None and own.sha256 == stated.stands_in else None
        taken = replace(pointer, previous=previous)
        self.models.publish(
            ModelFiles(pointer=taken, artifact=artifact, card={"version": pointer.version}), replaces=own
        )
        if self.witness is not None and pointer.manifest is not None:
            self.witness.keep(pointer.manifest, replaces=kept)
        return taken, own

    def _own(self) -> ModelPointer | None:
        try:
            return self.models.champion()
        except ModelRefused:
            return None

    def _number(self, signed: SignedText | None) -> int:
        """The number of a promotion on this stage; 0 for what nobody trusted signed."""
        try:
            return (manifest.opened(signed, self.keys).number or 0) if signed is not None else 0
        except ModelRefused:
            return 0
