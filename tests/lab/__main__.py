"""`python -m tests.lab bench` measures against the naive design, `python -m tests.lab chaos` breaks things."""

from typing import ClassVar

import typer

from fiso_cli.commands import HELP, CommandGroup, Commands, Group, Lazy

CHAOS = Group(
    "Break clouds, stores and FISO's own parts, and see in figures whether it goes on.",
    {
        "list": Lazy("tests.lab.chaos.commands:list_experiments", "The experiments, by row of the scorecard."),
        "run": Lazy("tests.lab.chaos.commands:run", "Run experiments; exits 1 if one misses its target."),
    },
    more="For example: python -m tests.lab chaos run refused --quick",
)


class Lab(CommandGroup):
    """The laboratory's commands."""

    entries: ClassVar[Commands] = {
        "chaos": CHAOS,
        "bench": Lazy("tests.lab.bench.commands:bench", "Measure FISO beside the naive design."),
        "database": Lazy("tests.lab.database_move:database", "A catalog moves between two servers under changes."),
        "deployments": Lazy(
            "tests.lab.deployments:deployments", "First deployments that fail half-way, a stage that comes back."
        ),
        "desync": Lazy("tests.lab.desync:desync", "Answers out of step over kept connections."),
        "drift": Lazy("tests.lab.drift:measured", "Drift alarms in months without and with a change."),
        "influence": Lazy("tests.lab.influence:influence", "What lying tenants' reports cost the honest."),
        "rollback": Lazy("tests.lab.upgrade.versions:rollback", "A new version under traffic, and both ways back."),
        "upgrade": Lazy(
            "tests.lab.upgrade.commands:upgrade", "Update an earlier commit's stage under traffic, and go back."
        ),
    }


app = typer.Typer(
    cls=Lab, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None, context_settings=HELP
)


@app.callback()
def lab() -> None:
    """FISO under load, and with its parts broken. For example: python -m tests.lab chaos list"""


if __name__ == "__main__":
    app()
