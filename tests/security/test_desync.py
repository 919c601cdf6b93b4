"""Does a byte of one answer ever reach another request? 10,000 answers out of step over connections that are kept, in
the clear and over TLS, through FISO's own caller and the client library's. More: `python -m tests.lab desync`."""

import pytest

from tests.lab.desync import WAYS, run

SEED, EACH = 20261130, 2_500


@pytest.mark.parametrize("way", WAYS)
def test_no_answer_holds_a_byte_of_another(way: str) -> None:
    seen = run(way, seed=SEED, requests=EACH)
    assert (seen.foreign, seen.wrong, seen.refused) == ([], [], [])
    assert seen.answers > EACH // 2
    assert seen.connections < 0.9 * EACH  # many are used again
