"""What Prometheus makes of an exposition: its own client's parser, and rules of its linter (promtool check metrics)."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

UNITS = ("days", "milliseconds", "minutes", "hours", "bytes_total_kb", "kilobytes", "percent")
"""What a name must not end in: base units only (seconds, bytes, ratio)."""


class Series(NamedTuple):
    name: str
    labels: frozenset[tuple[str, str]]


def samples_of(text: str) -> dict[Series, float]:
    """Every sample once. `AssertionError` for what promtool would complain of."""
    found: dict[Series, float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in {"counter", "gauge", "histogram", "summary"}, family.name
        written = f"{family.name}_total" if family.type == "counter" else family.name
        assert f"# HELP {written} " in text, "a counter ends in _total"
        assert f"# TYPE {written} {family.type}" in text
        assert re.fullmatch(r"fiso_[a-z]+(_[a-z]+)*", family.name), family.name
        assert not family.name.endswith((*UNITS, "_count", "_sum", "_bucket")), family.name
        assert (family.type == "counter") == written.endswith("_total"), family.name
        for sample in family.samples:
            series = Series(sample.name, frozenset(sample.labels.items()))
            assert series not in found, f"twice: {series}"
            found[series] = sample.value
        if family.type == "histogram":
            _check_buckets(family.samples)
    return found


def _check_buckets(samples: Iterable[Sample]) -> None:
    """Cumulative, in order, with +Inf, which is the count."""
    by_labels: dict[frozenset[tuple[str, str]], list[Sample]] = {}
    for sample in samples:
        labels = frozenset((name, value) for name, value in sample.labels.items() if name != "le")
        by_labels.setdefault(labels, []).append(sample)
    for of_one in by_labels.values():
        buckets = [(float(s.labels["le"]), s.value) for s in of_one if s.name.endswith("_bucket")]
        assert buckets == sorted(buckets), "cumulative, in order"
        assert buckets[-1][0] == float("inf")
        (count,) = [s.value for s in of_one if s.name.endswith("_count")]
        assert buckets[-1][1] == count


def value_of(samples: Mapping[Series, float], name: str, **labels: str) -> float:
    """The sum over all series that have these labels."""
    wanted = frozenset(labels.items())
    return sum(value for series, value in samples.items() if series.name == name and wanted <= series.labels)
