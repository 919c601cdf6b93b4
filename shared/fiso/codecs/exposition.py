"""Prometheus' text format, version 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_IN_HELP = str.maketrans({"\\": r"\\", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, its type (counter, gauge, histogram, summary), and its samples as they are written."""

    name: str
    type: str
    help: str
    samples: list[str] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> None:
        """A counter's or gauge's value."""
        self._write("", labels, value)

    def add_sum(self, total: float, count: int, **labels: str) -> None:
        """A summary without quantiles: those of several processes make none of all."""
        self._write("_sum", labels, total)
        self._write("_count", labels, count)

    def add_histogram(self, bounds: Sequence[float], counts: Sequence[int], total: float, **labels: str) -> None:
        """From counts that are not cumulative, one more than there are bounds."""
        below = 0
        for bound, count in zip([*map(_number, bounds), "+Inf"], counts, strict=True):
            below += count
            self._write("_bucket", {**labels, "le": bound}, below)
        self.add_sum(total, below, **labels)

    def _write(self, suffix: str, labels: Labels, value: float) -> None:
        told = ",".join(f'{name}="{text.translate(_ESCAPED)}"' for name, text in labels.items())
        self.samples.append(
            f"{self.name}{suffix}{{{told}}} {_number(value)}" if told else f"{self.name}{suffix} {_number(value)}"
        )


def written(families: Iterable[Family]) -> str:
    """The families that have samples. Each name and set of labels must be there once."""
    lines = list[str]()
    for family in families:
        if family.samples:
            lines += (f"# HELP {family.name} {family.help.translate(_IN_HELP)}", f"# TYPE {family.name} {family.type}")
            lines += family.samples
    return "".join(f"{line}\n" for line in lines)


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
