"""The models that an environment decides with: memory <- S3: the newest verified, else the one before it <- packaged.

What is signed of a published one is a promotion on this stage, with a number that only moves up (decision 22).
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from fiso.codecs.signature import PublicKeys
from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import DrawnBy, ModelPointer, TrialTerms
from fiso.domain.signed import SignedText
from fiso.ports import Metrics, ModelStore, PromotionWitness
from fiso.prediction import manifest
from fiso.prediction.artifact import Model
from fiso.prediction.manifest import Manifest
from fiso.routing import affinity
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.freshness.health import PartHealth, model_health

REFUSED = "a published model was refused"
LOOKS_BETWEEN = 12
"""How often a refused champion is passed over before it is fetched again: about a minute under load."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotions:
    """Which published models may serve on a stage: signed with one of `keys`, and none older than `witness` knows of.

    `accepts_older`: also those without a number, as code from before promoted them.
    """

    stage: str
    keys: PublicKeys
    witness: PromotionWitness | None = None
    accepts_older: bool = False

    def opened(self, pointer: ModelPointer, *, least: int) -> Manifest:
        """What is signed of it; `ModelRefused` when it must not serve."""
        return self._opened(pointer.manifest, least=least)

    def _opened(self, signed: SignedText | None, *, least: int) -> Manifest:
        stated = manifest.opened(signed, self.keys)
        manifest.check_promotion(stated, stage=self.stage, least=least, accepts_older=self.accepts_older)
        return stated

    def known(self) -> int:
        """The number of the newest promotion that the witness attests; 0 for none, or for what nobody trusted signed.
        `StoreError` when it cannot be asked: then nothing new is loaded."""
        kept = self.witness.read() if self.witness is not None else None
        try:
            return (self._opened(kept, least=0).number or 0) if kept is not None else 0
        except ModelRefused as error:
            logger.error("the models' witness counts as none: %s", error)
            return 0


class ModelTrial(NamedTuple):
    """A challenger beside the champion, both verified, and the terms that were signed."""

    pointer: ModelPointer
    model: Model
    terms: TrialTerms

    def is_drawn(self, *, request: str, tenant: str) -> bool:
        """Whether the challenger decides: the same answer in every environment, for as long as the trial lasts."""
        drawn_by = tenant if self.terms.drawn_by is DrawnBy.TENANT else request
        return affinity.share_of(self.terms.salt, drawn_by) < self.terms.share


class ModelSource:
    """The packaged model, read at once, and the store's, read when it is due. Never raises for a model that is bad.

    The packaged model must be signed with a key of the code package, a published one with a key of the stage, and its
    promotion must be the newest that is known here or to the witness.
    """

    def __init__(
        self,
        *,
        layer: ModelStore,
        store: ModelStore,
        packaged_keys: PublicKeys,
        promotions: Promotions,
        metrics: Metrics,
        budget: StoreWaitBudget,
    ) -> None:
        self._metrics, self._promotions, self._least = metrics, promotions, 0
        self._problem: str | None = None
        self._bad: ModelPointer | None = None
        self._looks_left = 0
        self._trial: ModelTrial | None = None
        self._bad_trial: ModelPointer | None = None
        self._packaged = self._packaged_model(layer, packaged_keys)
        self._packaged_problem = self._problem
        self.cached: CachedValue[Model | None] = CachedValue(
            "model", lambda before: self._newest(store, before), budget=budget, is_needed=False
        )
        """The store's champion with its age; the packaged model stands in for it."""

    def model(self) -> Model | None:
        return self.cached.get_or_wait() or self._packaged

    def trial(self, now: datetime) -> ModelTrial | None:
        """The challenger on trial, as long as its terms last; never read here."""
        trial = self._trial
        return trial if trial is not None and now < trial.terms.until else None

    def health(self) -> PartHealth:
        """How the model is, without asking the store."""
        problem = "the store does not answer" if self.cached.problem else self._problem
        if self.cached.value or self._packaged:
            return model_health(has_model=True, problem=problem)
        return model_health(has_model=False, problem=problem or self._packaged_problem)

    def _packaged_model(self, layer: ModelStore, keys: PublicKeys) -> Model | None:
        try:
            pointer = layer.champion()
            return None if pointer is None else manifest.read(pointer, layer.artifact(pointer), keys)
        except ModelRefused as error:
            self._refuse("packaged", error)
        except StoreError as error:
            self._problem = "the store is unreachable"
            logger.warning("model store not read: %s", error)
        return None

    def _newest(self, store: ModelStore, before: Model | None) -> Model | None:
        """The store's champion, or the verified one before it unless one is known. What is refused counts an alert."""
        self._problem = None
        try:
            champion = store.champion()
            if champion is None or (before and before.version == champion.version):
                self._trial = self._trial_beside(store, champion)
                return before
            self._trial = None
            if not self._is_known_bad(champion):
                self._least = max(self._least, self._promotions.known())
                model = self._verified(store, champion, least=self._least)
                if model is not None:
                    self._trial = self._trial_beside(store, champion)
                    return model
            # of a chain whose first link is refused, the second one serves
            previous = None if before else champion.previous
            return before if previous is None else self._verified(store, previous, least=self._least_before(champion))
        except ModelRefused as error:
            self._refuse("champion.json", error)
        except StoreError as error:
            self._problem = "the store is unreachable"
            logger.warning("model store not read: %s", error)
        return before

    def _trial_beside(self, store: ModelStore, champion: ModelPointer | None) -> ModelTrial | None:
        """The challenger beside a champion that serves. One that cannot be read, or is not what was signed, leaves all
        requests to the champion."""
        found = champion.trial if champion is not None else None
        if champion is None or found is None or found == self._bad_trial:
            return None
        if self._trial is not None and self._trial.pointer == found:
            return self._trial
        try:
            beside = self._promotions.opened(champion, least=0)
            keys = self._promotions.keys
            terms = manifest.terms_of(found, beside, stage=self._promotions.stage, keys=keys)
            return ModelTrial(found, manifest.read(found, store.artifact(found), keys), terms)
        except ModelRefused as error:
            self._bad_trial = found
            logger.error("challenger %s refused, the champion decides all: %s", found.version, error)
            self._metrics.add("ModelRefused", 1, "Count")
        except StoreError as error:
            logger.warning("challenger %s not read, the champion decides all: %s", found.version, error)
        return None

    def _least_before(self, champion: ModelPointer) -> int:
        """The number that the one before a refused champion must have: any, where a promotion that counts names it."""
        try:
            stated = self._promotions.opened(champion, least=self._least)
        except ModelRefused:
            return self._least
        return 0 if champion.previous is not None and stated.stands_in == champion.previous.sha256 else self._least

    def _is_known_bad(self, pointer: ModelPointer) -> bool:
        """Whether it was refused lately: it is fetched anew only now and then, in case the fetch was bad."""
        if self._bad != pointer or self._looks_left == 0:
            return False
        self._looks_left -= 1
        self._problem = REFUSED
        return True

    def _verified(self, store: ModelStore, pointer: ModelPointer, *, least: int) -> Model | None:
        try:
            stated = self._promotions.opened(pointer, least=least)
            model = manifest.read(pointer, store.artifact(pointer), self._promotions.keys)
        except ModelRefused as error:
            self._bad, self._looks_left = pointer, LOOKS_BETWEEN
            self._refuse(pointer.version, error)
            return None
        self._least = max(self._least, stated.number or 0)
        return model

    def _refuse(self, version: str, error: ModelRefused) -> None:
        self._problem = REFUSED
        logger.error("model %s refused, the one before serves: %s", version, error)
        self._metrics.add("ModelRefused", 1, "Count")
