"""The commands against the deployed stage, found by its name."""

import json
import subprocess
import sys
from pathlib import Path

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


def test_copies_of_a_sample_function_answer_alike_but_where_a_host_answers_for_one(
    live: LiveCloud, tmp_path: Path
) -> None:
    (tmp_path / "1.txt").write_text("one two two")
    (tmp_path / "2.txt").write_text("")
    done = fiso(live, "compare", "word-count", "--data", f"@{tmp_path}", "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert (document["cases"], document["differing"], len(document["copies"])) == (2, 0, 3)
    record = live.record(next(iter(document["by_case"][0]["invocations"].values())))
    assert str(record["wish"]).startswith("exclude=")

    # a path that the function does not have: on Azure the host itself says so, with nothing in the body
    (tmp_path / "3.http").write_text("POST /below?a=b HTTP/1.1\ncontent-type: text/plain\n\nto be\n")
    done = fiso(live, "compare", "word-count", "--data", f"@{tmp_path / '3.http'}", "--yes", "--json")
    (case,) = json.loads(done.stdout)["by_case"]
    assert (done.returncode, case["odd"]) == (1, ["azure-eastus"])
