"""Each package's bill of materials names all that is in it, with version, licence and digest, and is CycloneDX."""

import json
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from fiso_cli.packaging import sbom
from fiso_cli.packaging.build import ROOT, build
from fiso_cli.packaging.manifest import PACKAGES

NAMES = (*(package.name for package in PACKAGES), "layer-model", "layer-access")


@pytest.fixture(scope="module")
def archives() -> dict[str, Path]:
    return {built.name: ROOT / built.path for built in build("local").built}


def bill_of(archive: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sbom.place(archive).read_bytes())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_bill_names_each_file_of_its_archive_once_with_its_digest(name: str, archives: dict[str, Path]) -> None:
    bill = bill_of(archives[name])
    named = [(file["name"], file["hashes"][0]["content"]) for each in bill["components"] for file in each["components"]]
    with zipfile.ZipFile(archives[name]) as opened:
        there = [(file, sha256(opened.read(file)).hexdigest()) for file in opened.namelist()]
    assert sorted(named) == sorted(there)
    assert bill["metadata"]["component"]["hashes"][0]["content"] == sha256(archives[name].read_bytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_a_bill_is_cyclonedx(name: str, archives: dict[str, Path]) -> None:
    text = sbom.place(archives[name]).read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


@pytest.mark.parametrize("name", NAMES)
def test_each_library_is_of_the_lock_and_says_its_licence(name: str, archives: dict[str, Path]) -> None:
    lock = ROOT / (
        "scripts/requirements/access_layer.txt" if name == "layer-access" else f"functions/{name}/requirements.txt"
    )
    locked = lock.read_text() if lock.exists() else ""
    for each in bill_of(archives[name])["components"]:
        (licence,) = each["licenses"]
        said = licence.get("expression") or licence["license"]["name"]
        assert said not in ("", "unknown", "UNKNOWN"), each["name"]
        if each["type"] == "library":
            assert f"{each['name']}=={each['version']}" in locked.replace("_", "-")
            assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"


@pytest.mark.parametrize("name", NAMES)
def test_a_bill_has_a_root_that_everything_hangs_on(name: str, archives: dict[str, Path]) -> None:
    bill = bill_of(archives[name])
    (root,) = bill["dependencies"]
    assert root["ref"] == bill["metadata"]["component"]["bom-ref"]
    assert root["dependsOn"] == [each["bom-ref"] for each in bill["components"]]


def test_what_is_shipped_without_its_metadata_is_named_too(archives: dict[str, Path]) -> None:
    """Scanners that look for `dist-info` folders find none in a package: most are taken out."""
    found = dict(sbom.libraries(bill_of(archives["keeper"])))
    assert {"boto3", "botocore", "psycopg2-binary", "urllib3"} <= set(found)
    own = [each for each in bill_of(archives["orchestrator"])["components"] if each["name"] == "fiso"]
    assert "functions/orchestrator/handler.py" in {file["name"] for file in own[0]["components"]}


def test_an_unchanged_archive_has_an_unchanged_bill_and_a_lost_one_is_made_anew(archives: dict[str, Path]) -> None:
    place = sbom.place(archives["sample_aws"])
    before = place.read_bytes()
    place.unlink()
    build("local", ["sample_aws"])
    assert place.read_bytes() == before


def test_licences_of_older_metadata_are_told_by_what_says_most(tmp_path: Path) -> None:
    def licence(*lines: str) -> str:
        folder = tmp_path / "six-1.0.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text("\n".join(("Metadata-Version: 2.1", "Name: six", "Version: 1.0", *lines)))
        (found,) = sbom.installed(tmp_path)
        return found.licence

    assert licence("License-Expression: MIT", "License: other") == "MIT"
    assert licence("License: Apache License 2.0") == "Apache License 2.0"
    classifier = "Classifier: License :: OSI Approved :: BSD License"
    assert licence("License: Dual License", classifier) == "BSD License"
    assert licence(f"License: {'all rights reserved ' * 20}", classifier) == "BSD License"
    assert licence() == "unknown"
