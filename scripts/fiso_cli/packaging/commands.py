"""`fiso package`: builds a stage's packages and, with `--template`, its CloudFormation template; needs no account."""

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fiso_cli.errors import CommandError
from fiso_cli.local_stage import project_file
from fiso_cli.packaging.build import build
from fiso_cli.packaging.template import make_template

packaging_app = typer.Typer(add_completion=False)


@packaging_app.command("package")
def package_command(
    stage: Annotated[str, typer.Option(help="The stage: dev, prod, local, or a name of your own.")],
    only: Annotated[list[str] | None, typer.Option(help="Build only this function; may be repeated.")] = None,
    template: Annotated[bool, typer.Option(help="Also write build/<stage>/cloudformation-template.json.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build the deployment packages of a stage."""
    try:
        project_file("serverless.yml")
        report = build(stage, only)
        path = make_template(stage) if template else None
    except CommandError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
    if as_json:
        document = {**report.as_json(), "template": str(path) if path else None}
        typer.echo(json.dumps(document))
        return
    Console().print(report.as_table())
    if path:
        typer.echo(f"CloudFormation template: {path}")
