"""`fiso deploy monitoring azure | gcp`: workbooks, dashboards, alerts and sinks of a cloud, and who tells them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer

from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import (
    Done,
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
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, remark, show


class Cloud(StrEnum):
    """Whose monitoring; AWS's comes with the stage."""

    AZURE = "azure"
    GCP = "gcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One cloud's: steps before the lock and under it, what is left to remove, the lock (which is in the stage's own
    storage there), and the setting that it ends in."""

    title: str
    first: Sequence[Step]
    own: Sequence[Step]
    left: Callable[[], Sequence[Step]]
    is_lockable: Callable[[], bool]
    lock: Callable[[], AbstractContextManager[Callable[[], None]]]
    setting: Callable[[], str]
    parameter: str


def monitoring(  # noqa: PLR0913 - a command's options
    cloud: Annotated[Cloud, typer.Argument(help="Whose copies are watched.")],
    *,
    stage: StageOption,
    subscription: Annotated[str, typer.Option("--subscription", envvar="AZURE_SUBSCRIPTION_ID", help="Azure's.")] = "",
    project: Annotated[str, typer.Option("--project", envvar="GOOGLE_CLOUD_PROJECT", help="Google's.")] = "",
    region: Annotated[str, typer.Option("--region", help="Where it lies, if nothing of the stage does yet.")] = "",
    email: Annotated[str, typer.Option("--email", help="Whom alerts tell.")] = "",
    send: Annotated[
        bool, typer.Option("--send", help="Let the archiver tell it of each attempt; costs by volume.")
    ] = False,
    latency_ms: Annotated[float, typer.Option(min=1, help="Google: p99 above it is a violation.")] = 1000.0,
    daily_usd: Annotated[float, typer.Option(min=0.001, help="Google: more in a day is alerted.")] = 10.0,
    failed_percent: Annotated[int, typer.Option(min=1, max=100, help="Azure: of attempts on a copy.")] = 5,
    busy_instances: Annotated[int, typer.Option(min=1, help="Azure: of a copy, in 15 minutes' mean.")] = 80,
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan, make nothing.")] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take monitoring back, and leave the copies.")] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Deploy what watches a cloud's copies: Azure's workbooks and alerts, Google's dashboards, alerts and sinks.

    Most of it shows what FISO knows of the copies; that is told with --send and the setting which it prints.
    Interrupted, the same command goes on.

    \b
    fiso deploy monitoring azure --stage prod --email ops@example.com --send
    fiso deploy monitoring gcp --stage prod --destroy
    """
    if email and "@" not in email:
        raise BadInput(f"--email {email[:60]!r} is no address")
    ending: AbstractContextManager[object] = nullcontext()
    if cloud is Cloud.AZURE:
        given = {"failed_percent": failed_percent, "busy_instances": busy_instances, "email": email}
        site = _azure(stage, subscription, region, given, is_sending=send)
    else:
        site, ending = _google(stage, project, region, (latency_ms, daily_usd, email), is_sending=send)
    with ending:
        if destroy:
            return _destroyed(site, is_sure=yes, as_json=as_json, is_plan=plan)
        return _deployed(site, is_sure=yes, as_json=as_json, is_plan=plan)


def _azure(stage: str, subscription: str, region: str, given: dict[str, Any], *, is_sending: bool) -> Site:
    from fiso_cli.clouds.azure import monitoring as own
    from fiso_cli.clouds.azure.command import connected
    from fiso_cli.clouds.azure.lease import ContainerLease
    from fiso_cli.clouds.azure.steps import GROUPS, STORAGE

    group, arm = connected(stage, subscription)
    there = arm.find(group.id, GROUPS)
    location = str(there["location"]) if there else region or "eastus"
    sender, federation = None, list[Step]()
    if is_sending and stage != "local":
        from fiso_cli.clouds.trust.federation import Federation

        where, role = _archiver(stage)
        known = Federation(where.client("iam"))
        sender, federation = own.Sender(role=role, issuer=known.issuer), [known.step()]
    first, under = own.steps(arm, group, location, own.Limits(**given), sender)
    return Site(
        title=f"monitoring of stage {stage} on Azure, subscription {group.subscription}",
        first=[*federation, *first],
        own=under,
        left=lambda: own.leftovers(arm, group),
        is_lockable=lambda: arm.find(group.lock_container, STORAGE) is not None,
        lock=lambda: held(ContainerLease(arm=arm, group=group)),
        setting=lambda: own.setting(arm, group),
        parameter="azureMonitoring",
    )


def _google(
    stage: str, project: str, region: str, given: tuple[float, float, str], *, is_sending: bool
) -> tuple[Site, AbstractContextManager[object]]:
    from fiso_cli.clouds.google import monitoring as own
    from fiso_cli.clouds.google import sender as sending
    from fiso_cli.clouds.google.command import connected
    from fiso_cli.clouds.google.lock import BucketLock
    from fiso_cli.clouds.google.names import Names

    google, where = connected(stage, project)
    names = Names(stage=stage, project=where, region=region or "us-east4")
    latency_ms, daily_usd, email = given
    limits = own.Limits(latency_ms=latency_ms, daily_usd=daily_usd, email=email)
    more: tuple[str, ...] = ()
    told = list[Step]()
    if is_sending and stage != "local":
        aws, role = _archiver(stage)
        told = sending.steps(google, names, sending.Sender(account=aws.account_id, role=role.rpartition("/")[2]))
        more = sending.APIS
    first, under = own.steps(google, names, limits, more)

    def setting() -> str:
        return f"{where} {google.endpoint}" if stage == "local" else sending.setting(google, names)

    @contextmanager
    def lock() -> Iterator[Callable[[], None]]:
        with closing(BucketLock(google, names.bucket)) as own_lock, held(own_lock) as still:
            yield still

    site = Site(
        title=f"monitoring of stage {stage} on Google, project {where}",
        first=first,
        own=[*under, *told],
        left=lambda: [*own.leftovers(google, names), *sending.leftovers(google, names)],
        is_lockable=lambda: google.find("storage", lambda api: api.buckets().get(bucket=names.bucket)) is not None,
        lock=lock,
        setting=setting,
        parameter="googleMonitoring",
    )
    return site, closing(google)


def _archiver(stage: str) -> tuple[Any, str]:
    """The stage on AWS, and the ARN of its archiver's role: as it was deployed, or as it will be called."""
    from botocore.exceptions import ClientError

    from fiso.adapters.aws.errors import is_missing
    from fiso_cli.stage import Stage

    where, name = Stage.named(stage), f"fiso-{stage}-archiver"
    with where.wrapped_errors():
        try:
            return where, str(where.client("lambda").get_function_configuration(FunctionName=name)["Role"])
        except ClientError as error:
            if not is_missing(error):
                raise
        partition = str(where.client("sts").get_caller_identity()["Arn"]).split(":")[1]
    return where, f"arn:{partition}:iam::{where.account_id}:role/{name}"


def _deployed(site: Site, *, is_sure: bool, as_json: bool, is_plan: bool) -> Output:
    planned = look_at([*site.first, *site.own])
    refuse_foreign(planned)
    if is_plan:
        return told(site.title, planned, None)
    if not as_json:
        show(shown(planned, site.title))
    if not agreed("Make it so?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was made")
    first = apply(site.first, remark)
    with site.lock() as still:
        then = apply(site.own, remark, before=still)
    done = Done(made=first.made + then.made, changed=first.changed + then.changed, kept=first.kept + then.kept)
    setting = site.setting()
    output = told(site.title, planned, done, settings={site.parameter: setting} if setting else {})
    following = (
        [f"{site.parameter}: {setting}", f"next: put {site.parameter} under the stage in serverless.yml, and deploy it"]
        if setting
        else [f"nobody tells it of attempts yet: --send, and {site.parameter} in serverless.yml"]
    )
    return Output(document=output.document, shown=[*words_of(output), *following])


def _destroyed(site: Site, *, is_sure: bool, as_json: bool, is_plan: bool) -> Output:
    left = site.left()
    planned = going(look_at(left))
    if not planned:
        return Output(document={"plan": []}, shown=[f"nothing is there of {site.title}"])
    if is_plan:
        return told(site.title, planned, None)
    if not as_json:
        show(shown(planned, site.title))
    if not agreed("Remove it?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was removed")
    if not site.is_lockable():
        done = remove(left, remark)
    else:
        with site.lock() as still:
            done = remove(left, remark, before=still)
    said = told(site.title, planned, done)
    following = f"next: take {site.parameter} out of serverless.yml, or what is told is lost and counted"
    return Output(document=said.document, shown=[*words_of(said), following])
