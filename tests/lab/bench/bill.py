"""A bill of 100,000 lines: what matching it with a log takes, beside adding up the same file and nothing more.

In seconds of a processor, which is all that either waits for: other work on the machine makes no difference to them.

`python -m tests.lab.bench.bill LOG CATALOG BILL` is one such report.
"""

import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import cycle, islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from subprocess import DEVNULL, run
from time import process_time

from fiso_cli.main import app
from tests.bills import CATALOG, SAMPLES, calls, written
from tests.lab.bench.rows import Row, at_most, row

LINES = 100_000
ROUNDS = 3


def rows() -> Sequence[Row]:
    """Time and peak memory of the whole command; a third of the lines are of resources of their own."""
    with tempfile.TemporaryDirectory() as folder:
        bill = _bill(Path(folder) / "bill.csv")
        catalog = Path(folder) / "fiso.yaml"
        catalog.write_text(CATALOG, encoding="utf-8")
        log = written(calls(range(48)), Path(folder) / "log.jsonl")
        ours = [_reported(log, catalog, bill) for _ in range(ROUNDS)]
        adding = [_added(bill) for _ in range(ROUNDS)]
    rival = "the csv module and a sum"
    return [
        row("bill_s", min(s for s, _ in ours), "s", rival=rival, rival_value=min(adding), n=LINES, gate=at_most(30)),
        row("bill_peak_mb", max(mb for _, mb in ours), "MB", rival="", rival_value=None, n=LINES, gate=at_most(1_000)),
    ]


def _bill(path: Path) -> Path:
    with (SAMPLES / "aws.csv").open(encoding="utf-8", newline="") as file:
        samples = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, samples[0])
        writer.writeheader()
        writer.writerows(_lines(samples))
    return path


def _lines(samples: Sequence[dict[str, str]]) -> Iterator[dict[str, str]]:
    for number, sample in enumerate(islice(cycle(samples), LINES)):
        day, hour = 1 + number % 28, number // 28 % 23
        start, end = (f"2026-06-{day:02}T{each:02}:00:00.000Z" for each in (hour, hour + 1))
        line = sample | {"ChargePeriodStart": start, "ChargePeriodEnd": end}
        yield line | {"ResourceId": f"arn:aws:s3:::bucket-{number}"} if number % 3 == 0 else line


def _reported(log: Path, catalog: Path, bill: Path) -> tuple[float, float]:
    """What the whole process used of a processor, and its peak in MB."""
    with tempfile.NamedTemporaryFile(mode="r", encoding="ascii") as peak:
        module = ["tests.lab.bench.bill", str(log), str(catalog), str(bill)]
        began = _childrens_s()
        run([sys.executable, "-m", "tests.lab.bench.peak", peak.name, *module], check=True, stdout=DEVNULL)  # nosec B603
        return _childrens_s() - began, float(peak.read())


def _childrens_s() -> float:
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _added(bill: Path) -> float:
    began = process_time()
    with bill.open(encoding="utf-8", newline="") as file:
        sum(Decimal(line["BilledCost"]) for line in csv.DictReader(file))
    return process_time() - began


if __name__ == "__main__":
    given_log, given_catalog, given_bill = sys.argv[1:]
    app(["report", "savings", "--log", given_log, "-f", given_catalog, "--bill", given_bill], standalone_mode=False)
