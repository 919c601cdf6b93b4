"""Comparing: the same requests to every copy of a function, and where the answers differ.

The copies are asked at the same moment, one case after the other.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import httpx

from fiso.codecs.typed import Document
from fiso.domain.equivalence import Agreement, Comparable, Ignored, agreement, differences
from fiso_cli.errors import FAILED, CommandError
from fiso_cli.rendering import Output, Part, Table, progress, text
from fiso_cli.traffic.cases import Case
from fiso_cli.traffic.copies import Copies, another_answered
from fiso_cli.traffic.gateway import PROBLEM, Gateway, error_line, unreachable
from fiso_client.core.answers import FunctionAnswer

LARGEST_PARSED = 16 * 1024 * 1024
"""Bytes of a body that are compared as JSON; nobody waits for an answer here."""
MOST_DIFFERENCES = 20
"""Of one case, of two copies."""
NOBODY_ELIGIBLE = 503
_OWN = b'"type": "urn:fiso:problem:'
"""How FISO's own problem documents begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a copy made of a case: an answer, or why there is none. `is_excluded`: the policy does not let it serve."""

    answer: FunctionAnswer | None
    invocation_id: str
    problem: str = ""
    is_excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One case: who answered alike, who not at all (and why), and the differences of each group from the first."""

    case: str
    agreement: Agreement
    problems: Mapping[str, str]
    found: Sequence[Document]
    invocations: Mapping[str, str]

    @property
    def is_alike(self) -> bool:
        """Whether all copies answered, and alike."""
        return self.agreement.is_alike and not self.problems

    @property
    def who(self) -> str:
        """The odd copies, or the groups where nobody can say which is right."""
        silent = [f"{copy} (no answer)" for copy in self.problems]
        groups = self.agreement.groups
        odd = list(self.agreement.odd)
        if odd or len(groups) < 2:
            return ", ".join([*odd, *silent])
        return ", ".join([" | ".join(" ".join(group) for group in groups), *silent])

    @property
    def where(self) -> str:
        """The first place."""
        if self.found:
            return str(self.found[0]["place"])
        return "no answer" if self.problems else ""

    def document(self) -> Document:
        """All of it, for machines."""
        return {
            "case": self.case,
            "is_alike": self.is_alike,
            "groups": [list(group) for group in self.agreement.groups],
            "odd": list(self.agreement.odd),
            "no_answer": dict(self.problems),
            "differences": list(self.found),
            "invocations": dict(self.invocations),
        }


@dataclass(kw_only=True)
class Comparison:
    """A run over cases; `left_out` are the copies that policy does not let serve, and why."""

    gateway: Gateway
    copies: Copies
    ignored: Ignored
    left_out: dict[str, str] = field(default_factory=dict)

    def run(self, cases: Sequence[Case]) -> list[Compared]:
        """Every case on every copy. `CommandError` when FISO is away, or fewer than two copies may be called."""
        done: list[Compared] = []
        with (
            self.gateway.client() as client,
            ThreadPoolExecutor(len(self.copies.ids)) as executor,
            progress(self.copies.function, len(cases)) as bar,
        ):
            for case in cases:
                bar.say(case.name)
                done.append(self._compare(case, lambda copy, case=case: self._ask(client, copy, case), executor))  # type: ignore[misc]
                bar.advance()
        return done

    def _compare(self, case: Case, ask: Callable[[str], Answered], executor: ThreadPoolExecutor) -> Compared:
        asked = [copy for copy in self.copies.ids if copy not in self.left_out]
        answers = dict(zip(asked, executor.map(ask, asked), strict=True))
        for copy, given in answers.items():
            if given.is_excluded:
                self.left_out[copy] = given.problem
        kept = {copy: given for copy, given in answers.items() if copy not in self.left_out}
        if len(kept) < 2:
            why = "; ".join(f"{copy}: {said}" for copy, said in self.left_out.items())
            raise CommandError(f"fewer than two copies of {self.copies.function} may be called: {why}")
        read = {
            copy: Comparable(given.answer, self.ignored, largest=LARGEST_PARSED)
            for copy, given in kept.items()
            if given.answer is not None
        }
        agreed = agreement(read, self.ignored)
        return Compared(
            case=case.name,
            agreement=agreed,
            problems={copy: given.problem for copy, given in kept.items() if given.answer is None},
            found=self._differences(read, agreed),
            invocations={copy: given.invocation_id for copy, given in kept.items()},
        )

    def _differences(self, read: Mapping[str, Comparable], agreed: Agreement) -> list[Document]:
        """Of each further group from the first one."""
        found: list[Document] = []
        for first, other in ((agreed.groups[0][0], group[0]) for group in agreed.groups[1:]):
            every = differences(read[first], read[other], self.ignored)
            for each in islice(every, MOST_DIFFERENCES):
                found.append({"place": each.place, "values": {first: each.this, other: each.that}})
        return found

    def _ask(self, client: httpx.Client, copy: str, case: Case) -> Answered:
        try:
            answer = client.send(self.copies.call(copy, case).request(self.gateway, client))
        except httpx.HTTPError as error:
            raise unreachable(self.gateway.url, error) from error
        id = answer.headers.get("x-fiso-invocation-id", "")
        content_type = answer.headers.get("content-type", "")
        if content_type.startswith(PROBLEM) and _OWN in answer.content[:200]:
            return self._refused(answer, id)
        if answer.headers.get("x-fiso-endpoint") != copy:
            raise another_answered(copy, answer.headers.get("x-fiso-endpoint", "nobody"))
        cookies = tuple(answer.headers.get_list("set-cookie"))
        own = {name: value for name, value in answer.headers.items() if name != "content-encoding"}  # it is undone
        return Answered(
            answer=FunctionAnswer(status=answer.status_code, body=answer.content, headers=own, cookies=cookies),
            invocation_id=id,
        )

    def _refused(self, answer: httpx.Response, id: str) -> Answered:
        """FISO's own answer: about the request, about this copy's place in the policy, or about its failure."""
        said = error_line(answer.status_code, answer.headers.get("content-type", ""), answer.content)
        attempts = answer.headers.get("x-fiso-attempts")
        if attempts is None and answer.status_code < 500:
            raise CommandError(f"FISO took no case: {said}")
        excluded = answer.status_code == NOBODY_ELIGIBLE and attempts == "0"
        return Answered(answer=None, invocation_id=id, problem=said, is_excluded=excluded)


def output(comparison: Comparison, done: Sequence[Compared]) -> Output:
    """The table of what differs, the first case of it whole, and exit code 1 where there is any."""
    function, left_out = comparison.copies.function, comparison.left_out
    differing = [each for each in done if not each.is_alike]
    copies = [copy for copy in comparison.copies.ids if copy not in left_out]
    title = f"{function}: {_counted(len(done), 'case')} on {', '.join(copies)}"
    notes = [f"not compared: {copy} ({why})" for copy, why in left_out.items()]
    shown: list[Part] = [f"{title}: all alike", *notes]
    if differing:
        first = next((each for each in differing if each.found), differing[0])
        shown = [_of_cases(differing, f"{title}: {len(differing)} differ", notes), _of_first(first)]
    return Output(
        document={
            "function": function,
            "copies": copies,
            "not_compared": dict(left_out),
            "cases": len(done),
            "differing": len(differing),
            "by_case": [each.document() for each in done],
        },
        shown=shown,
        exit_code=FAILED if differing else 0,
    )


def _of_cases(differing: Sequence[Compared], title: str, notes: Sequence[str]) -> Table:
    undecided = any(not each.agreement.odd and len(each.agreement.groups) > 1 for each in differing)
    told = ["a | b: nobody can say which is right, for that takes three copies and a majority"] if undecided else []
    return Table(
        title=title,
        columns=[
            text("case"),
            text("differs", lambda each: each.who),
            text("first where", lambda each: each.where),
            text("invocation", lambda each: each.invocations[_named(each)], spare=1),
        ],
        rows=differing,
        notes=[*told, *notes],
    )


def _named(each: Compared) -> str:
    """The copy whose record is worth a look."""
    return next(iter([*each.agreement.odd, *each.problems]), each.agreement.groups[-1][0])


def _of_first(each: Compared) -> Table:
    rows = [(copy, "no answer", problem) for copy, problem in each.problems.items()]
    for found in each.found:
        values = found["values"]
        if isinstance(values, dict):
            rows += [(copy, str(found["place"]), str(value)) for copy, value in values.items()]
    columns = [text("copy", lambda row: row[0]), text("where", lambda row: row[1]), text("says", lambda row: row[2])]
    ids = ", ".join(f"{copy} {id}" for copy, id in each.invocations.items())
    return Table(title=f"\nthe first one, {each.case}", columns=columns, rows=rows, notes=[f"invocations: {ids}"])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("s" if count != 1 else "")
