"""Packages of a small checkout: same bytes from same sources, limits, and what goes where."""

import hashlib
import json
import os
import zipfile
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from fiso_cli.packaging import archive
from fiso_cli.packaging.build import ACCESS_LOCK, build
from fiso_cli.packaging.manifest import ACCESS_LAYER, MB, PACKAGES
from fiso_cli.packaging.report import BuildReport, Built
from fiso_cli.packaging.target import lambda_target

LAYERS = ("layer-model", "layer-access")
SOURCES = {
    "shared/fiso/__init__.py": '"""Core."""\n',
    "shared/fiso/learning/train.py": "ROWS = 1\n",
    "shared/fiso/billing/tariffs.json": "{}\n",
    "shared/fiso_workload/__init__.py": "WORK = {'a', 'b', 'c'}\n",
    "shared/fiso/__pycache__/old.cpython-311.pyc": "stale",
    "ml_artifacts/champion.json": '{"version": "m2"}',
    "ml_artifacts/m2/model.joblib": "trees",
    "ml_artifacts/m1/model.joblib": "older trees",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return make_checkout(tmp_path / "checkout")


def make_checkout(root: Path) -> Path:
    handlers = {f"functions/{package.name}/handler.py": "def lambda_handler(): ...\n" for package in PACKAGES}
    for name, text in {**SOURCES, **handlers}.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    write_access_lock(root)
    return root


def write_access_lock(root: Path, *, version: str = "1.0") -> None:
    """A lock that names one small wheel, which lies in the checkout so that nothing is asked for over the network."""
    wheel = root / "wheels" / f"tokens-{version}-py3-none-any.whl"
    wheel.parent.mkdir(exist_ok=True)
    contents = {
        "tokens/__init__.py": f"VERSION = {version!r}\n",
        "tokens/tests/test_tokens.py": "",
        f"tokens-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: tokens\nVersion: {version}\n",
        f"tokens-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"tokens-{version}.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as opened:
        for name, text in contents.items():
            opened.writestr(zipfile.ZipInfo(name), text)
    lock = root / ACCESS_LOCK
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(f"{wheel} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")


def digests(report: BuildReport) -> dict[str, str]:
    return {built.name: built.sha256 for built in report.built}


def names(root: Path, package: str, stage: str = "prod") -> set[str]:
    return set(archive.names(root / "build" / stage / f"{package}.zip"))


def test_equal_sources_give_equal_bytes_whatever_their_place_and_age(tmp_path: Path) -> None:
    first, second = make_checkout(tmp_path / "a"), make_checkout(tmp_path / "b" / "deeper")
    for path in second.rglob("*"):
        os.utime(path, (1, 1))
    assert digests(build("prod", root=first)) == digests(build("prod", root=second))


def test_an_unchanged_checkout_is_not_built_again(checkout: Path) -> None:
    first = build("prod", root=checkout)
    second = build("prod", root=checkout)
    assert not any(built.is_unchanged for built in first.built)
    assert all(built.is_unchanged for built in second.built)
    assert digests(first) == digests(second)


def test_a_change_reaches_only_the_packages_that_ship_it(checkout: Path) -> None:
    before = digests(build("prod", root=checkout))
    (checkout / "shared/fiso/learning/train.py").write_text("ROWS = 2\n")
    after = digests(build("prod", root=checkout))
    assert {name for name in before if before[name] != after[name]} == {"retrainer"}


def test_a_damaged_archive_is_built_again(checkout: Path) -> None:
    before = digests(build("prod", root=checkout))
    (checkout / "build/prod/keeper.zip").write_bytes(b"cut off")
    assert digests(build("prod", root=checkout)) == before


def test_the_sample_ships_the_portable_functions_and_nothing_of_fiso(checkout: Path) -> None:
    build("prod", ["sample_aws"], root=checkout)
    sources = {name for name in names(checkout, "sample_aws") if name.endswith(".py")}
    assert sources == {"functions/sample_aws/handler.py", "shared/fiso_workload/__init__.py"}


def test_data_files_go_along_and_stale_bytecode_does_not(checkout: Path) -> None:
    build("prod", ["orchestrator"], root=checkout)
    assert "shared/fiso/billing/tariffs.json" in names(checkout, "orchestrator")
    assert not any("old." in name for name in names(checkout, "orchestrator"))


def test_bytecode_is_never_compared_with_its_source(checkout: Path) -> None:
    if lambda_target().compiler is None:
        pytest.skip("no interpreter of the target's version is here")
    build("prod", ["orchestrator"], root=checkout)
    with zipfile.ZipFile(checkout / "build/prod/orchestrator.zip") as opened:
        (compiled,) = [name for name in opened.namelist() if name.startswith("shared/fiso/__pycache__/__init__")]
        flags = int.from_bytes(opened.read(compiled)[4:8], "little")
    assert flags == 0b01  # hash-based, unchecked (PEP 552)


def test_the_retrainer_has_no_room_for_bytecode(checkout: Path) -> None:
    build("prod", ["retrainer"], root=checkout)
    assert not any(name.endswith(".pyc") for name in names(checkout, "retrainer"))


def test_the_layer_holds_the_champion_and_no_older_version(checkout: Path) -> None:
    build("prod", ["sample_aws"], root=checkout)
    assert names(checkout, "layer-model") == {"model/champion.json", "model/m2/model.joblib"}


def test_a_layer_without_a_model_says_so(checkout: Path) -> None:
    (checkout / "ml_artifacts/champion.json").unlink()
    build("prod", ["sample_aws"], root=checkout)
    assert names(checkout, "layer-model") == {"model/NO_MODEL"}


@pytest.mark.parametrize(
    "pointer", ["{", "[]", "{}", '{"version": "m9"}', '{"version": "../m2"}', '{"version": ""}', '{"version": ".."}']
)
def test_a_pointer_to_no_model_is_refused(checkout: Path, pointer: str) -> None:
    (checkout / "ml_artifacts/champion.json").write_text(pointer)
    with pytest.raises(CommandError, match="fiso train"):
        build("prod", ["sample_aws"], root=checkout)


def test_only_the_functions_asked_for_are_built(checkout: Path) -> None:
    report = build("prod", ["keeper"], root=checkout)
    assert [built.name for built in report.built] == ["keeper", "layer-model", "layer-access"]


def test_an_unknown_function_is_named(checkout: Path) -> None:
    with pytest.raises(CommandError, match="no function kepeer"):
        build("prod", ["kepeer"], root=checkout)


def test_a_model_over_its_limit_stops_the_build(checkout: Path) -> None:
    (checkout / "ml_artifacts/m2/model.joblib").write_bytes(os.urandom(int(1.1 * MB)))
    with pytest.raises(CommandError, match=r"layer-model is 1\.10 MB unzipped, more than 1"):
        build("prod", ["sample_aws"], root=checkout)


def test_a_function_over_its_limit_stops_the_build(checkout: Path) -> None:
    (checkout / "shared/fiso/billing/tariffs.json").write_bytes(b" " * (11 * MB))
    with pytest.raises(CommandError, match=r"orchestrator is 11\.\d+ MB unzipped, more than 10"):
        build("prod", ["orchestrator"], root=checkout)


def test_the_layer_counts_towards_the_orchestrators_limit(checkout: Path) -> None:
    built = {built.name: built for built in build("prod", root=checkout).built}
    layer = built["layer-model"].unzipped_bytes
    assert built["orchestrator"].counted_bytes == built["orchestrator"].unzipped_bytes + layer
    assert built["keeper"].counted_bytes == built["keeper"].unzipped_bytes


def test_a_zip_over_its_limit_is_a_complaint() -> None:
    built = Built(
        name="keeper",
        path="build/prod/keeper.zip",
        sha256="",
        zip_bytes=51 * MB,
        unzipped_bytes=MB,
        counted_bytes=MB,
        unzipped_limit_mb=40,
        zip_limit_mb=50,
        is_unchanged=False,
    )
    assert built.complaints() == ["keeper is 51.00 MB zipped, more than 50"]


def test_the_report_is_json(checkout: Path) -> None:
    document = json.loads(json.dumps(build("prod", root=checkout).as_json()))
    has_bytecode = lambda_target().compiler is not None
    assert document["target"] == {"python": "3.13", "platform": "aarch64-manylinux_2_28", "has_bytecode": has_bytecode}
    assert {row["name"] for row in document["packages"]} == {*(package.name for package in PACKAGES), *LAYERS}
    counted = {row["name"]: row["counted_bytes"] for row in document["packages"]}
    assert document["orchestrator_with_tokens_bytes"] == counted["orchestrator"] + counted[ACCESS_LAYER]


def test_the_access_layer_holds_stripped_wheels_where_lambda_looks_for_them(checkout: Path) -> None:
    build("prod", ["sample_aws"], root=checkout)
    found = names(checkout, ACCESS_LAYER)
    assert {name for name in found if name.endswith(".py")} == {"python/tokens/__init__.py"}
    assert all(name.startswith("python/tokens/") for name in found)
    assert any(name.endswith(".pyc") for name in found) == (lambda_target().compiler is not None)


def test_another_lock_makes_another_access_layer_and_no_other_package(checkout: Path) -> None:
    before = digests(build("prod", root=checkout))
    write_access_lock(checkout, version="1.1")
    after = digests(build("prod", root=checkout))
    assert {name for name in before if before[name] != after[name]} == {ACCESS_LAYER}


def test_an_access_layer_without_a_lock_is_not_built_empty(checkout: Path) -> None:
    (checkout / ACCESS_LOCK).unlink()
    with pytest.raises(CommandError, match=r"access_layer\.txt is missing; run `make lock`"):
        build("prod", ["sample_aws"], root=checkout)
