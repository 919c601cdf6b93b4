"""`fiso deploy azure`: plan, what-if, yes, apply, and the addresses into `fiso.yaml`."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from fiso_cli.clouds import catalog_file, folders
from fiso_cli.clouds.azure import arm as manager
from fiso_cli.clouds.azure import offers, steps
from fiso_cli.clouds.azure.arm import Arm
from fiso_cli.clouds.azure.deployment import Deployment
from fiso_cli.clouds.azure.names import SIZES, Copy, Group
from fiso_cli.clouds.command import Way, deployed, destroyed
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput
from fiso_cli.local_stage import LocalStage
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, Table, text

LOCAL_PART = 9
"""Where the local Azure listens, from the local stage's base port on."""
NOBODY = "00000000-0000-0000-0000-000000000000"
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")

FunctionsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[FUNCTION|NAME=FOLDER]…", help="Folders, each a function.")
]
RegionsOption = Annotated[str, typer.Option("--regions", help="Azure regions, by commas.")]
SizesOption = Annotated[str, typer.Option("--size", help="MB of an instance, by commas: 512, 2048 or 4096.")]
SubscriptionOption = Annotated[
    str, typer.Option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="The subscription's id.")
]
TenantOption = Annotated[str, typer.Option("--tenant", envvar="AZURE_TENANT_ID", help="The Entra tenant's id.")]
ApplicationOption = Annotated[
    str,
    typer.Option("--application-id", envvar="FISO_AZURE_APPLICATION_ID", help="Whose tokens are let in (fiso trust)."),
]
FileOption = Annotated[Path, typer.Option("--file", "-f", help="The catalog file that gets the addresses.")]


def azure(  # noqa: PLR0913 - a command's options
    functions: FunctionsArgument = None,
    *,
    stage: StageOption,
    regions: RegionsOption = "eastus",
    size: SizesOption = "512",
    subscription: SubscriptionOption = "",
    tenant: TenantOption = "",
    application_id: ApplicationOption = "",
    python: Annotated[str, typer.Option(help="The version of Python there.")] = "3.13",
    most_instances: Annotated[int, typer.Option(min=1, max=1000, help="Instances of a copy at most.")] = 100,
    file: FileOption = Path("fiso.yaml"),
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and what-if, make nothing.")] = False,
    destroy: Annotated[
        bool, typer.Option("--destroy", help="Take back what carries the stage's tags: all, or of the FUNCTIONs.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Deploy functions to Azure: a Flex Consumption app per function, region and size.

    A folder has function_app.py (Azure's v2 programming model) or handler.py with `def handle(payload)`. The plan and
    Azure's own what-if come first; copies in regions or sizes that are named no more go, and it says which.
    Interrupted, the same command goes on. Who calls needs a token of the application that `fiso trust azure` makes.

    \b
    fiso deploy azure thumbnails --stage prod --regions eastus,westeurope
    fiso deploy azure --stage prod --destroy
    """
    group, arm = connected(stage, subscription)
    following = f"fiso apply -f {file} --stage {stage}"
    if application_id:  # Entra makes tokens for hosts that were entered alone
        following = f"fiso trust azure --stage {stage} --tenant {tenant}, then {following}"
    way = Way(file=file, is_plan=plan, is_sure=yes, as_json=as_json, following=following)
    named = folders.named(functions or [], is_removal=destroy)
    if destroy:
        run = Deployment(arm=arm, group=group, names=[*named])
        return destroyed(run, way, f"{', '.join(named)} of stage {stage}" if named else f"stage {stage}")
    wanted = steps.Wanted(
        application_id=_application(application_id, stage),
        tenant_id=_guid(tenant or NOBODY, "--tenant"),
        python=python,
        most_instances=most_instances,
    )
    if wanted.application_id and wanted.tenant_id == NOBODY:
        raise BadInput("--application-id needs --tenant (or AZURE_TENANT_ID): az account show --query tenantId")
    catalog_file.check(file)
    copies = _copies(group, named, _words(regions), [_size(each) for each in _words(size)])
    _check_offers(arm, copies, python)
    run = Deployment(
        arm=arm,
        group=group,
        names=[*named],
        wanted=copies,
        common=wanted,
        packages={name: packaged(folder, name) for name, folder in named.items()},
    )
    foretold = run.foretold(run.planned()) if plan or not as_json else []
    return deployed(run, way, more={"what_if": foretold}, tables=_what_if_table(foretold))


def connected(stage: str, subscription: str) -> tuple[Group, Arm]:
    """The stage's group and a client; on the local stage the local Azure, with a word instead of a token."""
    from fiso_cli.stage import Stage

    Stage.named(stage)
    if stage == "local":
        local = LocalStage.from_environ()
        endpoint = f"http://127.0.0.1:{local.base_port + LOCAL_PART}"
        subscription = subscription or NOBODY
        arm = manager.connect(subscription=subscription, endpoint=endpoint, credential=LocalWord(), pace=0.02)
    else:
        subscription = _guid(subscription, "--subscription (or AZURE_SUBSCRIPTION_ID)")
        arm = manager.connect(subscription=subscription)
    return Group(stage=stage, subscription=subscription), arm


class LocalWord:
    """A credential that opens nothing but the local Azure, which asks nobody who he is."""

    def get_token(self, *scopes: str, **more: object) -> object:
        from azure.core.credentials import AccessToken

        return AccessToken("local", 2**40)


def packaged(folder: Path, name: str) -> bytes:
    """The package of a folder."""
    from fiso.domain.endpoint import Provider
    from fiso_cli.clouds import package
    from fiso_cli.clouds.azure.wrapper import generated

    into = Path(gettempdir()) / f"fiso-packages-{os.getuid()}"
    return package.make(folder, Provider.AZURE, into=into, generated=generated(folder, name)).path.read_bytes()


def _what_if_table(foretold: Sequence[dict[str, object]]) -> list[Table]:
    if not foretold:
        return []

    def paths(row: dict[str, object]) -> str:
        found = row["properties"]
        return ", ".join(found[:3]) if isinstance(found, list) else ""

    columns = (text("does"), text("resource"), text("properties", paths, spare=1))
    return [Table(title="what-if, by Azure", columns=columns, rows=foretold)]


def _copies(group: Group, named: dict[str, Path], regions: Sequence[str], sizes: Sequence[int]) -> list[Copy]:
    return [
        Copy(group=group, function=name, folder=folder, region=region, memory_mb=size)
        for name, folder in named.items()
        for region in regions
        for size in sizes
    ]


def _check_offers(arm: Arm, copies: Sequence[Copy], python: str) -> None:
    known = offers.regions(arm)
    for region in dict.fromkeys(of.region for of in copies):
        if region not in known:
            raise BadInput(f"--regions {region}: Flex Consumption is in {', '.join(known)}")
        if python not in (there := offers.pythons(arm, region)):
            raise BadInput(f"--python {python}: {region} runs {', '.join(there)}")


def _words(given: str) -> list[str]:
    found = [each.replace(" ", "").lower() for each in given.split(",") if each.strip()]
    if not found or len(found) != len(set(found)):
        raise BadInput(f"{given!r}: name each once, by commas")
    return found


def _size(given: str) -> int:
    if given not in {str(each) for each in SIZES}:
        raise BadInput(f"--size {given}: an instance has {', '.join(map(str, SIZES))} MB")
    return int(given)


def _application(given: str, stage: str) -> str:
    if given:
        return _guid(given, "--application-id")
    if stage == "local":
        return ""
    raise BadInput("--application-id is needed, or anybody could call the copies: `fiso trust azure` makes one")


def _guid(given: str, what: str) -> str:
    if not _GUID.fullmatch(given):
        raise BadInput(f"{what}: {given!r} is not an id as in {NOBODY}" if given else f"{what} is needed")
    return given.lower()
