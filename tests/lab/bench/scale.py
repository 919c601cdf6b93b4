"""What breaks first as a stage grows: each part's use at a rate of requests, over the limit that its service publishes.

Arithmetic on what `fiso cost` counts on the code and on the services' published defaults; nothing here was measured on
AWS. A share above 1 is a part that does not hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fiso.billing import hop
from fiso.billing.hop import Work
from fiso_cli.cost import measured, template
from tests.lab.bench import rows
from tests.lab.bench.keeper import LONGEST_ROUND_S, rounds_s
from tests.lab.bench.rows import Row

RATES = (1, 10, 100, 1_000, 5_000)
FUNCTION_S = 1.0
"""A function's usual time in this model; its copies on AWS are in the same account."""
OWN_SHARE = 1 / 3
"""Of requests that a copy in this account serves."""
HOT_SHARE = 0.5
"""Of the requests that are for one function."""
GROWS_S = 60.0
"""In which a stage comes from nothing to its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part's limit, by default, and its use at a rate of requests a second. `mend` is what raises it."""

    name: str
    limit: float
    source: str
    mend: str
    used: Callable[[float, Work], float]

    def share(self, rate_per_s: float, work: Work) -> float:
        """Of the limit that is used."""
        return self.used(rate_per_s, work) / self.limit


def environments(rate_per_s: float) -> float:
    """Of the orchestrator, at once."""
    return rate_per_s * (FUNCTION_S + 0.015)


KEY_BYTES, STREAM_SHARDS = 40, 4
"""Of a record in a list, compressed; an entry for each batch of a shard, every two seconds."""


def table_units(rate_per_s: float, work: Work) -> float:
    """Write units a second of the log's table alone."""
    return rate_per_s * (work.record_units + work.intent_units)


PARTS = (
    Part(
        name="API Gateway, requests",
        limit=10_000,
        source='"Quotas for HTTP APIs": 10,000 a second, account and region',
        mend="ask AWS; routeRate and routeBurst of the stage are lower",
        used=lambda rate, _: rate,
    ),
    Part(
        name="API Gateway, a route of the stage",
        limit=2_000,
        source="routeRate in serverless.yml",
        mend="routeRate, routeBurst",
        used=lambda rate, _: rate,
    ),
    Part(
        name="Lambda, at once (front door and copies here)",
        limit=1_000,
        source='"Lambda quotas": 1,000 at once, account and region',
        mend="ask AWS; reservedConcurrency keeps the front door's share",
        used=lambda rate, _: environments(rate) + OWN_SHARE * rate * FUNCTION_S,
    ),
    Part(
        name="Lambda, new environments in 10 s",
        limit=1_000,
        source='"Lambda function scaling": 1,000 every 10 s for a function',
        mend="grow slower, provisioned concurrency",
        used=lambda rate, _: environments(rate) * 10 / GROWS_S,
    ),
    Part(
        name="log's table, a new one on demand",
        limit=4_000,
        source='"DynamoDB on-demand capacity mode": 4,000 write units a second to begin with',
        mend="WarmThroughput before a launch",
        used=table_units,
    ),
    Part(
        name="lists of the newest, one tenant's partition",
        limit=1_000,
        source='"Best practices for designing and using partition keys": 1,000 write units a second',
        mend="the day's hours as partitions",
        used=lambda rate, _: rate * KEY_BYTES / 1024 + STREAM_SHARDS / 2,
    ),
    Part(
        name="states of the hottest function, folded a second",
        limit=3_000,
        source="python -m tests.lab bench --only fold_lag, with consumerMemory 1769",
        mend="split the function",
        used=lambda rate, _: HOT_SHARE * rate,
    ),
    Part(
        name="the same with consumerMemory 512",
        limit=1_000,
        source="the same",
        mend="consumerMemory: 1769",
        used=lambda rate, _: HOT_SHARE * rate,
    ),
    Part(
        name="lease keys, reads while the stage grows",
        limit=40,
        source='"AWS Systems Manager quotas": 40 GetParameter a second',
        mend="higher throughput of Parameter Store (10,000 a second)",
        used=lambda rate, _: environments(rate) / GROWS_S + environments(rate) / 300,
    ),
    Part(
        name="catalog and models, GETs of one prefix",
        limit=5_500,
        source='"Best practices design patterns: optimizing Amazon S3 performance"',
        mend="none needed",
        used=lambda rate, _: environments(rate) / hop.READ_EVERY_S,
    ),
    Part(
        name="log lines, written (MB/s)",
        limit=10 * 1_024,
        source='"CloudWatch Logs quotas": 5,000 PutLogEvents of 1 MB a second; Lambda sends by environment',
        mend="none needed",
        used=lambda rate, work: rate * (work.log_bytes + hop.LAMBDA_LINES_BYTES) / 1e6,
    ),
    Part(
        name="keeper's round (s)",
        limit=LONGEST_ROUND_S,
        source="python -m tests.lab bench --only keeper_round",
        mend="none needed: what is not spilled is not read",
        used=lambda rate, _: max(rounds_s(rate)),
    ),
)


def first(rate_per_s: float, work: Work) -> tuple[Part, float]:
    """The part that is nearest to its limit, or the farthest beyond, and how much of it is used."""
    part = max(PARTS, key=lambda each: each.share(rate_per_s, work))
    return part, part.share(rate_per_s, work)


def measure(say: Callable[[str], object]) -> Sequence[Row]:
    """What breaks first at each rate; the rates up to which all holds."""
    work, setup = measured.work(), template.setup()
    say(f"functions of {FUNCTION_S:g} s, {OWN_SHARE:.0%} on AWS here, {HOT_SHARE:.0%} of one; {setup.memory_mb} MB")
    found = []
    for rate_per_s in RATES:
        shares = sorted(((part.share(rate_per_s, work), part) for part in PARTS), key=lambda each: -each[0])
        for share, part in shares:
            if share > 0.5 or part is shares[0][1]:
                say(f"{rate_per_s:>5} a second: {share:6.0%} of {part.name} ({part.source}); {part.mend}")
        found.append(
            rows.row(
                f"scale_{rate_per_s}_per_s",
                shares[0][0],
                f"of {shares[0][1].name}",
                rival="",
                rival_value=None,
                n=len(PARTS),
                gate=rows.at_most(1) if rate_per_s <= 100 else None,
            )
        )
    return found
