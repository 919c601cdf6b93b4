"""Reports: comparisons as tables with what they mean in words, and as JSON."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict

from fiso.learning.intervals import Estimate
from fiso.learning.logged import Loss
from fiso.learning.ope import Evaluation, Overlap
from fiso_cli.rendering import Part, Table, figure, plain, text
from fiso_cli.what_if.comparison import Answer, Comparison

Document = dict[str, object]

MEANING = (
    "What this is: one-step values. Had the new policy chosen the first call in each logged situation, its first",
    "attempts would have come to this on average, by the propensities of the first attempts that were logged. How the",
    "new policy would have warmed, loaded and learned of the endpoints is not in it. A failed first attempt is charged",
    "all that followed from it. What is not logged is not re-scored: how sure predictions were, so the new policy is",
    "its best candidate and its inverse-gap share, without tries for knowledge. Ask about the policy in force first:",
    "what differs from the log then is due to that. Intervals are 95 %. SNIPS reweighs what was logged, DR also uses",
    "the logged predictions; where the two disagree by more than their intervals, trust neither.",
)


_FIGURES = (
    (Loss.LATENCY, "latency_ms", 1.0, 1),
    (Loss.COST, "cost_per_million", 1e6, 3),
    (Loss.FAILURE, "success", -1.0, 4),  # a success is 1 less a failure
)
"""By loss: the name, the factor to its unit, and decimals."""
_PARTS = ("logged", "snips", "dr", "snips_difference", "dr_difference")
_Figure = Mapping[str, Estimate]
"""One evaluation's estimates by _PARTS, in the unit they are shown in."""


def parts(answer: Answer) -> list[Part]:
    """All that is shown: figures, what must be known beside them, who is missing, and how they are meant."""
    if not answer.comparisons:
        return [*_strangers(answer), "the log has no records of the file's functions"]
    shown: list[Part] = []
    for comparison in answer.comparisons:
        if not comparison.refusal:
            shown.append(_table(comparison))
        shown += _remarks(comparison)
    evaluated = any(not comparison.refusal for comparison in answer.comparisons)
    return [*shown, *_refusals(answer), *_strangers(answer), *(MEANING if evaluated else ())]


def _table(comparison: Comparison) -> Table:
    """One function's figures."""
    overlap = comparison.overlap
    return Table(
        title=f"{comparison.function}: n {overlap.records:,}, effective sample size {overlap.sample_size:,.0f}, "
        f"same first choice in {comparison.agreement:.0%}",
        columns=[
            text("mean per call", lambda row: row[0]),
            *(figure(title, _estimate(part), plain, spare=spare) for title, part, spare in _COLUMNS),
        ],
        rows=list(_figures(comparison.evaluations)),
    )


_COLUMNS = (
    ("logged", "logged", 0),
    ("new, SNIPS", "snips", 3),
    ("new, DR", "dr", 1),
    ("difference, SNIPS", "snips_difference", 2),
    ("difference, DR", "dr_difference", 0),
)


def _estimate(part: str) -> Callable[[tuple[str, int, _Figure]], str]:
    return lambda row: _shown(row[2][part], row[1], "+" if "difference" in part else "")


def _remarks(comparison: Comparison) -> Iterator[str]:
    """What must be known beside the figures."""
    name, overlap = comparison.function, comparison.overlap
    if comparison.unusable:
        yield f"{name}: {comparison.unusable:,} records name no first attempt with a propensity and were not used"
    if comparison.unpriced:
        yield f"{name}: no cost: an endpoint is unpriced in {comparison.unpriced:,} records"
    if overlap.uncovered_share and not comparison.refusal:
        yield (
            f"{name}: {overlap.uncovered_share:.1%} of the new policy's choices could not have been called in the log; "
            f"the rest was evaluated ({overlap.left_out:,} records left out)"
        )
    yield from (f"{name}: {note}" for note in comparison.notes)


def _refusals(answer: Answer) -> Iterator[str]:
    """A line per function that the log cannot speak of."""
    for comparison in answer.comparisons:
        if comparison.refusal:
            yield (
                f"{comparison.function}: refused ({comparison.refusal.reason}): {comparison.refusal.detail}. "
                f"{_WAYS_OUT[comparison.refusal.reason]}"
            )


def _strangers(answer: Answer) -> Iterator[str]:
    """Functions that only the file or only the log knows."""
    if answer.not_in_log:
        yield f"in the file but not in the log: {', '.join(answer.not_in_log)}"
    if answer.not_in_file:
        named = ", ".join(f"{name} ({count:,} records)" for name, count in answer.not_in_file.items())
        yield f"in the log but not in the file: {named}"


def document(answer: Answer) -> Document:
    """The answer for machines: ms, USD per million calls, shares."""
    return {
        "meaning": " ".join(MEANING),
        "functions": [_function(comparison) for comparison in answer.comparisons],
        "not_in_log": list(answer.not_in_log),
        "not_in_file": dict(answer.not_in_file),
    }


_WAYS_OUT = {
    "no_records": "Take a longer --since",
    "uncovered": "Try a policy nearer to the one in force, or let that one explore (mode route, exploration above 0)",
    "few": "Take a longer --since, or let the policy in force explore more",
    "dominated": "Take a longer --since, or let the policy in force explore more",
}


def _function(comparison: Comparison) -> Document:
    refusal = comparison.refusal
    return {
        "function": comparison.function,
        "overlap": _overlap(comparison.overlap),
        "agreement": comparison.agreement,
        "unusable": comparison.unusable,
        "unpriced": comparison.unpriced,
        "notes": list(comparison.notes),
        "refusal": {"reason": refusal.reason.value, "detail": refusal.detail} if refusal else None,
        "figures": {
            name: {part: asdict(estimate) for part, estimate in figure.items()}
            for name, _, figure in _figures(comparison.evaluations)
        },
    }


def _overlap(overlap: Overlap) -> Document:
    names = ("records", "clusters", "left_out", "sample_size", "expected_size", "largest_share", "mean_weight")
    return {name: getattr(overlap, name) for name in names} | {"uncovered": dict(overlap.uncovered)}


def _figures(evaluations: Mapping[Loss, Evaluation]) -> Iterator[tuple[str, int, _Figure]]:
    for loss, name, factor, decimals in _FIGURES:
        if loss in evaluations:
            found = {part: getattr(evaluations[loss], part) for part in _PARTS}
            yield name, decimals, {part: _in_unit(estimate, factor, part) for part, estimate in found.items()}


def _in_unit(estimate: Estimate, factor: float, part: str) -> Estimate:
    offset = 1.0 if factor < 0 and "difference" not in part else 0.0
    low, high = sorted((offset + factor * estimate.low, offset + factor * estimate.high))
    return Estimate(value=offset + factor * estimate.value, low=low, high=high)


def _shown(estimate: Estimate, decimals: int, sign: str) -> str:
    form = f"{sign},.{decimals}f"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"
