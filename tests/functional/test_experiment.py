"""`fiso experiment`: switchback blocks, intervals under peeking, and the decision."""

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fiso.codecs.record import to_document
from fiso.domain.decision import Reason
from fiso.domain.record import InvocationRecord
from fiso.learning.switchback import ALPHA, FEWEST_BLOCKS, Block, difference
from fiso.routing import constraints
from fiso_cli.main import app
from tests.builders import NOW, a_record, an_attempt

SHARE, BLOCK_S = 0.5, 1_800


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["experiment", *map(str, words)], env={"COLUMNS": "200"})


def a_log(folder: Path, *, hours: int = 60, home: float = 1.0, failing: float = 0.0) -> Path:
    """A request a minute. Home costs and takes `home` times as much; of routed ones a share fails."""
    rng, records = random.Random(1), list[InvocationRecord]()
    for number in range(60 * hours):
        at = NOW + timedelta(minutes=number)
        is_home = constraints.is_control("word-count", at, share=SHARE, block_s=BLOCK_S)
        usd = 30e-6 * (home if is_home else 1.0) * rng.lognormvariate(0, 0.1)
        ms = 200.0 * (home if is_home else 1.0) * rng.lognormvariate(0, 0.2)
        records.append(
            a_record(
                number,
                timestamp=at,
                reason=Reason.CONTROL if is_home else Reason.SCORE,
                cost_usd=usd,
                attempts=(an_attempt(latency_ms=ms, started_at=at, cost_usd=usd),),
                error_occurred=not is_home and rng.random() < failing,
            )
        )
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(to_document(record)) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("world", "decision"),
    [
        ({"home": 3.0}, "route"),
        ({"home": 0.5}, "call home"),
        ({"home": 3.0, "failing": 0.4}, "call home"),
        ({"hours": 4}, "go on"),
    ],
    ids=["better", "worse", "fails more", "too few blocks"],
)
def test_says_what_each_arm_came_to_and_decides(tmp_path: Path, world: dict[str, float], decision: str) -> None:
    asked = ("status", "word-count", "--log", a_log(tmp_path, **world), "--share", SHARE, "--block-s", BLOCK_S)  # type: ignore[arg-type]
    found = json.loads(run(*asked, "--json").output)
    assert found["decision"] == decision, found
    assert sum(arm["requests"] for arm in found["arms"].values()) == 60 * world.get("hours", 60)
    shown = run(*asked)
    assert shown.exit_code == 0, shown.output
    assert f"word-count: {decision}:" in shown.output


def test_what_was_asked_wrongly_is_one_line(tmp_path: Path) -> None:
    done = run("status", "word-count", "--log", a_log(tmp_path, hours=1))
    assert (done.exit_code, "--share and --block-s" in done.output) == (2, True)


def first_conclusion(seed: int, *, effect: float = 0.0) -> float | None:
    """Looked at after every block up to 200; the sign of the first interval without 0."""
    rng, blocks = random.Random(seed), list[Block]()
    for _ in range(200):
        is_new = rng.random() < 0.5
        blocks.append(Block(is_new=is_new, mean=rng.lognormvariate(0, 0.5) + effect * is_new))
        found = difference(blocks, share=0.5, alpha=ALPHA)
        if found is not None and not found.low <= 0 <= found.high:
            return found.value
    return None


def test_equal_arms_are_told_apart_in_at_most_the_stated_share_however_often_one_looks() -> None:
    wrong = sum(first_conclusion(seed) is not None for seed in range(300))
    assert wrong <= 15
    assert all((first_conclusion(seed, effect=1.0) or 0) > 0 for seed in range(20))
    assert (
        difference([Block(is_new=bool(n % 2), mean=1.0) for n in range(2 * FEWEST_BLOCKS - 2)], share=0.5, alpha=ALPHA)
        is None
    )
