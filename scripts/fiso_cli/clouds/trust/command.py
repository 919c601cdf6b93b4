"""`fiso trust azure | gcp`: the plan, a yes, what is made, and who FISO is there into `fiso.yaml`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fiso.domain.identity import AZURE, AZURE_CLOUD, ENTRAS, GOOGLE
from fiso_cli.clouds import catalog_file
from fiso_cli.clouds.plan import (
    Done,
    Planned,
    State,
    Step,
    agreed,
    apply,
    going,
    look_at,
    refuse_foreign,
    remove,
    shown,
    told,
    words_of,
)
from fiso_cli.commands import JsonOption
from fiso_cli.errors import FAILED, BadInput
from fiso_cli.local_stage import AZURE_TENANT, GOOGLE_PROJECT
from fiso_cli.options import CATALOG, StageOption, YesOption
from fiso_cli.rendering import Output, remark, show
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso_cli.clouds.trust.workload_identity import WorkloadIdentity

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+|127\.0\.0\.1:\d{1,5}")

FUNCTIONS = "functions' application"
"""Whose tokens the copies on Azure take."""

CheckOption = Annotated[bool, typer.Option("--check", help="Say what is not as it should be; exit 1 then.")]
RemoveOption = Annotated[bool, typer.Option("--remove", help="Take back what carries the stage's tags.")]
RegionsOption = Annotated[
    str, typer.Option("--aws-regions", help="AWS regions the stage stands in, by commas; the first is its home.")
]
MirrorOption = Annotated[
    bool, typer.Option("--mirror", help="The keeper as well, which writes a front door's mirror there.")
]
FileOption = Annotated[
    Path, typer.Option("--file", "-f", help="The catalog file: its Azure hosts are entered, and who FISO is goes in.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What one cloud is to believe, as steps, and what is to be told of it once it does."""

    cloud: str
    steps: Sequence[Step]
    identities: Callable[[], Mapping[str, str]]
    """By the names that they have in the file."""
    more: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command is to do with it."""

    check: bool
    remove: bool
    yes: bool
    as_json: bool
    file: Path


def azure(  # noqa: PLR0913 - a command's options
    *,
    stage: StageOption,
    tenant: Annotated[str, typer.Option("--tenant", envvar="AZURE_TENANT_ID", help="The Entra tenant's id.")] = "",
    cloud: Annotated[str, typer.Option("--cloud", help="Azure's cloud: public, usgov or china.")] = "public",
    host: Annotated[list[str] | None, typer.Option(help="A function's host, beside the catalog's.")] = None,
    aws_regions: RegionsOption = "",
    mirror: MirrorOption = False,
    file: FileOption = CATALOG,
    check: CheckOption = False,
    remove: RemoveOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Let Entra believe AWS's word on who the orchestrator is: no key, no secret.

    Two applications, a federated credential for each region's role, an assignment, the hosts of the functions. Run it
    again after a deployment to Azure: new hosts are entered.

    \b
    fiso trust azure --stage prod --tenant 72f988bf-86f1-41af-91ab-2d7cd011db47
    fiso trust azure --stage prod --check
    """
    from fiso_cli.clouds.trust.entra import Entra, Wanted
    from fiso_cli.clouds.trust.federation import Federation
    from fiso_cli.clouds.trust.rest import graph

    where = Stage.named(stage)
    tenant = AZURE_TENANT if where.is_local else tenant
    if cloud not in ENTRAS:
        raise BadInput(f"--cloud {cloud!r}: one of {', '.join(ENTRAS)}")
    if not _GUID.fullmatch(tenant.lower()):
        raise BadInput("--tenant (or AZURE_TENANT_ID) must be an id: az account show --query tenantId")
    federation = Federation(where.client("iam"))
    wanted = Wanted(
        stage=where.name,
        tenant=tenant.lower(),
        roles={
            region: f"arn:{_partition(where)}:iam::{where.account_id}:role/{name}"
            for region, name in _roles(where, aws_regions, has_mirror=mirror)
        },
        hosts=hosts_of(file, host or ()),
        cloud=cloud,
        issuer=federation.issuer,
    )
    directory = graph(where.local.entra_url if where.local else "", cloud)
    entra = Entra(directory, wanted)
    trust = Trust(
        cloud="azure",
        steps=[federation.step(), *entra.steps()],
        identities=lambda: {
            **dict(zip(AZURE, (wanted.tenant, entra.client() or ""), strict=True)),
            **({} if cloud == "public" else {AZURE_CLOUD: cloud}),
        },
        more=lambda: {FUNCTIONS: entra.resource() or ""},
    )
    with closing(directory):
        return _carried_out(where, trust, Asked(check=check, remove=remove, yes=yes, as_json=as_json, file=file))


def gcp(  # noqa: PLR0913 - a command's options
    *,
    stage: StageOption,
    project: Annotated[str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="Google's project.")] = "",
    aws_regions: RegionsOption = "",
    mirror: MirrorOption = False,
    file: FileOption = CATALOG,
    check: CheckOption = False,
    remove: RemoveOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Let Google believe AWS's word on who the orchestrator is: no key, no secret.

    The APIs, a workload identity pool with one provider for the account and the orchestrator's role, a service account
    that the role may act as. Functions let that account in (`fiso deploy gcp` does).

    \b
    fiso trust gcp --stage prod --project my-project
    fiso trust gcp --stage prod --project my-project --remove
    """
    from fiso_cli.clouds.trust.rest import GoogleApis
    from fiso_cli.clouds.trust.workload_identity import Wanted, WorkloadIdentity

    where = Stage.named(stage)
    project = GOOGLE_PROJECT if where.is_local else project
    if not _PROJECT.fullmatch(project):
        raise BadInput("--project (or GOOGLE_CLOUD_PROJECT) must be a project's id: gcloud projects list")
    roles = list(dict.fromkeys(name for _, name in _roles(where, aws_regions, has_mirror=mirror)))
    wanted = Wanted(stage=where.name, project=project, account=where.account_id, roles=roles)
    google = GoogleApis(url=where.local.google_url if where.local else "")
    identity = WorkloadIdentity(google, wanted)
    trust = Trust(cloud="gcp", steps=list(identity.steps()), identities=lambda: _of_google(identity, wanted.email))
    with closing(google):
        return _carried_out(where, trust, Asked(check=check, remove=remove, yes=yes, as_json=as_json, file=file))


def _of_google(identity: "WorkloadIdentity", email: str) -> Mapping[str, str]:
    return dict(zip(GOOGLE, (identity.provider_name(), email), strict=True))


def _partition(where: Stage) -> str:
    with where.wrapped_errors():
        return str(where.client("sts").get_caller_identity()["Arn"]).split(":")[1]


def _roles(where: Stage, regions: str, *, has_mirror: bool) -> list[tuple[str, str]]:
    """Of the orchestrator, by region, and of the keeper, where it is to be believed as well: in every region but a
    stage's home their names end in the region's."""
    named = regions.replace(",", " ").split() or [where.region]
    for region in named:
        if not _REGION.fullmatch(region):
            raise BadInput(f"--aws-regions: {region[:40]!r} is no region's name, as us-east-1 is one")
    found = []
    for number, region in enumerate(dict.fromkeys(named)):
        found.append((region, _role(where, region, "orchestrator", is_home=number == 0)))
        if has_mirror:
            found.append((f"{region}-keeper", _role(where, region, "keeper", is_home=number == 0)))
    return found


def _role(where: Stage, region: str, name: str, *, is_home: bool) -> str:
    """As it was deployed; before that, as it will be called."""
    from botocore.exceptions import ClientError

    from fiso.adapters.aws.errors import is_missing

    function = f"fiso-{where.name}-{name}"
    with where.wrapped_errors():
        try:
            found = where.client("lambda", region=region).get_function_configuration(FunctionName=function)
        except ClientError as error:
            if not is_missing(error):
                raise
            return function if is_home else f"{function}-{region}"
    return str(found["Role"]).rpartition("/")[2]


def hosts_of(file: Path, more: Iterable[str] = ()) -> list[str]:
    """Hosts of Azure's endpoints in a catalog file that ask for a token of Entra; none where there is no file."""
    named = [each.lower() for each in more]
    for each in named:
        if not _HOST.fullmatch(each):
            raise BadInput(f"--host: {each[:60]!r} is no host's name, as name.azurewebsites.net is one")
    return sorted({*named, *(_declared(file) if file.is_file() else ())})


def _declared(file: Path) -> list[str]:
    from urllib.parse import urlsplit

    import yaml

    try:
        whole: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{file} cannot be read: fiso check -f {file}") from error
    functions = whole.get("functions") if isinstance(whole, dict) else None
    entries = functions.values() if isinstance(functions, dict) else ()
    listed = [entry.get("endpoints") for entry in entries if isinstance(entry, dict)]
    endpoints = [each for group in listed if isinstance(group, list) for each in group if isinstance(each, dict)]
    addresses = [str(each.get("address")) for each in endpoints if each.get("authentication") == "entra"]
    return [host for each in addresses if _HOST.fullmatch(host := urlsplit(each).netloc.lower())]


def _carried_out(where: Stage, trust: Trust, asked: Asked) -> Output:
    from fiso_cli.clouds.lock import held
    from fiso_cli.clouds.trust.lock import TableLock

    title = f"Trust of {trust.cloud} in stage {where.name}"
    if not asked.check:
        catalog_file.check(asked.file)
    with where.wrapped_errors():
        planned = look_at(trust.steps)
        if asked.check:
            return _checked(title, planned, trust)
        lock = TableLock(where.client("dynamodb"), where.state_table, trust.cloud)
        if asked.remove:
            return _removed(title, planned, trust, asked, lock)
        refuse_foreign(planned)
        if all(each.found.state is State.AS_WANTED for each in planned):
            return _told(title, planned, Done(kept=[each.step.name for each in planned]), trust, where, asked.file)
        if not asked.as_json:
            show(shown(planned, title))
        if not agreed("Make it so?", is_sure=asked.yes, as_json=asked.as_json):
            return told(title, planned, None)
        with held(lock) as still:
            done = apply(trust.steps, remark, before=still)
        return _told(title, look_at(trust.steps), done, trust, where, asked.file)


def _checked(title: str, planned: Sequence[Planned], trust: Trust) -> Output:
    wrong = [each for each in planned if each.found.state is not State.AS_WANTED]
    said = told(title, planned, None, cloud=trust.cloud, complete=not wrong)
    return Output(document=said.document, shown=said.shown, exit_code=FAILED if wrong else 0)


def _removed(title: str, planned: Sequence[Planned], trust: Trust, asked: Asked, lock: Any) -> Output:
    from fiso_cli.clouds.lock import held

    gone = going(planned)
    if not asked.as_json:
        show(shown(gone, title))
    if not agreed("Take it back?", is_sure=asked.yes, as_json=asked.as_json):
        return told(title, gone, None)
    with held(lock) as still:
        done = remove(trust.steps, remark, before=still)
    said = told(title, gone, done, cloud=trust.cloud)
    names = (*AZURE, AZURE_CLOUD) if trust.cloud == "azure" else GOOGLE
    return Output(document=said.document, shown=[*words_of(said), *catalog_file.forget(asked.file, names)])


def _told(title: str, planned: Sequence[Planned], done: Done, trust: Trust, where: Stage, file: Path) -> Output:
    identities, more = dict(trust.identities()), dict(trust.more())
    following = f"fiso apply -f {file} --stage {where.name}"
    written = catalog_file.identify(file, identities)
    said = told(title, planned, done, cloud=trust.cloud, identities=identities, more=more, next=[following])
    lines = [f"{name}: {value}" for name, value in {**identities, **more}.items()]
    return Output(document=said.document, shown=[*(said.shown or ()), *lines, *written, f"next: {following}"])
