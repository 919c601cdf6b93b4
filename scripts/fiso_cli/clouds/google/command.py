"""`fiso deploy gcp`: plan, yes, apply, and the addresses into `fiso.yaml`."""

import os
import re
import time
from contextlib import closing
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from fiso_cli.clouds import catalog_file, folders
from fiso_cli.clouds.command import Way, deployed, destroyed
from fiso_cli.clouds.google.client import Google
from fiso_cli.clouds.google.deployment import Asked, Deployment
from fiso_cli.clouds.google.names import Names, memories_of, regions_of, target_of
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput
from fiso_cli.local_stage import LocalStage
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output

LOCAL_PART, LOCAL_PROJECT = 15, "fiso-local"
"""Where the local Google listens, from the local stage's base port on, and the project that is there."""
_ACCOUNT = re.compile(r"(serviceAccount|user|group):[^@\s]+@[^@\s]+")
FunctionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[FUNCTION|NAME=FOLDER]…", help="Folders, each a function.")
]


def gcp(  # noqa: PLR0913 - a command's options
    functions: FunctionsArgument = None,
    *,
    stage: StageOption,
    regions: Annotated[str, typer.Option("--regions", help="Google's regions, by commas.")] = "us-east4",
    memory: Annotated[str, typer.Option("--memory", help="MB of an instance, by commas: 128 to 32768.")] = "512",
    project: Annotated[str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="The project's id.")] = "",
    target: Annotated[str, typer.Option(help="The function in main.py, where several are decorated.")] = "",
    invoker: Annotated[
        str, typer.Option(help="Who may call, as serviceAccount:ADDRESS; the stage's own account otherwise.")
    ] = "",
    most_instances: Annotated[int, typer.Option(min=1, max=1000, help="Instances of a copy at most.")] = 100,
    file: Annotated[Path, typer.Option("--file", "-f", help="The catalog file that gets the addresses.")] = Path(
        "fiso.yaml"
    ),
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan, make nothing.")] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take back all that carries the stage's labels.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Deploy functions to Google: a Cloud Run function per function, region and memory size.

    A folder has main.py with a function for the functions framework, or handler.py with `def handle(payload)`. The
    plan comes first; copies in regions or sizes that are named no more go, and it says which. Interrupted, the same
    command goes on. Nobody may call a copy but the stage's service account.

    \b
    fiso deploy gcp hello=functions/sample_gcp --stage prod --regions us-east4
    fiso deploy gcp --stage prod --project my-project --destroy
    """
    google, where = connected(stage, project)
    regional = regions_of(regions)
    if invoker and not _ACCOUNT.fullmatch(invoker):
        raise BadInput(f"--invoker {invoker!r}: say serviceAccount:ADDRESS; a copy is open to nobody in general")
    named = [
        Asked(function=name, folder=folder, target="" if destroy else target or target_of(folder))
        for name, folder in folders.named(functions or [], is_removal=destroy).items()
    ]
    if not destroy:
        catalog_file.check(file)
    with closing(google):
        run = Deployment(
            google=google,
            names=Names(stage=stage, project=where, region=regional[0]),
            functions=named,
            regions=regional,
            memories=memories_of(memory),
            most=most_instances,
            invoker=invoker,
            work=Path(gettempdir()) / f"fiso-packages-{os.getuid()}",
        )
        way = Way(
            file=file, is_plan=plan, is_sure=yes, as_json=as_json, following=f"fiso apply -f {file} --stage {stage}"
        )
        if destroy:
            return destroyed(run, way, f"stage {stage}")
        described = {name: each.describe() for name, each in run.packages.items()}
        lines = [f"package {name}: {each}" for name, each in described.items()]
        return deployed(run, way, more={"packages": described}, tables=lines)


def connected(stage: str, project: str) -> tuple[Google, str]:
    """A client and the project: on the local stage the local Google's, else by whoever the environment is signed in."""
    from fiso_cli.stage import Stage

    Stage.named(stage)
    if stage == "local":
        endpoint = f"http://127.0.0.1:{LocalStage.from_environ().base_port + LOCAL_PART}"
        return Google(LOCAL_PROJECT, endpoint=endpoint, sleep=_briefly), LOCAL_PROJECT
    if not project:
        raise BadInput("--project (or GOOGLE_CLOUD_PROJECT) is needed: the project's id")
    return Google(project), project


def _briefly(seconds: float) -> None:
    """The local Google is as quick as this machine."""
    time.sleep(seconds / 20)
