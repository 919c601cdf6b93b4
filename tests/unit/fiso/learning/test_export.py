import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fiso.domain.errors import ModelRefused
from fiso.learning import export
from fiso.learning.export import Origin, package
from fiso.learning.train import Family
from fiso.prediction import artifact
from fiso.prediction.artifact import LARGEST_FILE_BYTES, TARGETS
from fiso.prediction.features import NAMES
from tests.models import an_artifact, generated_halves, opened, packaged, trained


@pytest.mark.parametrize("family", Family)
def test_what_is_packaged_opens_under_its_own_digest_and_version(family: Family) -> None:
    files = packaged(family)
    model = artifact.read(files.artifact, sha256=files.pointer.sha256)
    assert model.version == files.pointer.version == files.card["version"]
    assert model.is_synthetic
    assert model.targets == TARGETS
    assert model.feature_names == NAMES[:8]
    assert len(files.artifact) <= LARGEST_FILE_BYTES


def test_the_same_rows_make_the_same_bytes() -> None:
    assert packaged() == packaged()


def test_the_version_names_the_trees_and_not_the_time() -> None:
    assert packaged().pointer.version.startswith("synthetic-42-")
    assert packaged().pointer.version != packaged(Family.FOREST).pointer.version


def test_the_card_is_json_and_says_what_the_model_is() -> None:
    card = json.loads(json.dumps(packaged().card))
    assert card["rows"] == {"trained_on": 480, "held_out": 120, "skipped": 0}
    assert card["features"] == list(NAMES[:8])
    assert card["is_synthetic"] is True
    assert card["trained_at"] is None
    assert card["family"] == "hist_gradient_boosting"
    assert set(card["libraries"]) == {"python", "numpy", "scikit-learn", "joblib"}
    assert set(card["metrics_on_held_out_rows"]["execution_time_ms"]) == {"all", "aws", "azure", "gcp"}
    assert card["parity_error"] <= export.PARITY
    assert card["sha256"] == packaged().pointer.sha256


def test_a_model_of_records_is_dated() -> None:
    moment = datetime(2026, 11, 23, 10, tzinfo=UTC)
    files = package(trained(), generated_halves(), Origin(version_prefix="20261123T100000Z", trained_at=moment))
    assert files.pointer.trained_at == moment
    assert files.card["trained_at"] == "2026-11-23T10:00:00.000Z"


def test_an_export_that_differs_from_its_estimators_is_refused() -> None:
    other = opened(an_artifact())
    with pytest.raises(ModelRefused, match="differs from its estimators"):
        export.check(other, trained(), generated_halves().held_out)


def test_an_export_without_rows_to_check_it_on_is_refused() -> None:
    halves = generated_halves()
    with pytest.raises(ModelRefused, match="no held-out rows"):
        package(
            trained(), replace(halves, held_out=halves.held_out.part(0, 0)), Origin(version_prefix="x", trained_at=None)
        )
