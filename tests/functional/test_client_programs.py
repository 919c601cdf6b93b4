"""The programs of docs/client.md, run as they stand there."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.documented import programs
from tests.functional.lease_servers import World

SHARED = Path(__file__).parents[2] / "shared"


@pytest.mark.parametrize("program", programs("client.md"), ids=["sync", "async"])
def test_a_documented_program_leases_calls_and_reports(program: str) -> None:
    world = World()
    try:
        environ = {"FISO_URL": world.url, "PYTHONPATH": str(SHARED), "PYTHONSAFEPATH": "1"}
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=60)
    finally:
        world.close()
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"200 {world.records[0].result.endpoint} ONE TWO TWO", "reported: 1"]
