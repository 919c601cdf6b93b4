"""`fiso package`: builds a stage's packages and, with `--template`, its CloudFormation template; needs no account."""

from typing import Annotated

import typer

from fiso_cli.local_stage import project_file
from fiso_cli.options import stages_here
from fiso_cli.rendering import Output


def package(
    stage: Annotated[
        str, typer.Option(help="The stage: dev, prod, local, or a name of your own.", autocompletion=stages_here)
    ],
    only: Annotated[list[str] | None, typer.Option(help="Build only this function; may be repeated.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="arm64 or x86_64, where it is not what serverless.yml says.")
    ] = None,
    template: Annotated[bool, typer.Option(help="Also write build/<stage>/cloudformation-template.json.")] = False,
) -> Output:
    """Build the deployment packages of a stage.

    \b
    fiso package --stage prod --template
    fiso package --stage prod --only orchestrator --json
    """
    from fiso_cli.packaging.build import build
    from fiso_cli.packaging.template import make_template
    from fiso_cli.stage import Stage

    project_file("serverless.yml")
    report = build(Stage.named(stage).name, only, architecture=architecture)
    chosen = [f"architecture={architecture}"] if architecture else []
    path = str(make_template(stage, params=chosen)) if template else None
    written = [f"CloudFormation template: {path}"] if path else []
    return Output(document={**report.as_json(), "template": path}, shown=[report.as_table(), *written])
