"""Models in S3: `models/<version>/model.joblib` and its card, and `models/champion.json` which names the champion.

`client` is boto3's S3 client; for reading, `aws_client.S3Client` does as well. The pointer moves last and only from the
champion that the new one was compared with, so it always names a complete version, whoever else publishes.
"""

from typing import Any

from fiso.adapters.aws.pointers import model_pointer_from, model_pointer_to, names_same
from fiso.adapters.aws.s3 import Bucket
from fiso.domain.errors import ModelRefused, WriteConflict
from fiso.domain.model import ModelPointer
from fiso.ports import ModelFiles

POINTER = "models/champion.json"


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
        """Artifact and card first, the pointer last, by a conditional write."""
        folder = f"models/{files.pointer.version}"
        self._objects.write(f"{folder}/model.joblib", files.artifact, "application/octet-stream")
        self._objects.write_json(f"{folder}/model_card.json", files.card)
        etag = self._objects.etag(POINTER)
        if not names_same(self._readable_champion(), replaces):
            raise WriteConflict("another model was published meanwhile")
        condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
        self._objects.write_json(POINTER, model_pointer_to(files.pointer), **condition)

    def _readable_champion(self) -> ModelPointer | None:
        try:
            return self.champion()
        except ModelRefused:
            return None
