"""`python -m tests.lab bench` measures against the naive design, `python -m tests.lab chaos` breaks things."""

import typer

from fiso_cli.errors import CommandGroup
from tests.lab.bench.commands import bench_app
from tests.lab.chaos.commands import chaos_app

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(chaos_app, name="chaos")
app.add_typer(bench_app, name="bench")

if __name__ == "__main__":
    app()
