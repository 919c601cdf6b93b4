"""The commands against the deployed stage, found by its name."""

import json
import subprocess
import sys

from tests.e2e.conftest import CHECKOUT, LiveCloud, eventually

FISO = (sys.executable, "-c", "from fiso_cli.main import app; app()")


def fiso(live: LiveCloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*FISO, *arguments], cwd=CHECKOUT, env=live.environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_invoke_prints_the_functions_answer_and_then_tail_shows_it(live: LiveCloud) -> None:
    done = fiso(live, "invoke", "word-count", "--data", "one two two", "--json")
    assert done.returncode == 0, done.stderr
    sample = json.loads(done.stdout)
    assert sample["body"] == {"total": 3, "distinct": 2, "words": {"two": 2, "one": 1}}

    def is_shown() -> bool:
        lines = fiso(live, "tail", "--function", "word-count", "--json", "-n", "5").stdout.splitlines()
        return sample["invocation_id"] in [json.loads(line)["invocation_id"] for line in lines]

    eventually(is_shown)


def test_many_requests_give_a_table_per_provider(live: LiveCloud) -> None:
    done = fiso(live, "invoke", "compress", "--data", "x" * 1000, "-n", "20", "-c", "4", "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["requests"], document["failures"]) == (0, 20, 0)
    assert sum(row["requests"] for row in document["by_provider"]) == 20


def test_explain_and_endpoints_print_tables(live: LiveCloud) -> None:
    explained = fiso(live, "explain", "compress", "--data", "x")
    assert "residency" in explained.stdout, explained.stderr
    assert "graph-bfs" in fiso(live, "endpoints").stdout
