"""ModelSource: which verified model serves, and what stands in where one is refused or out of reach.

newest verified -> the one before it -> the packaged one -> none, which leaves the labelled baseline
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor

from fiso.domain.errors import ModelRefused, StoreError
from fiso.domain.model import ModelPointer
from fiso.ports import Clock, Metrics, ModelStore
from fiso.prediction import manifest
from fiso.prediction.artifact import Model
from fiso.prediction.signature import PublicKeys
from fiso.services.freshness.cached import CachedValue
from fiso.services.freshness.wait_budget import StoreWaitBudget

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
    ) -> None:
        self._layer, self._store, self._metrics = layer, store, metrics
        self._packaged_keys, self._stage_keys = packaged_keys, stage_keys
        self._problem: str | None = None
        self._bad: ModelPointer | None = None
        self._looks_left = 0
        self._packaged = self._newest(layer, packaged_keys, None)
        self.packaged_problem = self._problem
        """Why there is no packaged model, where there should be one."""

    def known(
        self, *, clock: Clock, ticks: Callable[[], float], executor: Executor, budget: StoreWaitBudget
    ) -> CachedValue[Model | None]:
        """The store's champion with its age; the packaged model stands in for it."""
        return CachedValue(
            "model",
            lambda before: self._newest(self._store, self._stage_keys, before),
            clock=clock,
            ticks=ticks,
            executor=executor,
            budget=budget,
            is_needed=False,
        )

    @property
    def packaged(self) -> Model | None:
        """The model that came with the code; None when there is none, or it was refused."""
        return self._packaged

    @property
    def problem(self) -> str | None:
        """Why what serves is not what the store points to; None while it is, or nothing was published."""
        return self._problem

    def _newest(self, store: ModelStore, keys: PublicKeys, before: Model | None) -> Model | None:
        """The store's champion, or the verified one before it unless one is known. What is refused counts an alert."""
        self._problem = None
        try:
            champion = store.champion()
            for pointer in _chain(champion):
                if before is not None and (before.version == pointer.version or pointer is not champion):
                    return before
                model = None if self._is_known_bad(pointer) else self._verified(store, pointer, keys)
                if model is not None:
                    return model
        except ModelRefused as error:
            self._refuse("champion.json", error)
        except StoreError as error:
            self._problem = "the store is out of reach"
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


def _chain(champion: ModelPointer | None) -> Iterator[ModelPointer]:
    """The champion and the one before it."""
    if champion is not None:
        yield champion
        if champion.previous is not None:
            yield champion.previous
