"""docs/own-functions.md, typed as it stands: three servers of one's own from nothing to routed, and back to nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import CHECKOUT, free_ports

pytestmark = pytest.mark.timeout(600)
PAGE = (CHECKOUT / "docs" / "own-functions.md").read_text(encoding="utf-8")
UP, SERVERS, DECLARE, OBSERVE, ROUTE, MEASURE, COMPARE, PIN, BACK, REMOVE, DOWN = re.findall(
    r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
)


def test_the_page_takes_servers_of_ones_own_from_nothing_to_routed_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FISO_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    environ = {
        **os.environ,
        "FISO_LOCAL_DIR": str(tmp_path / "local-cloud"),
        "FISO_LOCAL_PORT": str(free_ports()),
        "PYTHONPATH": os.pathsep.join(str(CHECKOUT / folder) for folder in ("shared", "scripts")),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    folder = tmp_path / "own"
    folder.mkdir()

    def typed(block: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", block], cwd=folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    try:
        typed(UP)
        typed(SERVERS)
        declared = typed(DECLARE)
        assert declared.count("can be reached") == 3
        assert "nothing wrong" in declared
        assert '{"words": 3}' in typed(OBSERVE)
        assert "azure-eastus" in typed(ROUTE)
        assert "blocks" in typed(MEASURE)
        typed(COMPARE)
        assert "azure" in typed(PIN)
        assert "observe" in typed(BACK)
        left = typed(REMOVE)
        assert "words is out" in left
        assert json.loads(typed("fiso endpoints --json"))["endpoints"] == []
    finally:
        typed(DOWN)
