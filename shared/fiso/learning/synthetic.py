"""The brief's generator: 10,000 invented invocations from seed 42, the prior for a router that has seen nothing yet.

Same draws in the same order as the brief's, so the numbers are the brief's own. Two things differ from true records and
the model card says so: costs are 10,000 times true prices, and weekdays come as 0..6, shifted here to ISO 1..7.
"""

import numpy as np

from fiso.learning.dataset import DataSet

SEED = 42
ROWS = 10_000
COST_SCALE = 10_000.0
"""How many times a true price the generated costs are."""
FEATURE_NAMES = (
    "cloud_provider_encoded",
    "function_type_encoded",
    "request_size_bytes",
    "day_of_week",
    "hour_of_day",
    "region_encoded",
    "historical_avg_latency",
    "current_load_factor",
)
NOTE = (
    "Invented by the brief's generator, not measured: a prior only. Its noise (20 ms, independent of every feature) "
    "bounds any model at a mean absolute error of 16.0 ms, so a score here says nothing about true calls. Costs are "
    "10,000 times true prices and price nothing by default. The file comes from a seed: trained_at is no time at all."
)


def generate(rows: int = ROWS, *, seed: int = SEED) -> DataSet:
    """The set. The order of the draws is part of its definition."""
    draw = np.random.RandomState(seed)
    provider = draw.randint(0, 3, rows)
    function_type = draw.randint(0, 5, rows)
    size = draw.exponential(1000, rows)
    weekday = draw.randint(0, 7, rows) + 1
    hour = draw.randint(0, 24, rows)
    region = draw.randint(0, 10, rows)
    history_ms = draw.normal(200, 50, rows)
    load = draw.uniform(0.1, 1.0, rows)
    latency_ms = history_ms * (1 + load) + size * 0.01 + draw.normal(0, 20, rows)
    cost_usd = latency_ms * 0.0001 + draw.normal(0, 0.001, rows)
    success = np.clip(1 - load * 0.1, 0.8, 1.0)
    columns = (provider, function_type, size, weekday, hour, region, history_ms, load)
    return DataSet(
        feature_names=FEATURE_NAMES,
        features=np.column_stack(columns).astype(np.float64),
        latency_ms=latency_ms,
        cost_usd=cost_usd,
        success=success,
        at=np.arange(rows, dtype=np.float64),
        served_latency_ms=np.full(rows, np.nan),
        served_by=("",) * rows,
        tenant=np.zeros(rows),
        reported=np.zeros(rows),
        is_synthetic=True,
    )
