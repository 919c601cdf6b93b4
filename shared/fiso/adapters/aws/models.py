"""Models: in S3 (`models/<version>/model.joblib`, its card and its promotion, `models/champion.json` which names the
champion), and the one that came packaged with the function (the layer's `champion.json`).

`client` is boto3's S3 client; for reading, `client.S3Client` does as well. The pointer moves last and only from the
champion that the new one was compared with, so it always names a complete version, whoever else publishes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fiso.adapters.aws.errors import store_errors
from fiso.adapters.aws.s3 import Bucket, unless_changed
from fiso.codecs.record import instant, parse_instant
from fiso.codecs.typed import Json
from fiso.domain.errors import ModelRefused, WriteConflict
from fiso.domain.model import ModelPointer
from fiso.domain.signed import SignedText
from fiso.ports import ModelFiles


def model_pointer_to(pointer: ModelPointer) -> dict[str, Json]:
    """A pointer as it is stored. Where it was read from is not part of it."""
    document: dict[str, Json] = {
        "version": pointer.version,
        "sha256": pointer.sha256,
        "trained_at": instant(pointer.trained_at),
        "rows": pointer.rows,
        "is_synthetic": pointer.is_synthetic,
    }
    if pointer.manifest is not None:
        signed = pointer.manifest
        document |= {"key_id": signed.key_id, "signature": signed.signature, "manifest": signed.text}
    for name, beside in (("previous", pointer.previous), ("trial", pointer.trial)):
        if beside is not None:
            document[name] = model_pointer_to(replace(beside, previous=None, trial=None))
    return document


def model_pointer_from(document: Mapping[str, object], *, origin: str) -> ModelPointer:
    """What `model_pointer_to` made; `ModelRefused` when it does not parse, or its version could leave its folder."""
    try:
        version, rows = str(document["version"]), document["rows"]
        return ModelPointer(
            version=named(version),
            sha256=str(document["sha256"]),
            trained_at=parse_instant(str(document["trained_at"])),
            rows=int(rows) if isinstance(rows, int) else 0,
            is_synthetic=bool(document["is_synthetic"]),
            origin=origin,
            manifest=SignedText.among(document, "manifest"),
            previous=_beside_from(document, "previous", origin),
            trial=_beside_from(document, "trial", origin),
        )
    except (KeyError, ValueError) as error:
        raise ModelRefused(f"model pointer does not parse: {type(error).__name__}: {error}") from error


def _beside_from(document: Mapping[str, object], name: str, origin: str) -> ModelPointer | None:
    """The one before, or the one on trial, which has none beside it in its turn; damage there costs the way back, or
    the trial, not the champion."""
    beside = document.get(name)
    if not isinstance(beside, Mapping):
        return None
    try:
        return model_pointer_from({**beside, "previous": None, "trial": None}, origin=origin)
    except ModelRefused:
        return None


def names_same(pointer: ModelPointer | None, other: ModelPointer | None) -> bool:
    if pointer is None or other is None:
        return pointer is other
    return (pointer.version, pointer.sha256) == (other.version, other.sha256)


class LayerModelStore:
    """The packaged model: `champion.json` and `<version>/model.joblib` under one folder. Read only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def champion(self) -> ModelPointer | None:
        try:
            document = json.loads((self._folder / "champion.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ModelRefused(f"packaged champion.json: {error}") from error
        if not isinstance(document, dict):
            raise ModelRefused("packaged champion.json is not an object")
        return model_pointer_from(document, origin="layer")

    def artifact(self, pointer: ModelPointer) -> bytes:
        try:
            return (self._folder / pointer.version / "model.joblib").read_bytes()
        except OSError as error:
            raise ModelRefused(f"packaged model {pointer.version}: {error}") from error

    def publish(self, files: ModelFiles, *, replaces: ModelPointer | None) -> None:
        """Refused: a layer cannot be written."""
        raise ModelRefused(f"model {files.pointer.version} cannot be published into a layer")

    def store(self, files: ModelFiles) -> None:
        raise ModelRefused(f"model {files.pointer.version} cannot be stored in a layer")

    def point(self, pointer: ModelPointer, *, replaces: ModelPointer | None) -> None:
        raise ModelRefused(f"model {pointer.version} cannot be published into a layer")

    def promoted(self, version: str) -> ModelPointer | None:
        champion = self.champion()
        return champion if champion is not None and champion.version == version else None

    def keep_newest(self, count: int) -> None:
        """A layer has one."""


POINTER, PROMOTED = "models/champion.json", "promotion.json"
FILES = (PROMOTED, "model_card.json", "model.joblib")


def named(version: str) -> str:
    """A version that names its own folder and leaves it by nothing; `ModelRefused` for other text."""
    if not version or not version.replace("-", "").replace("_", "").replace(".", "").isalnum() or ".." in version:
        raise ModelRefused(f"{version[:60]!r} is no model's version")
    return version


class S3ModelStore:
    def __init__(self, client: Any, bucket: str) -> None:
        self._objects = Bucket(client, bucket)

    def champion(self) -> ModelPointer | None:
        """The pointer, if one was ever published; `ModelRefused` when it does not parse."""
        document = self._objects.read_json(POINTER, damaged=ModelRefused)
        return model_pointer_from(document, origin="store") if document is not None else None

    def artifact(self, pointer: ModelPointer) -> bytes:
        body = self._objects.read(f"models/{pointer.version}/model.joblib")
        if body is None:
            raise ModelRefused(f"model {pointer.version} has no artifact")
        return body

    def publish(self, files: ModelFiles, *, replaces: ModelPointer | None) -> None:
        """Artifact and card first, the pointer last."""
        self.store(files)
        self.point(files.pointer, replaces=replaces)

    def store(self, files: ModelFiles) -> None:
        folder = f"models/{files.pointer.version}"
        self._objects.write(f"{folder}/model.joblib", files.artifact, "application/octet-stream")
        self._objects.write_json(f"{folder}/model_card.json", files.card)

    def point(self, pointer: ModelPointer, *, replaces: ModelPointer | None) -> None:
        """By a conditional write."""
        # Read before the comparison: whoever moves the pointer after this makes the conditional write fail.
        etag = self._objects.etag(POINTER)
        if not names_same(self._readable_champion(), replaces):
            raise WriteConflict("another model was published meanwhile")
        self._objects.write_json(POINTER, model_pointer_to(pointer), **unless_changed(etag))
        # After the pointer: what is signed here was promoted. Killed in between, the pointer itself says it.
        self._objects.write_json(
            f"models/{pointer.version}/{PROMOTED}", model_pointer_to(replace(pointer, previous=None, trial=None))
        )

    def promoted(self, version: str) -> ModelPointer | None:
        champion = self._readable_champion()
        for pointer in (champion, champion.previous if champion is not None else None):
            if pointer is not None and pointer.version == version:
                return replace(pointer, previous=None, trial=None)
        document = self._objects.read_json(f"models/{named(version)}/{PROMOTED}", damaged=ModelRefused)
        return model_pointer_from(document, origin="store") if document is not None else None

    def versions(self) -> Sequence[str]:
        """Every version that is stored, the newest first: their names begin with when they were trained."""
        folders = {key.split("/")[1] for key in self._objects.keys("models/") if key.count("/") > 1}
        return sorted(folders, reverse=True)

    def keep_newest(self, count: int) -> None:
        champion = self._readable_champion()
        if champion is None:
            return
        kept = {each.version for each in (champion, champion.previous, champion.trial) if each is not None}
        old = [version for version in self.versions() if version not in kept][max(0, count - len(kept)) :]
        self._objects.delete([f"models/{version}/{name}" for version in old for name in FILES])

    def _readable_champion(self) -> ModelPointer | None:
        try:
            return self.champion()
        except ModelRefused:
            return None


PROMOTION = {"function_name": {"S": "#models"}, "item": {"S": "champion"}}
"""No function's name begins with #."""


class DynamoDBPromotionWitness:
    """One item of the state table; `client` as in `dynamodb`."""

    def __init__(self, client: Any, table: str) -> None:
        self._client, self._table = client, table

    def read(self) -> SignedText | None:
        with store_errors("read the models' witness"):
            item = self._client.get_item(TableName=self._table, Key=PROMOTION).get("Item")
            return SignedText.among({name: value["S"] for name, value in item.items()}, "manifest") if item else None

    def keep(self, stated: SignedText, *, replaces: SignedText | None) -> None:
        fields = {"manifest": stated.text, "key_id": stated.key_id, "signature": stated.signature}
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(manifest)"}
        if replaces is not None:
            condition = {
                "ConditionExpression": "manifest = :seen",
                "ExpressionAttributeValues": {":seen": {"S": replaces.text}},
            }
        with store_errors("write the models' witness"):
            item = PROMOTION | {name: {"S": text} for name, text in fields.items()}
            self._client.put_item(TableName=self._table, Item=item, **condition)
