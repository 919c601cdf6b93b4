"""Errors: what a command says before it exits non-zero, one line per problem, never a traceback."""

FAILED, USAGE = 1, 2


class CommandError(Exception):
    """A failure the user can act on. The message says what went wrong and the way out, one line per problem."""

    exit_code = FAILED


class DatabaseUnreachable(CommandError):
    """The catalog's database is not there for this machine."""


class BadInput(CommandError):
    """What was asked for cannot be used: an option's value, or a file that was named."""

    exit_code = USAGE
