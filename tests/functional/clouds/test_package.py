"""Packages: what goes in, what stays out, that it runs alone, and what is refused before anything is made."""

import hashlib
import io
import os
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fiso.domain.endpoint import Provider
from fiso_cli.clouds import package
from fiso_cli.errors import BadInput
from fiso_cli.packaging.target import Target
from tests.functional.clouds.running import AWS, AZURE, GOOGLE, HOST, run, unpacked

ROOT = Path(__file__).parents[3]
LOCKED = "flask==3.1.3 --hash=sha256:" + "0" * 64 + "\n"
RUNTIMES = [
    ("sample_gcp", Provider.GCP, GOOGLE, ()),
    ("sample_azure", Provider.AZURE, AZURE, (HOST,)),
    ("sample_aws", Provider.AWS, AWS, ()),
]


def folder(tmp_path: Path, **files: str) -> Path:
    made = tmp_path / "mine"
    for name, text in {"main.py": "", "requirements.txt": LOCKED, **files}.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(text)
    return made


def files_in(tmp_path: Path, source: Path, provider: Provider = Provider.GCP) -> list[str]:
    return list(package.make(source, provider, into=tmp_path / "out").files)


@pytest.mark.parametrize(("name", "provider", "program", "beside"), RUNTIMES)
def test_a_sample_runs_from_its_package_with_nothing_else_to_import(
    tmp_path: Path, name: str, provider: Provider, program: str, beside: tuple[Path, ...]
) -> None:
    made = package.make(ROOT / "functions" / name, provider, into=tmp_path)
    said = run(unpacked(made.path, tmp_path / "there"), program, *beside)
    assert said.startswith("200 ")
    assert made.shared == ("fiso_workload",)


@pytest.mark.parametrize(("name", "provider", "program", "beside"), RUNTIMES)
def test_without_its_package_a_sample_does_not_run(
    name: str, provider: Provider, program: str, beside: tuple[Path, ...]
) -> None:
    """What shows that the test above can fail: the folder alone lacks the shared code."""
    assert "No module named 'fiso_workload'" in run(ROOT / "functions" / name, program, *beside)


def test_the_same_content_gives_the_same_bytes_whenever_and_wherever(tmp_path: Path) -> None:
    made = []
    for place in ("one", "two"):
        source = folder(tmp_path / place, **{"b.py": "import fiso_workload", "a/c.txt": "x"})
        os.utime(source / "b.py", (1, 1) if place == "one" else None)
        (source / "b.py").chmod(0o600 if place == "one" else 0o755)
        made.append(package.make(source, Provider.GCP, into=tmp_path / f"out-{place}"))
    assert made[0].sha256 == made[1].sha256 == hashlib.sha256(made[1].path.read_bytes()).hexdigest()


def test_as_a_tar_it_holds_the_same_files_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    made = package.make(folder(tmp_path, **{"a/b.txt": "x" * 200}), Provider.GCP, into=tmp_path / "out")
    packed = package.as_tar(made)
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r:gz") as tar:
        assert (tar.getnames(), tar.extractfile("a/b.txt").read()) == ([*made.files], b"x" * 200)  # type: ignore[union-attr]
    assert packed == package.as_tar(made)


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [
        ({}, ["a.txt", "deep/a.txt", "deep/b.txt"]),
        ({".gitignore": "a.txt\n"}, ["deep/b.txt"]),
        ({".gitignore": "/a.txt\n"}, ["deep/a.txt", "deep/b.txt"]),
        ({".gcloudignore": "deep/\n"}, ["a.txt"]),
        ({".gcloudignore": "deep/*\n!deep/b.txt\n"}, ["a.txt", "deep/b.txt"]),
        ({".funcignore": "deep/\n"}, ["a.txt", "deep/a.txt", "deep/b.txt"]),
        ({".gitignore": "*.txt\n!requirements.txt\n", ".gcloudignore": "!deep/b.txt\n"}, ["deep/b.txt"]),
        ({".gcloudignore": "#!include:other\n", "other": "a.txt\nother\n"}, ["deep/b.txt"]),
    ],
)
def test_ignore_files_are_read_as_their_tools_read_them(
    tmp_path: Path, ignored: dict[str, str], expected: list[str]
) -> None:
    source = folder(tmp_path, **{"a.txt": "", "deep/a.txt": "", "deep/b.txt": "", **ignored})
    assert [name for name in files_in(tmp_path, source) if name[-6:] in ("/a.txt", "/b.txt", "a.txt")] == expected


def test_secrets_caches_and_environments_stay_out_whatever_is_ignored(tmp_path: Path) -> None:
    kept_out = [".env", ".git/config", "local.settings.json", "x/__pycache__/y.pyc", "venv/lib/z.py", ".venv/z.py"]
    source = folder(tmp_path, **dict.fromkeys(kept_out, "secret"), **{".gcloudignore": "!.env\n"})
    assert files_in(tmp_path, source) == ["main.py", "requirements.txt"]


@pytest.mark.parametrize(
    ("source", "shared"),
    [
        ("import os, fiso_workload.app as app", {"fiso_workload"}),
        ("def f():\n    from fiso_client import api", {"fiso_client"}),
        ("from fiso.codecs import typed", {"fiso", "fiso_client"}),
        ("from fiso_workload2 import x\nimport numpy", set()),
        ("type Later[T] = list[T]  # newer than this interpreter\nimport fiso_workload", {"fiso_workload"}),
    ],
)
def test_the_shared_code_that_is_imported_comes_along(tmp_path: Path, source: str, shared: set[str]) -> None:
    made = files_in(tmp_path, folder(tmp_path, **{"main.py": source}))
    assert {name.split("/")[0] for name in made if "/" in name} == shared


def test_the_users_own_module_of_a_shared_name_wins(tmp_path: Path) -> None:
    source = folder(tmp_path, **{"main.py": "import fiso_workload", "fiso_workload.py": "mine = 1"})
    assert files_in(tmp_path, source) == ["fiso_workload.py", "main.py", "requirements.txt"]


def test_what_a_deployer_adds_gives_way_to_the_users_own(tmp_path: Path) -> None:
    source = folder(tmp_path, **{"main.py": "mine = 1"})
    made = package.make(source, Provider.GCP, into=tmp_path, generated={"main.py": b"theirs", "host.json": b"{}"})
    with zipfile.ZipFile(made.path) as opened:
        assert (opened.read("main.py"), opened.read("host.json")) == (b"mine = 1", b"{}")


@pytest.mark.parametrize(
    ("text", "is_locked"),
    [
        (LOCKED, True),
        ("a==1 \\\n    --hash=sha256:00\n    # via b\n", True),
        ("a==1 ; python_version < '3.13' --hash=sha256:00", True),
        ("a>=1 --hash=sha256:00", False),
        ("a==1", False),
        ("-e .", False),
        ("a @ https://host/a.whl --hash=sha256:00", False),
        ("a==1 --hash=sha256:00\nb", False),
    ],
)
def test_locked_means_one_version_and_a_hash_on_every_line(text: str, is_locked: bool) -> None:
    assert package.is_locked(text) is is_locked


def wheel(folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny-1.0-py3-none-any.whl", "w") as made:
        made.writestr("tiny.py", "")
        made.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        made.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("tiny-1.0.dist-info/RECORD", "")


def test_loose_requirements_are_locked_once_and_then_stay(tmp_path: Path) -> None:
    wheel(tmp_path / "index")
    found = f"--no-index\n--find-links {tmp_path}/index\ntiny>=1\n"
    source = folder(tmp_path, **{"requirements.txt": found})
    first = package.make(source, Provider.GCP, into=tmp_path / "out")
    (tmp_path / "index" / "tiny-1.0-py3-none-any.whl").unlink()  # no index is asked again
    second = package.make(source, Provider.GCP, into=tmp_path / "out")
    with zipfile.ZipFile(second.path) as opened:
        text = opened.read("requirements.txt").decode()
    assert first.sha256 == second.sha256
    assert package.is_locked(text)
    assert str(tmp_path) not in text


def test_where_the_cloud_builds_nothing_the_wheels_are_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda runs what it gets; nothing in it names this machine, and the user's own module of a name wins."""
    wheel(tmp_path / "index")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    place = replace(package.PLACES[Provider.AWS], target=Target(python="3.13", platform="aarch64-manylinux_2_28"))
    source = folder(tmp_path, **{"requirements.txt": "tiny\n", "handler.py": "import tiny"})
    made = [package.make(source, Provider.AWS, into=tmp_path / f"out-{each}", place=place) for each in "ab"]
    assert {"tiny.py", "tiny-1.0.dist-info/METADATA", "requirements.txt"} <= set(made[0].files)
    assert not [name for name in made[0].files if name.endswith("RECORD") or name.startswith("bin/")]
    assert made[0].sha256 == made[1].sha256
    assert run(unpacked(made[0].path, tmp_path / "there"), "import handler; print(handler.tiny.__name__)") == "tiny"
    (source / "tiny.py").write_text("mine = 1")
    again = package.make(source, Provider.AWS, into=tmp_path / "out", place=place)
    with zipfile.ZipFile(again.path) as opened:
        assert opened.read("tiny.py") == b"mine = 1"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("requirements.txt", "--no-index\nnowhere==1\n", "cannot be locked"),
        ("requirements.txt", "./here\n", "cannot be locked"),
    ],
)
def test_what_cannot_be_locked_is_refused_in_one_line(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as refused:
        files_in(tmp_path, folder(tmp_path, **{name: content}))
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_none_or_begins_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such folder"):
        files_in(tmp_path, tmp_path / "absent")
    with pytest.raises(BadInput, match=r"no function_app\.py, where azure begins"):
        files_in(tmp_path, folder(tmp_path), Provider.AZURE)


def test_a_link_out_of_the_folder_and_a_pipe_are_refused_and_a_link_inside_is_its_file(tmp_path: Path) -> None:
    source = folder(tmp_path, **{"a.txt": "x"})
    (source / "b.txt").symlink_to(source / "a.txt")
    assert "b.txt" in files_in(tmp_path, source)
    (source / "c.txt").symlink_to("/etc/hostname")
    with pytest.raises(BadInput, match="leads out"):
        files_in(tmp_path, source)
    (source / "c.txt").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(BadInput, match="neither a file"):
        files_in(tmp_path, source)


@pytest.mark.parametrize("limits", [(1, 9), (9, 2)])
def test_more_than_the_cloud_takes_is_refused_with_the_largest_file(tmp_path: Path, limits: tuple[int, int]) -> None:
    source = folder(tmp_path)
    (source / "model.bin").write_bytes(os.urandom(3 * package.MB))
    tight = replace(package.PLACES[Provider.GCP], zip_mb=limits[0], unzipped_mb=limits[1])
    with pytest.raises(BadInput, match=r"largest file is model\.bin.*\.gcloudignore"):
        package.make(source, Provider.GCP, into=tmp_path / "out", place=tight)
    assert not list((tmp_path / "out").glob("*.zip"))
