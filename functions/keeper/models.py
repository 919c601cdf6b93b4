"""What the keeper is asked about models: to take a candidate, to promote, to go back, to pin. It alone signs them."""

import logging
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fiso.codecs.run import RUNS as TERMS
from fiso.domain.errors import ModelRefused, WriteConflict
from fiso.domain.model import TrialTerms
from fiso.ports import ModelFiles
from fiso.services.maintenance.promote import Registry

logger = logging.getLogger("fiso.keeper")


def ordered(registry: Registry, order: object) -> dict[str, Any]:
    """The champion then, or `refused` and why. `StoreError` passes: whoever asked does not know what was done."""
    try:
        asked = order if isinstance(order, Mapping) else {}
        do = _ORDERS.get(str(asked.get("do")))
        if do is None:
            raise ModelRefused(f"a model's order is one of {', '.join(_ORDERS)}")
        do(registry, asked)
        champion = registry.promoter.models.champion()
    except (ModelRefused, WriteConflict) as error:
        logger.warning("models as they were: %s", error)
        return {"refused": str(error)}
    logger.info("models: %s", asked.get("do"))
    pinned = registry.pins.pinned() if registry.pins is not None else None
    named = None if champion is None else {"version": champion.version, "sha256": champion.sha256}
    return {"model": named, "pinned": pinned}


def _offer(registry: Registry, asked: Mapping[str, Any]) -> None:
    files, replaces = _offered(registry, asked), asked.get("replaces")
    champion = registry.promoter.champion().pointer
    is_same = (champion and {"version": champion.version, "sha256": champion.sha256}) == replaces
    if asked.get("promote") is True and not is_same:
        raise WriteConflict("another model was published meanwhile")
    registry.offer(files, replaces=champion, promote=asked.get("promote") is True)


def _begin_trial(registry: Registry, asked: Mapping[str, Any]) -> None:
    files, champion = _offered(registry, asked), registry.promoter.champion().pointer
    named = champion and {"version": champion.version, "sha256": champion.sha256}
    if champion is None or named != asked.get("replaces"):
        raise WriteConflict("another model was published meanwhile")
    try:
        terms = TERMS.from_document(TrialTerms, asked.get("terms"))
    except ValueError as error:
        raise ModelRefused(f"no terms of a trial: {error}") from error
    registry.begin_trial(files, terms, replaces=champion)


def _end_trial(registry: Registry, asked: Mapping[str, Any]) -> None:
    registry.end_trial(_version(asked), promote=asked.get("promote") is True)


def _offered(registry: Registry, asked: Mapping[str, Any]) -> ModelFiles:
    """The candidate whose bytes the retrainer named: what lies in the bucket alone is anybody's word."""
    found = registry.candidates.get(_version(asked), admitted=False) if registry.candidates is not None else None
    if found is None:
        raise ModelRefused(f"there is no candidate {_version(asked)}")
    stated = found.pointer.manifest
    said = (found.pointer.sha256, stated and sha256(stated.text.encode()).hexdigest())
    if said != (asked.get("sha256"), asked.get("manifest_sha256")):
        raise ModelRefused(f"candidate {found.pointer.version} is not the one that was offered")
    return found


def _pin(registry: Registry, asked: Mapping[str, Any]) -> None:
    registry.pin(_version(asked))


def _unpin(registry: Registry, asked: Mapping[str, Any]) -> None:
    registry.pin(None)


def _promote(registry: Registry, asked: Mapping[str, Any]) -> None:
    registry.promote(_version(asked))


def _roll_back(registry: Registry, asked: Mapping[str, Any]) -> None:
    registry.roll_back()


def _version(asked: Mapping[str, Any]) -> str:
    return str(asked.get("version") or "")


_ORDERS = {
    "offer": _offer,
    "begin_trial": _begin_trial,
    "end_trial": _end_trial,
    "promote": _promote,
    "roll_back": _roll_back,
    "pin": _pin,
    "unpin": _unpin,
}
