"""What stays of a wheel."""

from pathlib import Path

import pytest

from fiso_cli.packaging.wheels import strip

KEPT = {
    "flask/app.py",
    "flask-3.1.3.dist-info/METADATA",
    "numpy/_core/tests/_natype.py",
    "numpy.libs/libscipy_openblas64_.so",
    "sklearn/tree/_tree.cpython-311-x86_64-linux-gnu.so",
    "testing/tests.py",
}
LOST = {
    "click-8.5.1.dist-info/METADATA",
    "bin/f2py",
    "numpy/_core/include/numpy/arrayobject.h",
    "sklearn/tree/tests/test_tree.py",
    "sklearn/tree/_tree.pyx",
    "joblib/test/test_parallel.py",
    "flask/app.pyi",
    "flask/__pycache__/app.cpython-311.pyc",
}


@pytest.mark.parametrize("name", sorted(KEPT | LOST))
def test_only_what_a_running_function_imports_stays(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True)
    place.write_text("")
    strip(tmp_path, frozenset({"flask"}))
    assert place.exists() == (name in KEPT)
