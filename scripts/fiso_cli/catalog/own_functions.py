"""`fiso init`, `fiso endpoint add | check | remove`: one's own functions in `fiso.yaml`, which stays the user's file.

What is written was read back first, whole: a file that would have one more mistake than before is not written.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from fiso_cli.errors import FAILED, BadInput
from fiso_cli.options import CATALOG, FunctionArgument, StageOption
from fiso_cli.rendering import Output, save
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso.domain.endpoint import Endpoint
    from fiso_cli.catalog.copy_words import Copy

T = TypeVar("T")
FileOption: TypeAlias = Annotated[Path, typer.Option("--file", "-f", help="The catalog's file.")]
MemoryOption: TypeAlias = Annotated[int, typer.Option(help="What each copy has: its price depends on it.")]

BEGINNING = """\
# What FISO routes. Check it offline with `fiso check`, put it in force with `fiso apply`.
version: 1

functions:
  {function}:
    type: {type}  # functions of one type are learned from together
    endpoints:
    policy:
      mode: observe  # decide and record, and always call `home`; `route` goes by the decisions
      home: {home}
      # May what perhaps ran be run again, on another copy: no, yes, deduplicates_on_key.
      idempotent: {idempotent}
      timeout_ms: 20000
      # max_cost_usd, max_p95_ms, allow, deny, residency, weights, canary: docs/policy.md, or `fiso schema`
"""


def init(
    function: Annotated[str, typer.Argument(help="The function's name; asked for where none is given.")] = "",
    copies: Annotated[list[str] | None, typer.Argument(help="Where it is: PROVIDER:REGION=ADDRESS, or an ARN.")] = None,
    *,
    type: Annotated[str, typer.Option(help="What kind of work it is; its own name where none is given.")] = "",
    memory_mb: MemoryOption = 512,
    idempotent: Annotated[str, typer.Option(help="May it run twice: no, yes, deduplicates_on_key.")] = "no",
    file: FileOption = CATALOG,
    stage: StageOption = "local",
) -> Output:
    """Write a commented fiso.yaml for a function of your own; asks for what is not given.

    It begins in mode observe: decisions are recorded, and its first copy is called.

    \b
    fiso init stats arn:aws:lambda:us-east-1:123456789012:function:stats
    fiso init stats gcp:us-east4=http://127.0.0.1:7001 --idempotent yes
    """
    from fiso_cli.catalog import copy_words
    from fiso_cli.catalog.yaml_edit import scalar, with_list

    where = Stage.named(stage)
    if file.exists():
        raise BadInput(f"{file} is there already: `fiso endpoint add` writes into it")
    words = copies or []
    if not function or not words:
        function, words = _asked(function, words)
    _named(function)
    made: list[Copy] = []
    for word in words:
        made.append(copy_words.read(word, memory_mb=memory_mb, known=[str(each["id"]) for each in made]))
    named = {"function": scalar(function), "type": scalar(type or function), "home": made[0]["id"]}
    text = with_list(BEGINNING.format(**named, idempotent=scalar(idempotent)), "    endpoints:\n", made)
    _write(file, "", text, where)
    shown = [f"{file}: {function}, {len(made)} {'copy' if len(made) == 1 else 'copies'}", f"next: fiso apply -f {file}"]
    return Output(
        document={"file": str(file), "function": function, "endpoints": [dict(each) for each in made]}, shown=shown
    )


def add(
    function: FunctionArgument,
    copy: Annotated[str, typer.Argument(help="PROVIDER:REGION=ADDRESS, or an ARN or host that says it.")],
    *,
    id: Annotated[str, typer.Option(help="The copy's name; provider and region where none is given.")] = "",
    memory_mb: MemoryOption = 512,
    file: FileOption = CATALOG,
    stage: StageOption = "local",
) -> Output:
    """Write a copy of a function into the catalog's file: comments and order stay. `fiso apply` puts it in force.

    \b
    fiso endpoint add stats azure:eastus=https://stats.azurewebsites.net/api
    """
    from fiso_cli.catalog import copy_words
    from fiso_cli.catalog.yaml_edit import endpoint_ids, with_endpoints

    where, before = Stage.named(stage), _text(file)
    _named(function)
    known = _edited(file, lambda: endpoint_ids(before, function))
    if id in known:
        raise BadInput(f"{file}: {function} has a copy {id} already: remove it first, or take another --id")
    made = copy_words.read(copy, memory_mb=memory_mb, known=known, id=id)
    _write(file, before, _edited(file, lambda: with_endpoints(before, function, [made])), where)
    shown = [f"{file}: {function} has {made['id']} now", f"next: fiso apply -f {file}"]
    return Output(document={"file": str(file), "function": function, "endpoint": dict(made)}, shown=shown)


def remove(
    function: FunctionArgument,
    id: Annotated[str, typer.Argument(help="The copy's name in the file.")],
    *,
    file: FileOption = CATALOG,
    stage: StageOption = "local",
) -> Output:
    """Take a copy out of the catalog's file; its last copy takes the function along. Nothing is deleted in a cloud.

    \b
    fiso endpoint remove stats azure-eastus
    """
    from fiso_cli.catalog.yaml_edit import endpoint_ids, without_endpoints

    where, before = Stage.named(stage), _text(file)
    known = _edited(file, lambda: endpoint_ids(before, function))
    if id not in known:
        raise BadInput(f"{file}: {function} has no copy {id}" + (f": it has {', '.join(known)}" if known else ""))
    _write(file, before, _edited(file, lambda: without_endpoints(before, function, [id], whole=True)), where)
    left = [each for each in known if each != id]
    said = f"{function} has {', '.join(left)} left" if left else f"{function} is out: apply takes --allow-removals"
    return Output(
        document={"file": str(file), "function": function, "removed": id, "left": [*left]},
        shown=[f"{file}: {said}", f"next: fiso apply -f {file}"],
    )


def check(
    function: Annotated[str, typer.Argument(help="One function; all of the file otherwise.")] = "",
    *,
    file: FileOption = CATALOG,
    stage: StageOption = "local",
) -> Output:
    """Try from here whether each copy of the file can be reached; no function is called. Exits 1 when one cannot.

    A host must take a connection and show a certificate that holds; what a deployed stage may invoke on AWS is asked
    there.

    \b
    fiso endpoint check stats
    fiso endpoint check --stage prod --json
    """
    from fiso_cli.catalog import callable, declaration

    where = Stage.named(stage)
    entries = declaration.read(file, declaration.Setting.of(where)).entries
    if function and function not in {entry.name for entry in entries}:
        raise BadInput(f"{file} has no function {function}: it has {', '.join(entry.name for entry in entries)}")
    copies = [(entry.name, each) for entry in entries if function in ("", entry.name) for each in entry.endpoints]
    found = [{"function": name, "id": each.id, **_tried(each)} for name, each in copies]
    doubts = [*callable.doubts(where, [each for _, each in copies])]
    shown = [f"{each['function']} {each['id']}: {each.get('problem') or _SAID[bool(each['tried'])]}" for each in found]
    away = any("problem" in each for each in found)
    return Output(
        document={"endpoints": [dict(each) for each in found], "notes": [*doubts]},
        shown=[*shown, *(f"note: {each}" for each in doubts)],
        exit_code=FAILED if away or doubts else 0,
    )


_SAID = {True: "can be reached", False: "a Lambda function, which has no host to try"}


def _tried(endpoint: "Endpoint") -> dict[str, bool | str]:
    from fiso.domain.endpoint import Provider
    from fiso_cli.doctor.elsewhere import unreachable

    if endpoint.provider is Provider.AWS:
        return {"tried": False}
    problem = unreachable(endpoint.address)
    return {"tried": True, "problem": problem} if problem else {"tried": True}


def _asked(function: str, words: Sequence[str]) -> tuple[str, list[str]]:
    from fiso_cli.catalog.copy_words import FORM

    if not sys.stdin.isatty():
        raise BadInput(f"there is nobody to ask: fiso init FUNCTION {FORM}")
    function = function or str(typer.prompt("The function's name", err=True))
    found = [*words]
    while not found or (more := str(typer.prompt("One more, or Enter", default="", show_default=False, err=True))):
        found.append(str(typer.prompt(f"A copy of it ({FORM})", err=True)) if not found else more)
    return function, found


def _named(function: str) -> None:
    from fiso_client.core import grammar

    if not grammar.is_name(function):
        raise BadInput(f"{function!a} is no function's name: small letters, digits, - and _, as in word-count")


def _write(file: Path, before: str, after: str, stage: Stage) -> None:
    """`InvalidDeclaration` tells, by line and field, what the change would make wrong; then nothing is written."""
    from fiso_cli.catalog import declaration

    setting = declaration.Setting.of(stage)

    def faults(text: str) -> list[declaration.Fault]:
        try:
            declaration.parse(text, setting, source=str(file))
        except declaration.InvalidDeclaration as error:
            return [*error.faults]
        return []

    known = {(each.field, each.problem) for each in faults(before)} if before else set()
    if new := [each for each in faults(after) if (each.field, each.problem) not in known]:
        raise declaration.InvalidDeclaration(new)
    save(file, after.encode())


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput(f"{file} is not there: `fiso init` writes one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}"
        ) from error


def _edited(file: Path, edit: Callable[[], T]) -> T:
    try:
        return edit()
    except ValueError as error:
        raise BadInput(f"{file}: {error}") from error
