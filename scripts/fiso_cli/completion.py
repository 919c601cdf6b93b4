"""`fiso completion`: what teaches a shell to complete `fiso` by TAB. It asks `fiso` itself, so it never grows old."""

from enum import StrEnum
from typing import Annotated

import typer

from fiso_cli.rendering import Output


class Shell(StrEnum):
    """A shell whose completion the library speaks."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to learn it.")]) -> Output:
    """Print the script by which a shell completes commands, options, functions and stages.

    \b
    fiso completion bash > ~/.local/share/bash-completion/completions/fiso
    fiso completion zsh > ~/.zfunc/_fiso
    fiso completion fish > ~/.config/fish/completions/fiso.fish
    source <(fiso completion bash)
    """
    from typer._completion_shared import get_completion_script  # what --show-completion prints, which guesses the shell

    script = get_completion_script(prog_name="fiso", complete_var="_FISO_COMPLETE", shell=shell.value)  # nosec B604: its name
    return Output(document={"shell": shell.value, "script": script}, shown=[f"{script}\n".encode()])
