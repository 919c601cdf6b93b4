"""Plan: the steps to a wanted state, shown first, applied after a yes, taken back in reverse. Imports no cloud.

There is no journal: each step looks at the real thing, so that a run that was killed anywhere is resumed by running it
again, and what somebody changed by hand is seen. A thing that was not made by FISO stops the plan and is never touched.

    steps = [Step(name="bucket fiso-prod", makes="a bucket for packages", look=bucket.look, make=bucket.make), …]
    planned = look_at(steps)
    if agreed(planned, is_sure=yes, as_json=as_json):
        with held(lock) as still:
            done = apply(steps, remark, before=still)
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

import typer

from fiso_cli.errors import BadInput, CommandError
from fiso_cli.rendering import Document, Output, Table, text

Say = Callable[[str], None]
SETTLE_S = 120.0
"""How long a cloud may take until it shows what it has accepted (role assignments, tags, policies)."""


class State(StrEnum):
    """How the real thing is, beside what is wanted."""

    ABSENT = "absent"
    AS_WANTED = "as wanted"
    DIFFERENT = "different"
    NOT_OURS = "not ours"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found; `why` says in words what differs, or whose it is."""

    state: State
    why: str = ""


ABSENT, AS_WANTED = Look(State.ABSENT), Look(State.AS_WANTED)


def different(why: str) -> Look:
    """It is there, and not as wanted."""
    return Look(State.DIFFERENT, why)


def not_ours(why: str) -> Look:
    """It is there without FISO's tags, or with another stage's."""
    return Look(State.NOT_OURS, why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that is made. `make` may be repeated and may find it half made; `undo` may find it gone.

    `look` never changes anything and needs none of the steps before it to be there. Without `undo` a thing stays (an
    API that was enabled). `is_slow` things get a line of progress before they are begun.
    """

    name: str
    makes: str
    look: Callable[[], Look]
    make: Callable[[Say], None]
    undo: Callable[[Say], None] | None = None
    is_slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step and how it was found."""

    step: Step
    found: Look
    goes: bool = False
    """It is there and not asked for any more."""

    @property
    def does(self) -> str:
        """`make`, `change`, `keep` or `refuse`; of what goes `remove`, or `leave` where `remove` leaves it."""
        if self.goes:
            return "remove" if self.found.state is not State.NOT_OURS and self.step.undo else "leave"
        return _DOES[self.found.state]

    @property
    def document(self) -> Document:
        return {"step": self.step.name, "does": self.does, "makes": self.step.makes, "why": self.found.why}


_DOES = {State.ABSENT: "make", State.AS_WANTED: "keep", State.DIFFERENT: "change", State.NOT_OURS: "refuse"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a run did, by the names of steps."""

    made: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    """Not ours, and so not touched."""

    @property
    def document(self) -> dict[str, list[str]]:
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def and_then(self, later: "Done") -> "Done":
        """Both, one after the other."""
        return Done(**{name: [*names, *later.document[name]] for name, names in self.document.items()})


class StepFailed(CommandError):
    """A step that did not come about: which, why, and that the same command goes on from there."""


def look_at(steps: Iterable[Step]) -> list[Planned]:
    """How everything is. Changes nothing."""
    return [Planned(step=step, found=step.look()) for step in steps]


def going(planned: Iterable[Planned]) -> list[Planned]:
    """Of what was found that which is there, as it will go: the last first."""
    return [replace(each, goes=True) for each in reversed([*planned]) if each.found.state is not State.ABSENT]


def refuse_foreign(planned: Sequence[Planned]) -> None:
    """`CommandError` that names all of them where something stands in the way that FISO did not make."""
    lines = [f"{each.step.name}: {each.found.why}" for each in planned if each.found.state is State.NOT_OURS]
    if lines:
        raise CommandError("\n".join([*lines, "not made by this stage of FISO, so not touched: rename or remove it"]))


def shown(planned: Sequence[Planned], title: str) -> Table:
    """The plan as a table that fits 80 columns."""
    rows = [each.document for each in planned]
    return Table(title=title, columns=(text("does"), text("step"), text("what", _what)), rows=rows)


def _what(row: Document) -> str:
    return str(row["why"] or row["makes"])


def is_finished(planned: Sequence[Planned]) -> bool:
    """Whether nothing is left to make or change."""
    return all(each.found.state is State.AS_WANTED for each in planned)


def agreed(question: str, *, is_sure: bool, as_json: bool) -> bool:
    """Whether to go on. Whoever reads JSON is not asked: `BadInput` without `--yes`."""
    if is_sure:
        return True
    if as_json:
        raise BadInput("--json asks nothing: say --yes to go on, or --plan to see the plan alone")
    return typer.confirm(question)


def _nothing() -> None:
    """No lock to ask."""


def apply(
    steps: Sequence[Step],
    say: Say,
    *,
    before: Callable[[], None] = _nothing,
    settle_s: float = SETTLE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> Done:
    """Make and change what is not as wanted, in order; each is looked at again before and after.

    `before` each thing that is made, the lock may say that it was lost.

    Raises `StepFailed`. What was made until then stays, and is kept by the next run.
    """
    done = Done()
    for number, step in enumerate(steps, start=1):
        try:
            found = step.look()
            refuse_foreign([Planned(step=step, found=found)])
            if found.state is State.AS_WANTED:
                done.kept.append(step.name)
                continue
            say(f"[{number}/{len(steps)}] {step.name}: {found.why or step.makes}{' …' if step.is_slow else ''}")
            before()
            step.make(say)
            _settled(step, settle_s, sleep)
        except CommandError as error:
            raise StepFailed(f"{step.name}: {error}{_so_far(number - 1, len(steps))}") from error
        (done.made if found.state is State.ABSENT else done.changed).append(step.name)
    return done


def _so_far(before: int, count: int) -> str:
    return f" ({before} of {count} steps are done; the same command goes on from there)" if count > 1 else ""


def _settled(step: Step, settle_s: float, sleep: Callable[[float], None]) -> None:
    """Until the cloud shows what it accepted: an answer of 200 is not yet one that all its machines know."""
    waited, pause = 0.0, 0.25
    while (found := step.look()).state is not State.AS_WANTED:
        if waited >= settle_s:
            raise CommandError(f"made, but {settle_s:.0f} s later still {found.why or found.state}: run it again")
        sleep(pause)
        waited += pause
        pause = min(pause * 2, 5.0)


def remove(steps: Sequence[Step], say: Say, *, before: Callable[[], None] = _nothing) -> Done:
    """Undo backwards whatever is there and ours; what is not ours is left and said. Raises `StepFailed`."""
    done = Done()
    for step in reversed(steps):
        try:
            found = step.look()
            if found.state is State.ABSENT:
                continue
            if found.state is State.NOT_OURS or step.undo is None:
                done.left.append(step.name)
                continue
            say(f"remove {step.name}{' …' if step.is_slow else ''}")
            before()
            step.undo(say)
        except CommandError as error:
            raise StepFailed(f"{step.name}: {error} (the same command goes on from there)") from error
        done.removed.append(step.name)
    return done


def told(title: str, planned: Sequence[Planned], done: Done | None, **more: object) -> Output:
    """What a command prints: the plan, and what was done about it (None: nothing yet)."""
    document: dict[str, object] = {"plan": [each.document for each in planned], **more}
    parts: list[Table | str] = [shown(planned, title)]
    if done is not None:
        document["done"] = done.document
        counted = [f"{len(names)} {name}" for name, names in done.document.items() if names]
        parts.append(", ".join(counted) or "nothing to do")
        if done.left:
            parts.append(f"left, as it is not this stage's alone or stays for good: {', '.join(done.left)}")
    return Output(document=document, shown=parts)


def words_of(said: Output) -> list[str]:
    """What `told` prints, without the plan: whoever was asked has seen it."""
    return [part for part in said.shown or () if isinstance(part, str)]
