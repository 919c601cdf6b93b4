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
from fiso_cli.clouds.google.client import Google
from fiso_cli.clouds.google.deployment import Asked, Deployment
from fiso_cli.clouds.google.names import Names, memories_of, regions_of, target_of
from fiso_cli.clouds.plan import agreed, shown, told
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.local_stage import LocalStage
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, Table, remark, show, text

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
    plan comes first. Interrupted, the same command goes on. Nobody may call a copy but the stage's service account.

    \b
    fiso deploy gcp hello=functions/sample_gcp --stage prod --regions us-east4
    fiso deploy gcp --stage prod --project my-project --destroy
    """
    google, where = _connected(stage, project)
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
        if destroy:
            return _destroyed(run, file, is_sure=yes, as_json=as_json, is_plan=plan)
        return _deployed(run, file, is_sure=yes, as_json=as_json, is_plan=plan)


def _connected(stage: str, project: str) -> tuple[Google, str]:
    """On the local stage the local Google, else the one that the environment is signed in to."""
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


def _deployed(run: Deployment, file: Path, *, is_sure: bool, as_json: bool, is_plan: bool) -> Output:
    planned = run.planned()
    title = f"stage {run.names.stage} on Google, project {run.names.project}"
    packages = {name: each.describe() for name, each in run.packages.items()}
    if is_plan:
        return told(title, planned, None, packages=packages)
    if not as_json:
        show(*(f"package {name}: {each}" for name, each in packages.items()), shown(planned, title))
    if not agreed("Make it so?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was made")
    done = run.apply(remark)
    endpoints = run.endpoints()
    written = catalog_file.write(file, endpoints)
    output = told(title, planned, done, packages=packages, endpoints=endpoints, file=str(file))
    counted = [part for part in output.shown or () if isinstance(part, str)]
    following = f"next: fiso apply -f {file} --stage {run.names.stage}"
    return Output(document=output.document, shown=[*counted, *written, following])


def _destroyed(run: Deployment, file: Path, *, is_sure: bool, as_json: bool, is_plan: bool) -> Output:
    """By labels alone: neither folders nor regions are asked for. The endpoints go out of the file as well."""
    found, stage = run.remains(), run.names.stage
    if not found:
        return Output(document={"plan": []}, shown=[f"stage {stage} has nothing on Google"])
    rows = [{"name": each.step.name, "what": each.step.makes} for each in reversed(found)]
    title = f"to remove of stage {stage} on Google, project {run.names.project}"
    table = Table(title=title, columns=(text("name"), text("what")), rows=rows)
    if is_plan:
        return Output(document={"plan": rows}, shown=[table])
    if not as_json:
        show(table)
    if not agreed("Remove all of it?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was removed")
    copies = run.removed_endpoints()
    done = run.remove(remark)
    document: dict[str, object] = {"plan": rows, "done": done.document}
    return Output(document=document, shown=[f"{len(done.removed)} removed", *catalog_file.take_out(file, copies)])
