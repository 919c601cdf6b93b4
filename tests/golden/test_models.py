"""Models: the signed manifest, and `champion.json` as it is published and read."""

import json
from dataclasses import replace
from pathlib import Path

from fiso.adapters.aws.models import LayerModelStore, S3ModelStore, model_pointer_to
from fiso.adapters.http.signers import OpenKeySigner
from fiso.codecs import signature
from fiso.domain.model import ModelPointer
from fiso.learning.export import signed
from fiso.ports import ModelFiles
from fiso.prediction import artifact, ensemble, manifest
from fiso.prediction.manifest import Golden, Manifest
from fiso_cli.training import keys
from tests.builders import NOW
from tests.golden.golden_files import golden, golden_json, golden_line
from tests.golden.recorded_clients import Objects

PUBLISHED_KEY = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs"
    "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV"
    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ:"
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0"
    "BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYT"
    "CBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
)
"""The example of RFC 7515, appendix A.2: nobody's secret."""
SIGNER = OpenKeySigner.parsed(PUBLISHED_KEY)
TRUSTED = {SIGNER.public.id: SIGNER.public}
MANIFEST = Manifest(
    version="m-2",
    sha256="ab" * 32,
    created_at=NOW,
    rows=1200,
    is_synthetic=False,
    feature_names=("request_size_bytes", "hour_of_day"),
    metrics={"latency_mape": 0.125, "rows": 300},
    golden=(Golden(row=(0.0, 1.5), latency_ms=100.25, success_probability=0.99),),
)
FIRST = ModelPointer(version="m-1", sha256="cd" * 32, trained_at=NOW, rows=1000, is_synthetic=True)
CARD = {"version": "m-2", "family": "boosting", "latency": {"mape": 0.125}}


def files() -> ModelFiles:
    pointer = ModelPointer(
        version=MANIFEST.version,
        sha256=MANIFEST.sha256,
        trained_at=NOW,
        rows=MANIFEST.rows,
        is_synthetic=False,
        manifest=manifest.written(MANIFEST),
        previous=FIRST,
    )
    return signed(ModelFiles(pointer=pointer, artifact=b"an artifact", card=CARD), SIGNER)


def test_the_manifest_is_canonical_and_signed() -> None:
    stated = files().pointer.manifest
    assert stated is not None
    text = golden_line("manifest.json", stated.text)
    key_id, signature_ = golden("manifest-signature.txt", f"{stated.key_id}\n{stated.signature}\n").splitlines()
    assert manifest.opened(replace(stated, text=text, key_id=key_id, signature=signature_), TRUSTED) == MANIFEST


def test_what_is_published_in_the_bucket() -> None:
    bucket = Objects()
    S3ModelStore(bucket, "bucket").publish(files(), replaces=None)
    kept = golden_json("models-published.json", bucket.texts())
    bucket.bodies = {put["Key"]: put["Body"].encode() for put in kept}
    champion = S3ModelStore(bucket, "bucket").champion()
    assert champion is not None
    assert champion.previous is not None
    assert replace(champion, origin="layer", previous=replace(champion.previous, origin="layer")) == files().pointer
    assert S3ModelStore(bucket, "bucket").artifact(champion) == b"an artifact"


def test_a_packaged_champion(tmp_path: Path) -> None:
    written = S3ModelStore(bucket := Objects(), "bucket")
    written.publish(files(), replaces=None)
    kept = golden_line("champion.json", bucket.bodies["models/champion.json"])
    (tmp_path / "champion.json").write_text(kept, encoding="ascii")
    assert LayerModelStore(tmp_path).champion() == files().pointer


def test_a_champion_from_before_there_were_signatures_and_predecessors(tmp_path: Path) -> None:
    kept = golden("champion-of-before.json", json.dumps(model_pointer_to(FIRST)) + "\n")
    (tmp_path / "champion.json").write_text(kept, encoding="ascii")
    assert LayerModelStore(tmp_path).champion() == FIRST


def test_the_keys_that_are_trusted(tmp_path: Path) -> None:
    path = tmp_path / "model_keys.json"
    keys.write_public(SIGNER.public, path)
    path.write_text(golden("model-keys.json", path.read_text(encoding="ascii")), encoding="ascii")
    assert signature.from_file(path) == TRUSTED == signature.parsed(PUBLISHED_KEY.partition(":")[0])


def test_the_names_that_an_artifact_is_read_by() -> None:
    targets = [artifact.LATENCY, artifact.COST, artifact.SUCCESS]
    golden_json("artifact-names.json", {"format": artifact.FORMAT, "leaf": ensemble.LEAF, "targets": targets})
