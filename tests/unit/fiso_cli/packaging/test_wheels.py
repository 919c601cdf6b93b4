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
    "botocore/data/endpoints.json",
    "botocore/data/s3/2006-03-01/service-2.json.gz",
    "boto3/data/s3/2006-03-01/resources-1.json",
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
    "botocore/data/ec2/2016-11-15/service-2.json.gz",
    "botocore/data/s3/2006-03-01/examples-1.json",
    "boto3/data/ec2/2016-11-15/resources-1.json",
}


@pytest.mark.parametrize("name", sorted(KEPT | LOST))
def test_only_what_a_running_function_imports_stays(tmp_path: Path, name: str) -> None:
    place = tmp_path / name
    place.parent.mkdir(parents=True)
    place.write_text("")
    strip(tmp_path, frozenset({"flask"}), frozenset({"s3"}))
    assert place.exists() == (name in KEPT)
