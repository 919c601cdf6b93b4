"""Packagings of one checkout wait for one another."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fiso_cli.packaging.template import OSLS_TEMPLATE, serverless_package

COMMAND = f"""#!/bin/sh
# as osls does: a folder of its own in the checkout, whatever --package says, gone when another one begins
mkdir .serverless || {{ echo "another one is at work"; exit 1; }}
sleep 0.2
while [ "$1" != --package ]; do shift; done
mkdir -p "$2" && echo "{{}}" > "$2/{OSLS_TEMPLATE}"
rmdir .serverless
"""


def test_two_packagings_of_a_checkout_come_one_after_the_other(tmp_path: Path) -> None:
    command = tmp_path / "node_modules" / ".bin" / "serverless"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND)
    command.chmod(0o755)
    with ThreadPoolExecutor() as pool:
        made = pool.map(lambda stage: serverless_package(stage, tmp_path / stage, root=tmp_path), ("one", "two", "six"))
        assert [path.read_text() for path in made] == ["{}\n"] * 3
