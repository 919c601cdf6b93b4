"""The `fiso` command. Sub-commands are imported when they are used, so that help is quick; add one to `COMMANDS`."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

import typer
from typer.core import TyperCommand

from fiso_cli.errors import CommandError, CommandGroup

LOCAL_CLOUD = "localcloud"
"""The package of `demo`, `local` and `token`, which is in the checkout only: nothing here imports it unasked."""
HOW_TO_GET_IT = "it comes with the checkout, not with the package: clone the repository and run `make setup` there"


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a sub-command is (`module:name` of a typer application or a function), and its line in the help."""

    target: str
    summary: str


COMMANDS: Mapping[str, LazyCommand] = {
    "demo": LazyCommand("localcloud.demo.command:app", "Boot the local cloud, deploy, route a batch, serve."),
    "invoke": LazyCommand("fiso_cli.traffic.invoke:app", "Send requests to a function, one or many."),
    "explain": LazyCommand("fiso_cli.traffic.inspect:explain_app", "Show a decision whole; nothing is invoked."),
    "endpoints": LazyCommand("fiso_cli.traffic.inspect:endpoints_app", "Every endpoint with its state."),
    "lease": LazyCommand("fiso_cli.traffic.leases:lease_app", "The lease a client would get; nothing is invoked."),
    "lease-key": LazyCommand("fiso_cli.traffic.leases:lease_key_app", "Make or rotate the key that signs leases."),
    "token": LazyCommand("localcloud.issuer.command:token_app", "A token of the local stage's issuer."),
    "login-key": LazyCommand("fiso_cli.login.commands:login_key_app", "Make or rotate the key of console sessions."),
    "tail": LazyCommand("fiso_cli.traffic.tail:app", "Invocations as they happen, with why."),
    "apply": LazyCommand("fiso_cli.catalog.commands:apply_app", "Write a catalog file's changes and publish them."),
    "check": LazyCommand("fiso_cli.catalog.commands:check_app", "Check a catalog file offline, with line numbers."),
    "export": LazyCommand("fiso_cli.catalog.commands:export_app", "Print what is in force as a catalog file."),
    "schema": LazyCommand("fiso_cli.catalog.commands:schema_app", "Print the JSON Schema of catalog files."),
    "policy": LazyCommand(
        "fiso_cli.catalog.policy_commands:policy_commands", "One function's policy: show, pin, history, rollback."
    ),
    "train": LazyCommand("fiso_cli.training.commands:train_app", "Train the packaged model."),
    "retrain": LazyCommand("fiso_cli.training.commands:retrain_app", "Run a stage's retrainer now."),
    "model-key": LazyCommand("fiso_cli.training.commands:model_key_app", "The key that signs a stage's models."),
    "package": LazyCommand("fiso_cli.packaging.commands:packaging_app", "Build a stage's deployment packages."),
    "replay": LazyCommand("fiso_cli.worlds.commands:replay_app", "Replay measured rounds beside the rules to beat."),
    "what-if": LazyCommand("fiso_cli.what_if.commands:what_if_app", "What a new policy would have done, from the log."),
    "report": LazyCommand("fiso_cli.reports.commands:report_app", "What routing saved, net of its own cost."),
    "deadletter": LazyCommand(
        "fiso_cli.deadletter.commands:deadletter_app", "Batches the stream gave up: why, and replay."
    ),
    "simulate": LazyCommand("fiso_cli.worlds.commands:simulate_app", "Simulate clouds that react to the router."),
    "local": LazyCommand("localcloud.commands:local_app", "The local cloud: up, down, status, logs, reset, faults."),
}


class RootGroup(CommandGroup):
    """Lists stand-ins and runs the genuine command."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> TyperCommand | None:  # type: ignore[override]
        """A stand-in with a name and a summary."""
        found = COMMANDS.get(cmd_name)
        return None if found is None else TyperCommand(cmd_name, help=found.summary)

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # typer does not export its types
        """The genuine command in the stand-in's place."""
        self.commands = dict.fromkeys(COMMANDS, TyperCommand(None))  # what a misspelling is compared with
        name, _, rest = super().resolve_command(ctx, args)
        return name, None if name is None else _load(name, COMMANDS[name].target), rest


def _load(name: str, target: str):  # type: ignore[no-untyped-def]
    module, _, attribute = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != LOCAL_CLOUD:
            raise
        raise CommandError(f"`fiso {name}` needs the local cloud: {HOW_TO_GET_IT}") from error
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False)
        alone.command()(found)
        found = alone
    return typer.main.get_command(found)


app = typer.Typer(
    cls=RootGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # half the time of the help would go into importing what draws boxes around it
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def fiso() -> None:
    """A serverless router over AWS Lambda, Azure Functions and Google Cloud Functions that learns per request.

    Start with `fiso local up`, or with `make run`, which also deploys and sends a first batch.
    """
