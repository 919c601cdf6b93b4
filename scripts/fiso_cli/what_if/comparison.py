"""Comparisons: a log read once, record by record, into one off-policy evaluation per function and loss. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import FunctionName
from fiso.domain.policy import CostSource
from fiso.domain.record import InvocationRecord
from fiso.learning import logged, ope
from fiso.learning.logged import Loss
from fiso.learning.ope import Evaluation, Overlap, Refusal
from fiso_cli.what_if.rescoring import probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One function under the new policy: the evaluations per loss, or the refusal that they share.

    A loss that is missing is not known in `unpriced` of the records. `unusable` records say nothing of a choice.
    `agreement` is the share of records where the new policy's likeliest first call was the old one's, too.
    """

    function: FunctionName
    overlap: Overlap
    refusal: Refusal | None
    evaluations: Mapping[Loss, Evaluation]
    unusable: int
    unpriced: int
    agreement: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """All functions of the file that the log has, and those that only one of the two knows, with their records."""

    comparisons: tuple[Comparison, ...]
    not_in_log: tuple[FunctionName, ...]
    not_in_file: Mapping[FunctionName, int]


def compare(records: Iterable[InvocationRecord], entries: Sequence[CatalogEntry]) -> Answer:
    """Read the log once. Holds a few hundred bytes a record, never the records."""
    open_functions = {entry.name: _Function(entry) for entry in entries}
    strangers: Counter[FunctionName] = Counter()
    for record in records:
        function = open_functions.get(record.request.function_name)
        if function is None:
            strangers[record.request.function_name] += 1
        else:
            function.add(record)
    return Answer(
        comparisons=tuple(function.comparison() for function in open_functions.values() if function.records),
        not_in_log=tuple(name for name, function in open_functions.items() if not function.records),
        not_in_file=dict(sorted(strangers.items())),
    )


class _Function:
    """One function's logs as they grow."""

    def __init__(self, entry: CatalogEntry) -> None:
        self.records = 0
        self._entry = entry
        self._logs = {loss: ope.Log() for loss in Loss}
        self._unusable = self._unpriced = self._agreed = 0

    def add(self, record: InvocationRecord) -> None:
        self.records += 1
        if not logged.is_usable(record):
            self._unusable += 1
            return
        policy = probabilities(self._entry, record)
        self._agreed += _likeliest(policy) == _likeliest({c.endpoint: c.propensity for c in record.decision.candidates})
        for loss, log in self._logs.items():
            decision = logged.decision_of(record, loss)
            if decision is not None:
                log.add(decision, policy)
            elif loss is Loss.COST:
                self._unpriced += 1
            else:
                raise ValueError(f"record {record.invocation_id} has no {loss}")

    def comparison(self) -> Comparison:
        evaluations: dict[Loss, Evaluation] = {}
        refusal: Refusal | None = None
        for loss, log in self._logs.items():
            if loss is Loss.COST and self._unpriced:
                continue
            found = log.evaluate(is_share=loss is Loss.FAILURE)
            if isinstance(found, Refusal):
                refusal = found
            else:
                evaluations[loss] = found
        return Comparison(
            function=self._entry.name,
            overlap=self._logs[Loss.LATENCY].overlap(),
            refusal=refusal,
            evaluations={} if refusal else evaluations,
            unusable=self._unusable,
            unpriced=self._unpriced,
            agreement=self._agreed / max(1, self.records - self._unusable),
            notes=tuple(_notes(self._entry)),
        )


def _likeliest(chances: ope.Probabilities) -> str:
    return max(chances, key=lambda endpoint: (chances[endpoint], endpoint))


def _notes(entry: CatalogEntry) -> Iterable[str]:
    if entry.policy.cost_source is CostSource.MODEL:
        yield "cost_source model: what the trained cost target said is not logged, the tariff's cost was used"
