"""Warming: each copy of a function called with the user's own input, and what FISO recorded of it.

The calls go through FISO and are folded like any other. A wish narrows each to one copy: under a lease the client would
have to reach the clouds itself, and its own way there would be learned from; a pin would move everybody's requests.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import httpx

from fiso.codecs.record import from_document
from fiso.domain.errors import InvalidRecord
from fiso.domain.record import InvocationRecord
from fiso_cli.errors import FAILED, CommandError
from fiso_cli.rendering import Bar, Output, Part, Table, figure, ms, progress, text, usd
from fiso_cli.traffic import calls, samples
from fiso_cli.traffic.cases import Case
from fiso_cli.traffic.copies import Copies, another_answered
from fiso_cli.traffic.documents import parsed
from fiso_cli.traffic.gateway import Gateway
from fiso_cli.traffic.invoke import INTERRUPTED
from fiso_cli.traffic.samples import Sample

NOBODY_ELIGIBLE = 503


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call as the client saw it, and FISO's record of it; None where it could not be read."""

    sample: Sample
    record: InvocationRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """All calls of one copy. `mean_ms` is of good answers, as FISO saw them, starts included; `cost_usd` is estimated.
    What no record tells is None."""

    endpoint: str
    calls: int
    answered: int
    mean_ms: float | None
    cold: int | None
    cost_usd: float | None
    problems: Mapping[str, int]

    @classmethod
    def of(cls, endpoint: str, done: Sequence[Called]) -> "Tally":
        """The sum of a copy's calls."""
        records = [call.record for call in done if call.record is not None]
        good = [call.record for call in done if call.record is not None and call.sample.problem is None]
        times = [record.result.execution_time_ms for record in good if record.result.execution_time_ms is not None]
        starts = [record.result.cold_start for record in records if record.result.cold_start is not None]
        costs = [record.result.cost_usd for record in records if record.result.cost_usd is not None]
        return cls(
            endpoint=endpoint,
            calls=len(done),
            answered=sum(call.sample.problem is None for call in done),
            mean_ms=sum(times) / len(times) if times else None,
            cold=sum(starts) if starts else None,
            cost_usd=sum(costs) if costs else None,
            problems=samples.problems(call.sample for call in done),
        )


@dataclass(kw_only=True)
class Warming:
    """A run of `count` calls of each copy, the cases in turn. `left_out` are copies that may not be called, and why."""

    gateway: Gateway
    copies: Copies
    cases: Sequence[Case]
    count: int
    done: dict[str, list[Called]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    async def run(self, bar: Bar) -> None:
        """All copies at once, each with one call at a time: more would be load, and no first impression.

        `CommandError` when the stage heeds no wish. A copy whose first call FISO refuses is asked no second time.
        """
        async with self.gateway.async_client(len(self.copies.ids)) as client:
            await asyncio.gather(*(self._warm(client, copy, bar) for copy in self.copies.ids))

    async def _warm(self, client: httpx.AsyncClient, copy: str, bar: Bar) -> None:
        for number in range(self.count):
            call = self.copies.call(copy, self.cases[number % len(self.cases)])
            sample, _ = await calls.attempt(call, client.send(call.request(self.gateway, client)))
            if _is_excluded(sample):
                self.left_out[copy] = sample.problem or ""
                bar.advance(self.count - number)
                return
            if sample.endpoint not in (None, copy):
                raise another_answered(copy, str(sample.endpoint))
            self.done.setdefault(copy, []).append(Called(sample=sample, record=await self._record(client, sample)))
            if _is_refused(sample) and number == 0:
                bar.advance(self.count)
                return
            bar.advance()

    async def _record(self, client: httpx.AsyncClient, sample: Sample) -> InvocationRecord | None:
        """None also while the log is away: the call was made and counts all the same."""
        if sample.invocation_id is None:
            return None
        try:
            answer = await client.get(self.gateway.address("v1", "invocations", sample.invocation_id))
            found = from_document(parsed(answer.content)) if answer.status_code == httpx.codes.OK else None
        except (httpx.HTTPError, CommandError, InvalidRecord):
            return None
        return found if isinstance(found, InvocationRecord) else None


def _is_refused(sample: Sample) -> bool:
    return sample.endpoint is None and sample.status is not None and sample.status < 500


def _is_excluded(sample: Sample) -> bool:
    """Whether a decision was made (a model is named, or that there is none) by which nobody may be called."""
    return sample.status == NOBODY_ELIGIBLE and sample.attempts == 0 and sample.model_version is not None


def output(warming: Warming) -> Output:
    """Runs it: a table of the copies; exit code 1 where one never answered. Ctrl-C stops it and shows what was done."""
    copies, was_interrupted = warming.copies, False
    with progress(copies.function, warming.count * len(copies.ids)) as bar:
        try:
            asyncio.run(warming.run(bar))
        except KeyboardInterrupt:
            was_interrupted = True
    tallies = [Tally.of(copy, warming.done[copy]) for copy in copies.ids if copy in warming.done]
    left_out = {copy: warming.left_out[copy] for copy in copies.ids if copy in warming.left_out}
    if not was_interrupted:
        _refuse_uncalled(warming, left_out)
    failed = any(not tally.answered for tally in tallies)
    return Output(
        document={
            "function": copies.function,
            "calls": warming.count,
            "interrupted": was_interrupted,
            "copies": [asdict(tally) for tally in tallies],
            "not_called": left_out,
        },
        shown=[_of_tallies(warming, tallies, "stopped, " if was_interrupted else "")],
        exit_code=INTERRUPTED if was_interrupted else FAILED if failed else 0,
    )


def _refuse_uncalled(warming: Warming, left_out: Mapping[str, str]) -> None:
    """One line where no call got as far as a copy."""
    seen = [call.sample for of_copy in warming.done.values() for call in of_copy]
    if not seen:
        why = "; ".join(f"{copy}: {said}" for copy, said in left_out.items())
        raise CommandError(f"no copy of {warming.copies.function} may be called: {why}")
    if all(map(_is_refused, seen)):
        said = str(seen[0].problem)
        way_out = " (name exclude in its `wishes` for that long)" if "lets no caller send" in said else ""
        raise CommandError(f"FISO took no call: {said}{way_out}")


def _of_tallies(warming: Warming, tallies: Sequence[Tally], stopped: str) -> Part:
    answered, made = sum(tally.answered for tally in tallies), sum(tally.calls for tally in tallies)
    unread = sum(call.record is None for of_copy in warming.done.values() for call in of_copy)
    unused = max(0, len(warming.cases) - warming.count)
    return Table(
        title=f"{warming.copies.function}: {stopped}{answered} of {made} calls answered",
        columns=[
            text("copy", "endpoint"),
            figure("calls"),
            figure("answered"),
            figure("mean ms", "mean_ms", ms),
            figure("cold", spare=2),
            figure("cost USD", "cost_usd", usd, spare=1),
        ],
        rows=tallies,
        style=lambda tally: "" if tally.answered else "red",
        notes=[
            *(f"{tally.endpoint}: {count} x {said}" for tally in tallies for said, count in tally.problems.items()),
            *(f"not called: {copy} ({why})" for copy, why in warming.left_out.items()),
            *([f"{unread} calls have no record yet: time, start and cost of them are left out"] if unread else []),
            *([f"{unused} of {len(warming.cases)} cases had no turn: -n is the calls of each copy"] if unused else []),
        ],
    )
