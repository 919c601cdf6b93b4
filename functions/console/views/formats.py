"""Formats: numbers and times as people read them. Pure; an absent value is a dash, never a zero."""

from collections.abc import Callable, Mapping
from datetime import datetime

from fiso.codecs.policy import policy_to_document
from fiso.codecs.typed import Json
from fiso.domain.policy import Policy

ABSENT = "\N{EN DASH}"


def ms(value: float | None) -> str:
    """A duration: 0.42 ms, 8.4 ms, 84 ms, 1.24 s."""
    if value is None:
        return ABSENT
    if value >= 10_000:
        return f"{value / 1000:.1f}".removesuffix(".0") + " s"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def usd_per_million(cost_usd: float | None) -> str:
    """The price of a million such requests: single ones cost millionths of a dollar. "unpriced" when there is none."""
    if cost_usd is None:
        return "unpriced"
    dollars = cost_usd * 1_000_000
    if dollars and dollars < 0.01:
        return f"${dollars:.2g}"
    return f"${dollars:,.2f}" if dollars < 1000 else f"${dollars:,.0f}"


def usd(cost_usd: float | None) -> str:
    """A sum of money, however small."""
    if cost_usd is None:
        return ABSENT
    amount = abs(cost_usd)
    if 0 < amount < 1e-4:
        return f"{cost_usd * 1e6:.3g} µ$"
    text = f"{amount:,.2f}" if amount >= 1 or not amount else f"{amount:.3g}"
    return f"{'-' if cost_usd < 0 else ''}${text}"


def policy_rows(policy: Policy) -> list[tuple[str, str]]:
    """What a policy says, key by key; what is at its default is left out where it came later."""
    return [(key, plain(value)) for key, value in policy_to_document(policy).items() if value not in (None, [], {})]


def plain(value: Json) -> str:
    """A document's value as people read it."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return "none" if value is None else str(value)


def percent(share: float | None) -> str:
    """A share in [0, 1]: 100 %, 12.5 %; finer close to the ends, where it matters: 0.03 %, 99.97 %."""
    if share is None:
        return ABSENT
    value = share * 100
    fine = 0 < value < 1 or 99 < value < 100
    text = f"{value:.2f}" if fine else f"{value:.1f}"
    return f"{text.rstrip('0').rstrip('.')} %"


def number(value: float | None) -> str:
    """Any number with at most four significant digits; whole numbers whole."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def two(value: float | None) -> str:
    """Two decimals: requests in flight, ratios."""
    return ABSENT if value is None else f"{value:.2f}"


def score(value: float | None) -> str:
    """A score, three decimals."""
    return ABSENT if value is None else f"{value:.3f}"


def size(size_bytes: int | None) -> str:
    """Bytes: 412 B, 1.2 kB, 3.4 MB."""
    if size_bytes is None:
        return ABSENT
    if size_bytes < 1000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1000:.1f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def duration(seconds: float) -> str:
    """An age: 4 s, 3 min, 2 h, 5 days."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h" if whole < 172_800 else f"{whole // 86_400} days"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago."""
    return ABSENT if moment is None else f"{duration((now - moment).total_seconds())} ago"


def clock(moment: datetime | None) -> str:
    """A time of day to the millisecond, with its date, in UTC."""
    return ABSENT if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def yes_no(value: bool | None) -> str:
    """Yes, no, or unknown."""
    return ABSENT if value is None else "yes" if value else "no"


def once_in(chance: float) -> str:
    """A small probability: once in 12,000."""
    times = 1 / max(chance, 1e-12)
    return f"once in {float(f'{times:.2g}'):,.0f}"


def words(name: str) -> str:
    """An identifier as words: deduplicates_on_key becomes "deduplicates on key"."""
    return name.replace("_", " ")


FILTERS: Mapping[str, Callable[..., object]] = {
    form.__name__: form
    for form in (
        ms,
        usd,
        policy_rows,
        usd_per_million,
        percent,
        number,
        two,
        score,
        size,
        ago,
        clock,
        yes_no,
        once_in,
        words,
    )
}
