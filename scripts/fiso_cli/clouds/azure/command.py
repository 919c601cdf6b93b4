"""`fiso deploy azure`: plan, what-if, yes, apply, and the addresses into `fiso.yaml`."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from fiso_cli.clouds import catalog_file, folders
from fiso_cli.clouds.azure import arm as manager
from fiso_cli.clouds.azure import offers, publish, removal, steps
from fiso_cli.clouds.azure.arm import Arm
from fiso_cli.clouds.azure.lease import ContainerLease
from fiso_cli.clouds.azure.names import SIZES, Copy, Group
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Done, Planned, Step, agreed, apply, look_at, refuse_foreign, remove, shown, told
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.local_stage import LocalStage
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, Table, remark, show, text

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a run is about."""

    arm: Arm
    group: Group
    wanted: steps.Wanted
    copies: Sequence[Copy]
    packages: dict[str, bytes]
    location: str


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
    Azure's own what-if come first. Interrupted, the same command goes on. Who calls needs a token of the application
    that `fiso trust azure` makes.

    \b
    fiso deploy azure thumbnails --stage prod --regions eastus,westeurope
    fiso deploy azure --stage prod --destroy
    """
    group, arm = connected(stage, subscription)
    if destroy:
        names = folders.named(functions or [], is_removal=True)
        return _destroyed(arm, group, [*names], file, is_sure=yes, as_json=as_json, is_plan=plan)
    named = folders.named(functions or [])
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
    asked = Asked(
        arm=arm,
        group=group,
        wanted=wanted,
        copies=copies,
        packages={name: packaged(folder, name) for name, folder in named.items()},
        location=copies[0].region,
    )
    return _deployed(asked, file, is_sure=yes, as_json=as_json, is_plan=plan)


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


def _deployed(asked: Asked, file: Path, *, is_sure: bool, as_json: bool, is_plan: bool) -> Output:
    arm, group = asked.arm, asked.group
    before_lock = steps.shared(arm, group, asked.location)
    own = [each for of in asked.copies for each in steps.copy(arm, of, asked.wanted, asked.packages[of.function])]
    planned = look_at([*before_lock, *own])
    refuse_foreign(planned)
    title = f"stage {group.stage} on Azure, subscription {group.subscription}"
    foretold = _foretold(asked, planned)
    if is_plan or not as_json:
        output = told(title, planned, None, what_if=foretold)
        if is_plan:
            return output
        show(shown(planned, title), *_what_if_table(foretold))
    if not agreed("Make it so?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was made")
    done = apply(before_lock, remark)
    with held(ContainerLease(arm=arm, group=group)) as still:
        after = apply(own, remark, before=still)
    done = Done(made=done.made + after.made, changed=done.changed + after.changed, kept=done.kept + after.kept)
    endpoints = {of: endpoint(arm, of, asked.wanted) for of in asked.copies}
    by_function: dict[str, list[catalog_file.Made]] = {}
    for of, made in endpoints.items():
        by_function.setdefault(of.function, []).append(made)
    written = catalog_file.write(file, by_function)
    told_now = told(title, planned, done, what_if=foretold, endpoints=list(endpoints.values()), file=str(file))
    counted = [part for part in told_now.shown or () if isinstance(part, str)]
    following = f"fiso apply -f {file} --stage {group.stage}"
    if asked.wanted.application_id:  # Entra makes tokens for hosts that were entered alone
        following = f"fiso trust azure --stage {group.stage} --tenant {asked.wanted.tenant_id}, then {following}"
    return Output(document=told_now.document, shown=[*counted, *written, f"next: {following}"])


def _foretold(asked: Asked, planned: Sequence[Planned]) -> list[dict[str, object]]:
    """Azure's own what-if of each copy that is not as wanted; without a resource group there is nothing to compare."""
    arm, group = asked.arm, asked.group
    if arm.find(group.id, steps.GROUPS) is None:
        return []
    by_name = {each.step.name: each for each in planned}
    found: list[dict[str, object]] = []
    for of in asked.copies:
        if by_name[f"app {of.function} {of.deployment}"].does != "keep":
            given = steps.parameters(of, asked.wanted)
            for change in steps.what_if(arm, group, f"fiso-{of.app}", "copy", given):
                name = "/".join(str(change["resourceId"]).split("/")[-2:])
                paths = [str(each.get("path")) for each in change.get("delta") or ()]
                found.append({"does": change["changeType"], "resource": name, "properties": paths})
    return found


def _what_if_table(foretold: Sequence[dict[str, object]]) -> list[Table]:
    if not foretold:
        return []

    def paths(row: dict[str, object]) -> str:
        found = row["properties"]
        return ", ".join(found[:3]) if isinstance(found, list) else ""

    columns = (text("does"), text("resource"), text("properties", paths, spare=1))
    return [Table(title="what-if, by Azure", columns=columns, rows=foretold)]


def endpoint(arm: Arm, of: Copy, wanted: steps.Wanted) -> dict[str, str | int]:
    """The copy as the catalog has it."""
    app = arm.call("GET", of.app_id, steps.WEB)
    found = publish.functions(arm, of)
    route = next((str(each["route"]) for each in found if each["name"] == of.function.replace("-", "_")), None)
    route = (route or str(found[0]["route"])).replace("{name}", of.function)
    if any(each["level"] == "function" for each in found):
        remark(
            f"{of.app}: asks for a function key as well; AuthLevel.ANONYMOUS leaves it to App Service Authentication"
        )
    host = publish.host(app)
    scheme = "http" if host.startswith("127.0.0.1:") else "https"
    made: dict[str, str | int] = {
        "id": of.deployment,
        "provider": "azure",
        "region": of.region,
        "memory_mb": of.memory_mb,
        "address": f"{scheme}://{host}/api/{route}",
    }
    return made | ({"authentication": "entra"} if wanted.application_id else {})


def _destroyed(
    arm: Arm, group: Group, names: Sequence[str], file: Path, *, is_sure: bool, as_json: bool, is_plan: bool
) -> Output:
    """By tags alone: of all, or of the named functions. The endpoints go out of the file as well."""
    planned = look_at(removal.leftovers(arm, group, names))
    rows = [{"name": each.step.name, "what": _removal(each)} for each in reversed(planned) if each.does != "make"]
    if not rows:
        whose = f"{', '.join(names)} of stage {group.stage}" if names else f"stage {group.stage}"
        return Output(document={"plan": []}, shown=[f"{whose} has nothing on Azure"])
    table = Table(title=f"to remove of stage {group.stage} on Azure", columns=(text("what"), text("name")), rows=rows)
    document: dict[str, object] = {"plan": rows}
    if is_plan:
        return Output(document=document, shown=[table])
    if not as_json:
        show(table)
    if not agreed("Remove all of it?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was removed")
    copies = removal.copies(arm, group, names)
    done = _removed(arm, group, names)
    left = [f"left, as it is not this stage's alone: {', '.join(done.left)}"] if done.left else []
    taken = catalog_file.take_out(file, copies)
    return Output(document={**document, "done": done.document}, shown=[f"{len(done.removed)} removed", *left, *taken])


def _removal(each: Planned) -> str:
    return "remove" if each.does == "keep" else f"leave: {each.found.why or each.found.state}"


def _removed(arm: Arm, group: Group, names: Sequence[str]) -> Done:
    """Under the lock while its storage is there; that goes last, and with it the lock."""
    removal.end_deployments(arm, group)
    found = removal.leftovers(arm, group, names)
    if arm.find(group.lock_container, steps.STORAGE) is None:
        return remove(found, remark)
    first, rest = _apart(found, group)
    with held(ContainerLease(arm=arm, group=group)) as still:
        done = remove(rest, remark, before=still)
    last = remove(first, remark)
    return Done(removed=done.removed + last.removed, left=done.left + last.left)


def _apart(found: Sequence[Step], group: Group) -> tuple[list[Step], list[Step]]:
    """The group and the lock's storage, and all else."""
    kept = {f"group {group.name}", f"storageaccounts {group.lock_account}"}
    return [each for each in found if each.name in kept], [each for each in found if each.name not in kept]


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
