"""Commands of one function's policy: `fiso policy show | pin | unpin | mode | history | diff | rollback`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple, TypeAlias

import typer

from fiso.codecs.catalog import entry_to_document
from fiso.codecs.record import instant
from fiso.codecs.typed import Document
from fiso.domain.endpoint import FunctionName
from fiso.domain.policy import Mode, Pin
from fiso.ports import CatalogVersion
from fiso.services.maintenance.switch import Alter, in_mode, pinned_to
from fiso_cli.catalog import change, difference, view
from fiso_cli.catalog.commands import WaitOption, author, learnt, told
from fiso_cli.errors import BadInput, CommandError, DatabaseUnreachable
from fiso_cli.options import FunctionArgument, StageOption, UrlOption
from fiso_cli.rendering import Output, remark
from fiso_cli.stage import Stage

ViaOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--via", metavar="WAY", help="database or api (fiso:admin); left out, the API where no database can be reached."
    ),
]
VersionArgument: TypeAlias = Annotated[int, typer.Argument(help="A version of `fiso policy history`.", min=1)]

_SPAN = re.compile(r"([1-9][0-9]{0,4})(m|h|d)")
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def show(function: FunctionArgument, *, stage: StageOption = "local") -> Output:
    """A function's endpoints and policy in force, with who pinned it, why and until when.

    \b
    fiso policy show compress --stage prod
    """
    newest = loaded(stage)
    entry = change.entry_of(newest, function).at(datetime.now(UTC))
    document = {"catalog_version": newest.version, **entry_to_document(entry)}
    return Output(document=document, shown=view.of_entry(entry, newest.version))


def pin(
    function: FunctionArgument,
    endpoint: Annotated[str, typer.Argument(help="The endpoint that every request goes to.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; shown to whoever looks.")] = "",
    lasts: Annotated[str, typer.Option("--for", metavar="SPAN", help="It lifts itself after this: 30m, 1h, 7d.")] = "",
    stage: StageOption = "local",
    via: ViaOption = "",
    api_url: UrlOption = "",
    wait: WaitOption = True,
) -> Output:
    """The kill switch: send every request of a function to one endpoint; returns when that holds.

    \b
    fiso policy pin compress aws-use1 --reason 'gcp is slow' --for 1h
    fiso policy pin compress aws-use1 --stage prod --via api
    """
    now = datetime.now(UTC)
    said = Pin(by=author(), at=now, reason=reason.strip(), until=now + _span(lasts) if lasts else None)
    asked: Document = {
        "endpoint": endpoint,
        "reason": said.reason,
        "until": instant(said.until) if said.until else None,
    }
    return _switch(function, pinned_to(endpoint, said), Order("PUT", asked, via, api_url), stage, wait=wait)


def unpin(
    function: FunctionArgument,
    *,
    observe: Annotated[bool, typer.Option("--observe", help="To observing, whatever was before.")] = False,
    stage: StageOption = "local",
    via: ViaOption = "",
    api_url: UrlOption = "",
    wait: WaitOption = True,
) -> Output:
    """Lift a pin: back to the mode from before it.

    \b
    fiso policy unpin compress
    """
    wanted = Mode.OBSERVE if observe else None
    asked: Document = {"mode": wanted.value if wanted else None}
    return _switch(function, in_mode(wanted), Order("DELETE", asked, via, api_url), stage, wait=wait)


def mode(
    function: FunctionArgument,
    wanted: Annotated[str, typer.Argument(metavar="MODE", help="route, observe or pin:<endpoint>.")],
    *,
    stage: StageOption = "local",
    wait: WaitOption = True,
) -> Output:
    """Set a function's mode.

    \b
    fiso policy mode compress observe
    """
    word, _, endpoint = wanted.partition(":")
    if word == Mode.PIN and endpoint:
        return pin(function, endpoint, stage=stage, wait=wait)
    if wanted in (Mode.ROUTE, Mode.OBSERVE):
        return altered(function, in_mode(Mode(wanted)), stage, wait=wait)
    raise BadInput(f"mode {wanted!r}: must be route, observe or pin:<endpoint>")


def history(function: FunctionArgument, *, stage: StageOption = "local") -> Output:
    """The versions at which a function's policy changed, when and by whom, the newest first.

    \b
    fiso policy history compress
    """
    where = Stage.named(stage)
    with where.wrapped_errors():
        found = where.catalog_store().history(FunctionName(function))
    if not found:
        raise CommandError(f"no version of stage {stage}'s catalog has a function {function!r}")
    rows = [{"version": at.version, "changed_at": instant(at.changed_at), "author": at.author} for at in found]
    return Output(document={"function": function, "versions": rows}, shown=[view.of_history(function, found)])


def diff(
    function: FunctionArgument,
    before: VersionArgument,
    after: Annotated[int | None, typer.Argument(help="Another one; the newest when left out.", min=1)] = None,
    *,
    stage: StageOption = "local",
) -> Output:
    """What changed in a function between two versions.

    \b
    fiso policy diff compress 3 7
    """
    versions = [loaded(stage, before), loaded(stage, after)]
    old, new = (change.entry_of(version, function) for version in versions)
    found = difference.changes({old.name: old}, [new])
    numbers, documents = [version.version for version in versions], [each.to_document() for each in found]
    return Output(
        document={"function": function, "versions": numbers, "changes": documents},
        shown=[view.of_changes(found)] if found else ["no changes"],
    )


def rollback(
    function: FunctionArgument,
    version: VersionArgument,
    *,
    stage: StageOption = "local",
    wait: WaitOption = True,
) -> Output:
    """Write a new version in which a function's policy is what it was in an earlier one.

    \b
    fiso policy rollback compress 3
    """
    old = change.entry_of(loaded(stage, version), function).at(datetime.now(UTC))
    return altered(function, change.rolled_back(old), stage, wait=wait)


def loaded(stage: str, version: int | None = None) -> CatalogVersion:
    where = Stage.named(stage)
    with where.wrapped_errors():
        return where.catalog_store().load(version)


class Order(NamedTuple):
    """The same for the API: `api_url` where it is not the stage's own; `via` as it was asked for."""

    method: str
    asked: Document
    via: str
    api_url: str


def _switch(function: str, alter: Alter, order: Order, stage: str, *, wait: bool) -> Output:
    """By the database, or past it by the API, whose keeper carries it along until the database has it."""
    via = order.via
    if via not in ("", "database", "api"):
        raise BadInput(f"--via {via!r}: must be database or api")
    if via != "api":
        try:
            return altered(function, alter, stage, wait=wait)
        except DatabaseUnreachable as error:
            if via:
                raise
            remark(f"{error}; by the API instead")
    from fiso_cli.catalog.in_force import held_s_of
    from fiso_cli.traffic.gateway import gateway_of

    given: Document = {key: value for key, value in order.asked.items() if value not in (None, "")}
    gateway = gateway_of(stage, order.api_url, to_console=True)
    said = gateway.send(order.method, "api", "policies", function, "pin", document=given)
    version = said.get("published_version")
    if not isinstance(version, int):
        raise CommandError(f"the API did not say which version is in force: {str(said)[:200]}")
    held_s = held_s_of(version, stage) if wait else None
    held = [] if held_s is None else [f"in force everywhere after {held_s:.1f} s"]
    note = "the database learns of it when somebody next writes a policy or applies a file"
    return Output(
        document={**said, "via": "api", "in_force_after_s": held_s},
        shown=[f"catalog version {version}: {function} is {said.get('mode')}", *held, note],
    )


def altered(function: str, alter: Alter, stage: str, *, wait: bool) -> Output:
    from fiso_cli.migrations import runner

    where = Stage.named(stage)
    with where.wrapped_errors():
        runner.migrate(where.connect)  # a kill switch works at once after an update too, without an apply before it
        store = where.catalog_store()
        learnt(where, store)
        written = change.change_policy(function, alter, store, where.publish, author=author(), now=datetime.now(UTC))
    from fiso_cli.catalog.in_force import held_s_of

    held_s = held_s_of(written.in_force, stage) if wait and written.unpublished is None else None
    held = [] if held_s is None else [f"in force everywhere after {held_s:.1f} s"]
    return told(written, {"in_force_after_s": held_s}, *held)


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise BadInput(f"--for {text!r}: must be minutes, hours or days, as in 30m, 1h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
