"""What the deployed runtime can load, told from the packages themselves: no interpreter of its kind is needed."""

import ast
import re
import zipfile
from pathlib import Path

import pytest

from fiso_cli.packaging.build import ROOT, build
from fiso_cli.packaging.manifest import PACKAGES
from fiso_cli.packaging.report import BuildReport

MACHINE = {"arm64": 183, "x86_64": 62}
"""What an ELF file says of its machine (elf.h: EM_AARCH64, EM_X86_64)."""
GLIBC = (2, 34)
"""Amazon Linux 2023's (docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html)."""
GONE = set(
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap msilib nis nntplib "
    "ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib".split()
)
"""Modules that 3.11 has and 3.12 or 3.13 has not (PEP 594, 632, docs.python.org/3/whatsnew/3.12.html#removed)."""


@pytest.fixture(scope="module", params=sorted(MACHINE))
def built(request: pytest.FixtureRequest) -> tuple[str, BuildReport]:
    """Each architecture's packages, the machine's own beside the cross-built one."""
    return request.param, build({"arm64": "prod", "x86_64": "x86-64"}[request.param], architecture=request.param)


def test_every_extension_is_for_the_architecture_the_interpreter_and_the_c_library(
    built: tuple[str, BuildReport],
) -> None:
    architecture, report = built
    extensions: dict[str, bytes] = {}
    for each in report.built:
        with zipfile.ZipFile(ROOT / each.path) as opened:
            extensions |= {f"{each.name}/{name}": opened.read(name) for name in opened.namelist() if ".so" in name}
    assert len(extensions) > 50
    for name, data in extensions.items():
        assert data[:4] == b"\x7fELF", name
        assert int.from_bytes(data[18:20], "little") == MACHINE[architecture], name
        tag = re.search(r"\.(cpython-\d+|abi3)", name)
        assert tag is None or tag[1] in ("cpython-313", "abi3"), name
        asked = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(2\.\d+)", data)}
        assert max(asked, default=GLIBC) <= GLIBC, name


def test_what_is_shipped_imports_no_module_that_the_deployed_python_has_lost() -> None:
    folders = {ROOT / "functions" / package.name for package in PACKAGES}
    folders |= {ROOT / "shared" / part for package in PACKAGES for part in package.shared}
    for path in (path for folder in folders for path in (folder, *folder.rglob("*.py")) if path.suffix == ".py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert GONE.isdisjoint(name.partition(".")[0] for name in names), path


def test_bytecode_is_of_the_deployed_python(built: tuple[str, BuildReport]) -> None:
    _, report = built
    for each in report.built:
        with zipfile.ZipFile(ROOT / each.path) as opened:
            compiled = {Path(name).suffixes[-2] for name in opened.namelist() if name.endswith(".pyc")}
        assert compiled <= {".cpython-313"}, each.name
