"""`fiso compare`: options in, whether all copies of a function answer alike out."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from fiso_cli.commands import JsonOption
from fiso_cli.errors import USAGE, BadInput, CommandError
from fiso_cli.options import CasesOption, FunctionArgument, StageOption, UrlOption, YesOption
from fiso_cli.rendering import Output

if TYPE_CHECKING:
    from fiso_cli.traffic.cases import Case
    from fiso_cli.traffic.copies import Copies

PointersOption = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="What may differ in JSON: a pointer, * for any key or index; repeatable."),
]
HeadersOption = Annotated[
    list[str] | None, typer.Option("--ignore-header", help="A header that may differ; * at its end; repeatable.")
]


def compare(
    function: FunctionArgument,
    *,
    data: CasesOption = "",
    ignore: PointersOption = None,
    ignore_header: HeadersOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    stage: StageOption = "local",
    api_url: UrlOption = "",
) -> Output:
    """Send the same requests to all copies of a function, and show where their answers differ.

    Status, headers, cookies and bodies are compared: JSON by its values, others by their bytes. In a folder every file
    is a case: NAME.http holds whole requests, NAME.case.json an object of method, path, query, headers and body, any
    other file a body. Each case runs once on each copy: of a function that must not run twice you are asked.
    Exits 0 when all are alike, 1 when something differs, 2 when it could not be found out.

    \b
    fiso compare word-count --data 'one two two'
    fiso compare orders --data @cases/ --ignore '/items/*/created_at'
    fiso compare thumbnails --data @one.http --ignore-header etag --json
    """
    from fiso.domain.equivalence import Ignored
    from fiso_cli.traffic import cases
    from fiso_cli.traffic.compare import Comparison, output
    from fiso_cli.traffic.copies import Copies
    from fiso_cli.traffic.gateway import gateway_of

    try:
        ignored = Ignored(pointers=tuple(ignore or ()), headers=frozenset(ignore_header or ()))
    except ValueError as error:
        raise BadInput(f"--ignore {error}") from error
    found = cases.read(data)
    try:
        gateway = gateway_of(stage, api_url)
        copies = Copies.of(gateway, function)
        if len(copies.ids) < 2:
            raise CommandError(f"{function} has one copy, {copies.ids[0]}: there is nothing to compare it with")
        _agree(copies, found, yes=yes, can_ask=not as_json and sys.stdin.isatty() and data not in ("-", "@-"))
        comparison = Comparison(gateway=gateway, copies=copies, ignored=ignored)
        return output(comparison, comparison.run(found))
    except CommandError as error:
        error.exit_code = USAGE  # 1 says that something differs
        raise


def _agree(copies: "Copies", cases: "list[Case]", *, yes: bool, can_ask: bool) -> None:
    """Ask before anything runs more often than its owner allows."""
    changing = [case for case in cases if not case.is_safe]
    if yes or copies.repeats == "yes" or not changing:
        return
    said = (
        f"{copies.function} is declared idempotent: {copies.repeats}, and {len(changing)} of {len(cases)} cases would "
    )
    said += f"run {len(copies.ids)} times each, once on each copy"
    if not can_ask:
        raise CommandError(f"{said}; there is nobody to ask: pass --yes if that does no harm")
    if not typer.confirm(f"{said}. Go on?"):
        raise CommandError("nothing was sent")
