"""How `fiso deploy everywhere` ends: as the first of its parts that fails, and with no part after that one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fiso_cli.clouds.everywhere import ended
from fiso_cli.rendering import Output

UNPUBLISHED = "error: version 4 is stored, not published (no signing key): the keeper tries every minute"


def parts(begun: list[str], failing: str) -> Iterator[tuple[str, Output]]:
    for name in ("deploy aws-function", "trust gcp", "apply"):
        begun.append(name)
        fails = name == failing
        said = {"published": False} if fails else {"made": 1}
        remarks = [UNPUBLISHED] if fails else []
        yield name, Output(document=said, shown=[f"{name} said", "next: x"], remarks=remarks, exit_code=int(fails))


@pytest.mark.parametrize("failing", ["deploy aws-function", "trust gcp", "apply"])
def test_what_is_not_done_is_the_exit_code_and_the_last_thing_that_is_begun(failing: str) -> None:
    begun: list[str] = []
    told = ended(parts(begun, failing), Path("fiso.yaml"), "fiso doctor")
    document = told.document
    assert isinstance(document, dict)
    assert (told.exit_code, begun[-1], [*document["done"]]) == (1, failing, begun)
    assert document["done"][failing] == {"published": False}
    assert told.remarks[0] == UNPUBLISHED
    assert failing in told.remarks[-1]
    assert not [line for line in told.shown or () if str(line).startswith("next: ")]


def test_what_is_done_names_what_follows_once() -> None:
    told = ended(parts([], "nothing"), Path("fiso.yaml"), "fiso doctor --stage prod")
    assert told.exit_code == 0
    assert [line for line in told.shown or () if str(line).startswith("next: ")] == ["next: fiso doctor --stage prod"]
