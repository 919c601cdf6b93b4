"""`fiso deploy aws-function`: plan, yes, apply, and the addresses into `fiso.yaml`."""

import os
import platform
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated, Any

import typer

from fiso.domain.endpoint import Provider
from fiso_cli.clouds import catalog_file, folders
from fiso_cli.clouds import package as packages
from fiso_cli.clouds.aws import wrapper
from fiso_cli.clouds.aws.client import Aws
from fiso_cli.clouds.aws.deployment import Deployment
from fiso_cli.clouds.aws.names import Place, memories_of, regions_of
from fiso_cli.clouds.aws.steps import Wanted
from fiso_cli.clouds.command import Way, deployed, destroyed
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput
from fiso_cli.options import StageOption, YesOption
from fiso_cli.packaging.target import DEFAULT_ARCHITECTURE, PLATFORMS, Target, for_stage
from fiso_cli.rendering import Output
from fiso_cli.stage import LOCAL_AWS_REGIONS, Stage

KEPT_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""What CloudWatch Logs can be told (PutRetentionPolicy)."""
_RUNTIME = re.compile(r"python3\.\d{1,2}")
FunctionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[FUNCTION|NAME=FOLDER]…", help="Folders, each a function.")
]


def aws_function(  # noqa: PLR0913 - a command's options
    functions: FunctionsArgument = None,
    *,
    stage: StageOption,
    regions: Annotated[str, typer.Option("--regions", help="AWS regions, by commas; the stage's own otherwise.")] = "",
    memory: Annotated[str, typer.Option("--memory", help="MB of an instance, by commas: 128 to 10240.")] = "512",
    architecture: Annotated[str, typer.Option(help="arm64 or x86_64.")] = "",
    runtime: Annotated[str, typer.Option(help="Lambda's runtime.")] = "python3.13",
    handler: Annotated[str, typer.Option(help="MODULE.FUNCTION that Lambda calls, where custom does not say.")] = "",
    timeout: Annotated[int, typer.Option(min=1, max=900, help="Seconds of a call at most.")] = 300,
    keep_logs: Annotated[int, typer.Option("--keep-logs", help="Days, one of CloudWatch's: 1, 3, 5, 7, 14, 30 …")] = 30,
    file: Annotated[Path, typer.Option("--file", "-f", help="The catalog file that gets the addresses.")] = Path(
        "fiso.yaml"
    ),
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan, make nothing.")] = False,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Take back what carries the stage's tags: all, or of the FUNCTIONs.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Deploy functions to AWS: a Lambda function per function, region and memory size.

    A folder has handler.py with `lambda_handler(event, context)` or with `def handle(payload)`. The plan comes first;
    copies in regions or sizes that are named no more go, and it says which. Interrupted, the same command goes on.
    Each gets the tag by which the stage may invoke it.

    \b
    fiso deploy aws-function thumbnails --stage prod --memory 512,1024
    fiso deploy aws-function --stage prod --destroy
    """
    where = Stage.named(stage)
    aws = Aws(
        session=where.session,
        home=where.region,
        endpoint=where.local.emulator_url if where.local else None,
        known=LOCAL_AWS_REGIONS if where.local else (),
    )
    names = folders.named(functions or [], is_removal=destroy)
    way = Way(file=file, is_plan=plan, is_sure=yes, as_json=as_json, following=f"fiso apply -f {file} --stage {stage}")
    with closing(aws):
        if destroy:
            run = Deployment(aws=aws, place=_place(stage, aws), table=where.state_table, functions=dict.fromkeys(names))
            return destroyed(run, way, f"{', '.join(names)} of stage {stage}" if names else f"stage {stage}")
        catalog_file.check(file)
        asked = _Asked(
            target=_target(stage, architecture, runtime),
            common={"runtime": runtime, "timeout_s": timeout, "retention_days": _days(keep_logs)},
            regions=regions_of(regions or where.region, aws.known or where.session.get_available_regions("lambda")),
            memories=memories_of(memory),
            handler=handler,
        )
        return _deployed(aws, where, names, asked, way)


def _deployed(aws: Aws, where: Stage, names: Mapping[str, Path], asked: "_Asked", way: Way) -> Output:
    made = {name: asked.package(folder) for name, folder in names.items()}
    run = Deployment(
        aws=aws,
        place=_place(where.name, aws),
        table=where.state_table,
        functions={name: asked.wanted(each, names[name]) for name, each in made.items()},
        regions=asked.regions,
        memories=asked.memories,
    )
    described = {name: each.describe() for name, each in made.items()}
    return deployed(run, way, more={"packages": described}, tables=[f"package {n}: {d}" for n, d in described.items()])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What all functions of a run have in common."""

    target: Target
    common: Mapping[str, Any]
    regions: list[str]
    memories: list[int]
    handler: str

    def package(self, folder: Path) -> packages.Package:
        """The folder with the wheels of its requirements."""
        called = wrapper.handler_of(folder, self.handler)
        place = replace(packages.PLACES[Provider.AWS], entry=wrapper.module_file(called), target=self.target)
        into = Path(gettempdir()) / f"fiso-packages-{os.getuid()}"
        return packages.make(folder, Provider.AWS, into=into, generated=wrapper.generated(folder), place=place)

    def wanted(self, made: packages.Package, folder: Path) -> Wanted:
        architecture = (
            "arm64" if (self.target.platform or platform.machine()).startswith(("aarch64", "arm")) else "x86_64"
        )
        called = wrapper.handler_of(folder, self.handler)
        return Wanted(handler=called, package=made.path, architecture=architecture, **self.common)


def _place(stage: str, aws: Aws) -> Place:
    who = aws.call("sts", "get_caller_identity")
    return Place(stage=stage, account=str(who["Account"]), partition=str(who["Arn"]).split(":")[1])


def _target(stage: str, architecture: str, runtime: str) -> Target:
    """What the wheels are for: on the local stage, this machine."""
    if not _RUNTIME.fullmatch(runtime):
        raise BadInput(f"--runtime {runtime!r}: must be one of Lambda's for Python, as in python3.13")
    if architecture and architecture not in PLATFORMS:
        raise BadInput(f"--architecture {architecture!r}: must be {' or '.join(sorted(PLATFORMS))}")
    found = for_stage(stage, architecture or DEFAULT_ARCHITECTURE)
    return replace(found, python=runtime.removeprefix("python")) if found.platform else found


def _days(given: int) -> int:
    if given not in KEPT_DAYS:
        raise BadInput(f"--keep-logs {given}: CloudWatch keeps them {', '.join(map(str, KEPT_DAYS))} days")
    return given
