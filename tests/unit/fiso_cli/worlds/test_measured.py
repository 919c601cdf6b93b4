from pathlib import Path

from fiso_cli.local_stage import CHECKOUT
from fiso_cli.worlds import measured


def test_the_variable_names_the_folder_that_holds_the_paired_files() -> None:
    assert measured.folder({"FISO_DATA_DIR": "/data"}) == Path("/data/paired")


def test_without_it_they_are_looked_for_beside_the_checkout() -> None:
    beside = CHECKOUT.parent / "shared" / "data" / "paired"
    assert measured.folder({}) == measured.folder({"FISO_DATA_DIR": ""}) == beside


def test_paired_files_are_listed_by_name_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("two.csv.gz", "one.csv", "README.md"):
        (tmp_path / name).touch()
    assert [path.name for path in measured.files(tmp_path)] == ["one.csv", "two.csv.gz"]
    assert measured.files(tmp_path / "absent") == []


def test_a_file_has_a_name_that_a_figure_can_bear() -> None:
    assert measured.name_of(Path("/data/faasdom-factors.csv.gz")) == "faasdom-factors"
