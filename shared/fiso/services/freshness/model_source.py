"""Model source: which verified model serves, and what stands in where one is refused or unreachable.

newest verified -> the one before it -> the packaged one -> none, which leaves the labelled baseline
"""

import logging

from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer
from fiso.ports import Metrics, ModelStore
from fiso.prediction import manifest
from fiso.prediction.artifact import Model
from fiso.prediction.signature import PublicKeys
from fiso.services.freshness.cached import CachedValue, StoreWaitBudget
from fiso.services.freshness.health import PartHealth, model_health

REFUSED = "a published model was refused"
LOOKS_BETWEEN = 12
"""How often a refused champion is passed over before it is fetched again: about a minute under load."""

logger = logging.getLogger(__name__)


class ModelSource:
    """The packaged model, read at once, and the store's, read when it is due. Never raises for a model that is bad.

    The packaged model must be signed with a key of the code package, a published one with a key of the stage.
    """

    def __init__(
        self,
        *,
        layer: ModelStore,
        store: ModelStore,
        packaged_keys: PublicKeys,
        stage_keys: PublicKeys,
        metrics: Metrics,
        budget: StoreWaitBudget,
    ) -> None:
        self._metrics = metrics
        self._problem: str | None = None
        self._bad: ModelPointer | None = None
        self._looks_left = 0
        self._packaged = self._newest(layer, packaged_keys, None)
        self._packaged_problem = self._problem
        self.cached: CachedValue[Model | None] = CachedValue(
            "model", lambda before: self._newest(store, stage_keys, before), budget=budget, is_needed=False
        )
        """The store's champion with its age; the packaged model stands in for it."""

    def model(self) -> Model | None:
        """The store's champion, else the packaged one."""
        return self.cached.get_or_wait() or self._packaged

    def health(self) -> PartHealth:
        """How the model is, without asking the store."""
        problem = "the store does not answer" if self.cached.problem else self._problem
        if self.cached.value or self._packaged:
            return model_health(has_model=True, problem=problem)
        return model_health(has_model=False, problem=problem or self._packaged_problem)

    def _newest(self, store: ModelStore, keys: PublicKeys, before: Model | None) -> Model | None:
        """The store's champion, or the verified one before it unless one is known. What is refused counts an alert."""
        self._problem = None
        try:
            champion = store.champion()
            # the champion, then the one before it: of a chain whose first link is refused, the second one serves
            for pointer in (champion, champion.previous if champion else None):
                if pointer is None or (before and (before.version == pointer.version or pointer is not champion)):
                    return before
                model = None if self._is_known_bad(pointer) else self._verified(store, pointer, keys)
                if model is not None:
                    return model
        except ModelRefused as error:
            self._refuse("champion.json", error)
        except StoreError as error:
            self._problem = "the store is unreachable"
            logger.warning("model store not read: %s", error)
        return before

    def _is_known_bad(self, pointer: ModelPointer) -> bool:
        """Whether it was refused lately: it is fetched anew only now and then, in case the fetch was bad."""
        if self._bad != pointer or self._looks_left == 0:
            return False
        self._looks_left -= 1
        self._problem = REFUSED
        return True

    def _verified(self, store: ModelStore, pointer: ModelPointer, keys: PublicKeys) -> Model | None:
        try:
            return manifest.read(pointer, store.artifact(pointer), keys)
        except ModelRefused as error:
            self._bad, self._looks_left = pointer, LOOKS_BETWEEN
            self._refuse(pointer.version, error)
            return None

    def _refuse(self, version: str, error: ModelRefused) -> None:
        self._problem = REFUSED
        logger.error("model %s refused, the one before serves: %s", version, error)
        self._metrics.add("ModelRefused", 1, "Count")
