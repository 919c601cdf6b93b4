"""Commands: how the tree of commands is put together, parsed and told of failures.

A command is a function from options to an `Output`, or to several that come one by one; here it gets `--json`, and is
imported when it is used, so that help is quick. A failure is one line on standard error: exit 1, or 2 for bad usage.
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, ClassVar, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

from fiso_cli.errors import CommandError
from fiso_cli.rendering import Output, deliver, one_line

LOCAL_CLOUD = "localcloud"
"""The package of `demo`, `local` and `token`, which is in the checkout only: nothing here imports it unasked."""
HOW_TO_GET_IT = "it comes with the checkout, not with the package: clone the repository and run `make setup` there"
HELP = {"help_option_names": ["-h", "--help"]}

JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text and tables.")]


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is (`module:function`), and its line in the help of its group."""

    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under one word; `more` is what its help says beside its summary."""

    summary: str
    commands: Mapping[str, Lazy]
    more: str = ""


Commands: TypeAlias = Mapping[str, Lazy | Group]


class CommandGroup(TyperGroup):
    """Lists its commands without importing them, runs the genuine one, and tells failures in one line each."""

    entries: ClassVar[Commands] = {}

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """In the order of the entries."""
        return list(self.entries)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """A stand-in with a name and a summary."""
        found = self.entries.get(cmd_name)
        return None if found is None else TyperCommand(cmd_name, help=found.summary)

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # typer does not export its types
        """The genuine command in the stand-in's place."""
        self.commands = dict.fromkeys(self.entries, TyperCommand(None))  # what a misspelling is compared with
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else load(name, self.entries[name]), rest

    def make_context(self, info_name, args, parent=None, **extra):  # type: ignore[no-untyped-def]
        """Read the group's own options."""
        with _told():
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        """A group alone is a question: its help, and exit 0."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help())
            raise typer.Exit
        return super().parse_args(ctx, args)

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer exports its own context class only
        """Run the chosen command."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (CommandError, typer.TyperException) as error:
        line = str(error) if isinstance(error, CommandError) else _usage(error)
        typer.secho(f"error: {line}", err=True, fg=typer.colors.RED)
        raise typer.Exit(error.exit_code) from error


def _usage(error: typer.TyperException) -> str:
    """What was wrong with the words of a command, and where it says which there are."""
    ctx: typer.Context | None = getattr(error, "ctx", None)
    said = one_line(ValueError(error.format_message()))
    if ctx is None:
        return said
    if "unexpected extra argument" in said and ctx.params.get("as_json"):
        said += "; --json is a flag: " + ("--out FILE writes a file" if "out" in ctx.params else "> FILE writes a file")
    return f"{said} ({ctx.command_path} --help)"


def load(name: str, entry: Lazy | Group) -> TyperCommand:
    """The genuine command. `CommandError` for one of the local cloud where that is absent."""
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP)
    if isinstance(entry, Group):
        kind = type("NamedGroup", (CommandGroup,), {"entries": entry.commands})
        alone.callback(cls=kind, help=f"{entry.summary}\n\n{entry.more}")(_nothing)
    else:
        alone.command(name)(with_json(_imported(name, entry.target)))
    made: TyperCommand = typer.main.get_command(alone)  # type: ignore[assignment]
    made.name = name
    return made


def _imported(name: str, target: str) -> Callable[..., object]:
    module, _, attribute = target.partition(":")
    try:
        found: Callable[..., object] = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != LOCAL_CLOUD:
            raise
        raise CommandError(f"`fiso {name}` needs the local cloud: {HOW_TO_GET_IT}") from error
    return found


def with_json(function: Callable[..., object]) -> Callable[..., None]:
    """A command that prints what the function found, as text or, with `--json`, as its document.

    A function that has to know before it is done, because it asks or goes on, takes `as_json` itself.
    """
    signature = inspect.signature(function)
    knows = "as_json" in signature.parameters

    @wraps(function)
    def command(**options: object) -> None:
        as_json = bool(options["as_json"] if knows else options.pop("as_json"))
        found = function(**options)
        if isinstance(found, Output | Iterable) and (code := deliver(found, as_json=as_json)):
            raise typer.Exit(code)

    if not knows:
        flag = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption)
        keyword = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in signature.parameters.values()]
        command.__signature__ = signature.replace(parameters=[*keyword, flag])  # type: ignore[attr-defined]
        command.__annotations__ = {**function.__annotations__, "as_json": JsonOption}
    return command


def _nothing() -> None:
    """A group does nothing by itself."""
