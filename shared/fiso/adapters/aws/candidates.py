"""Candidates in S3: `candidates/<version>/` with the model's file, its card, and last `candidate.json`; beside them
`admitted.json`, as the promoter signed it. And the pin, `models/pin.json`.

The retrainer writes the first three and nothing under `models/`; the keeper reads them and writes the rest.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from fiso.adapters.aws.errors import store_errors
from fiso.adapters.aws.models import model_pointer_from, model_pointer_to, named
from fiso.adapters.aws.s3 import Bucket
from fiso.codecs.run import RUNS
from fiso.domain.errors import ModelRefused, StoreError, StoreUnavailable
from fiso.domain.model import ModelPointer, TrialTerms
from fiso.ports import ModelFiles

ROOT, PIN = "candidates/", "models/pin.json"
ARTIFACT, CARD, OFFERED, ADMITTED = "model.joblib", "model_card.json", "candidate.json", "admitted.json"
KEPT = 5

logger = logging.getLogger(__name__)


class S3Candidates:
    """The port `Candidates`; `client` is boto3's S3 client."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def put(self, files: ModelFiles) -> None:
        folder = f"{ROOT}{named(files.pointer.version)}/"
        self._objects.write(folder + ARTIFACT, files.artifact, "application/octet-stream")
        self._objects.write_json(folder + CARD, files.card)
        self._objects.write_json(folder + OFFERED, model_pointer_to(files.pointer))
        try:
            # A seed's comes before all that were trained at a time, and never before the one just written.
            rest = [version for version in self.versions() if version != files.pointer.version]
            old = sorted(rest, key=_is_dated, reverse=True)[KEPT - 1 :]
            self._objects.delete([f"{ROOT}{v}/{name}" for v in old for name in (OFFERED, ADMITTED, CARD, ARTIFACT)])
        except StoreError as error:
            logger.warning("old candidates are dropped another time: %s", error)

    def admit(self, pointer: ModelPointer) -> None:
        self._objects.write_json(f"{ROOT}{named(pointer.version)}/{ADMITTED}", model_pointer_to(pointer))

    def get(self, version: str, *, admitted: bool = True) -> ModelFiles | None:
        folder = f"{ROOT}{named(version)}/"
        document = self._objects.read_json(folder + (ADMITTED if admitted else OFFERED), damaged=ModelRefused)
        artifact = self._objects.read(folder + ARTIFACT)
        if document is None or artifact is None:
            return None
        card = self._objects.read_json(folder + CARD, damaged=ModelRefused) or {}
        return ModelFiles(pointer=model_pointer_from(document, origin="store"), artifact=artifact, card=card)

    def versions(self) -> Sequence[str]:
        return sorted({key.split("/")[1] for key in self._objects.keys(ROOT) if key.count("/") > 1}, reverse=True)


def _is_dated(version: str) -> bool:
    return version[:8].isdigit()


class S3Pins:
    """The port `Pins`."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def pinned(self) -> str | None:
        version = (self._objects.read_json(PIN) or {}).get("version")
        return version if isinstance(version, str) else None

    def pin(self, version: str | None) -> None:
        self._objects.write_json(PIN, {"version": version})


def offer_of(files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> dict[str, object]:
    """What the keeper is asked about a candidate: which bytes are meant, and the champion that it was compared with."""
    stated = files.pointer.manifest
    if stated is None:
        raise ModelRefused(f"candidate {files.pointer.version} has no manifest")
    return {
        "do": "offer",
        "version": files.pointer.version,
        "sha256": files.pointer.sha256,
        "manifest_sha256": sha256(stated.text.encode()).hexdigest(),
        "replaces": None if replaces is None else {"version": replaces.version, "sha256": replaces.sha256},
        "promote": promote,
    }


class KeeperDesk:
    """The port `PromotionDesk`, behind the keeper's Lambda; `client` is boto3's of Lambda. What is offered lies in S3;
    the call says which bytes, so that nobody who can write the bucket alone has another model promoted."""

    def __init__(self, client: Any, function: str, candidates: S3Candidates) -> None:
        self._client, self._function, self._candidates = client, function, candidates

    def offer(self, files: ModelFiles, *, replaces: ModelPointer | None, promote: bool) -> None:
        order = offer_of(files, replaces=replaces, promote=promote)
        self._candidates.put(files)
        self._ask(order)

    def begin_trial(self, files: ModelFiles, terms: TrialTerms, *, replaces: ModelPointer) -> None:
        order = offer_of(files, replaces=replaces, promote=False)
        self._candidates.put(files)
        self._ask(order | {"do": "begin_trial", "terms": RUNS.to_document(terms)})

    def end_trial(self, version: str, *, promote: bool) -> None:
        self._ask({"do": "end_trial", "version": version, "promote": promote})

    def roll_back(self) -> str:
        return str(self._ask({"do": "roll_back"})["version"])

    def _ask(self, order: Mapping[str, object]) -> Mapping[str, object]:
        with store_errors("ask the keeper to promote"):
            answer = self._client.invoke(FunctionName=self._function, Payload=json.dumps({"model": order}).encode())
            said = json.loads(answer["Payload"].read())
        if not isinstance(said, dict) or "FunctionError" in answer:
            raise StoreUnavailable("the keeper failed; its log says why")
        if "refused" in said:
            raise ModelRefused(str(said["refused"]))
        if "model" not in said:
            raise StoreUnavailable("the keeper is of before and promotes no models: deploy the whole stage")
        champion: Mapping[str, object] = said["model"]
        return champion
