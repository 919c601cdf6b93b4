"""Command errors: what a command says before it exits non-zero.

Raise `CommandError` anywhere below a command; a group built with `cls=CommandGroup` (the root `fiso` is) says it on
standard error without a traceback.
"""

import typer
from typer.core import TyperGroup

FAILED = 1


class CommandError(Exception):
    """A failure the user can act on. The message says what went wrong and the way out, one line per problem."""


class CommandGroup(TyperGroup):
    """A group of commands that tells a `CommandError` in words and exits with `FAILED`."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer exports its own context class only
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
            raise typer.Exit(FAILED) from error
