"""`fiso db create aws | azure | gcp`: the plan with its price, a yes, the server, and the secret that leads to it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from fiso_cli.clouds import plan as engine
from fiso_cli.clouds.aws.client import Aws
from fiso_cli.clouds.databases.secret import Secret
from fiso_cli.clouds.databases.sizes import AS_OF, SIZES
from fiso_cli.clouds.lock import held
from fiso_cli.clouds.plan import Step, agreed, going, refuse_foreign, shown, told, words_of
from fiso_cli.clouds.trust.lock import TableLock
from fiso_cli.commands import JsonOption
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption, YesOption
from fiso_cli.rendering import Output, remark, show
from fiso_cli.stage import Stage

CLOUDS = ("aws", "azure", "gcp")
NEW = "FISO_NEW_DATABASE_URL"
_REFUSED = "it holds a catalog, or cannot be asked whether it does: say --with-data to delete that as well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options that one cloud or another needs."""

    region: str
    subscription: str
    tenant: str
    project: str
    network: str
    subnets: str
    firewalls: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One cloud's server as steps, and the secret that leads to it."""

    steps: Sequence[Step]
    secret: Secret
    sleep: Callable[[float], None]
    close: Callable[[], None] = lambda: None


def create(  # noqa: PLR0913 - a command's options
    cloud: Annotated[str, typer.Argument(help="aws, azure or gcp.")],
    *,
    stage: StageOption,
    region: Annotated[str, typer.Option(help="Where: the stage's own, eastus or us-east4 otherwise.")] = "",
    subnets: Annotated[str, typer.Option(help="AWS: a DB subnet group of the keeper's network.")] = "",
    firewalls: Annotated[str, typer.Option(help="AWS: security groups, by commas.")] = "",
    subscription: Annotated[str, typer.Option(envvar="AZURE_SUBSCRIPTION_ID", help="Azure's subscription.")] = "",
    tenant: Annotated[str, typer.Option(envvar="AZURE_TENANT_ID", help="Entra's tenant, for sign-in.")] = "",
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google's project.")] = "",
    network: Annotated[str, typer.Option(help="Google: a network with private services access.")] = "default",
    plan: Annotated[bool, typer.Option("--plan", help="Show the plan and its price, make nothing.")] = False,
    destroy: Annotated[bool, typer.Option("--destroy", help="Take back what carries the stage's tags.")] = False,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="With --destroy: although it holds a catalog.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> Output:
    """Create a managed PostgreSQL for the catalog: a standby, backups, encryption, no public address, no deletion.

    The owner's password is in a secret of the stage's (AWS Secrets Manager) and shown nowhere; FISO_DATABASE_URL and
    FISO_NEW_DATABASE_URL may name the secret. Interrupted, the same command goes on.

    \b
    fiso db create gcp --stage prod --project my-project --plan
    fiso db create aws --stage prod --subnets databases --firewalls sg-0123
    """
    if cloud not in CLOUDS:
        raise BadInput(f"{cloud!r}: must be {', '.join(CLOUDS)}")
    where = Stage.named(stage)
    asked = Asked(
        region=region,
        subscription=subscription,
        tenant=tenant,
        project=project,
        network=network,
        subnets=subnets,
        firewalls=tuple(each.strip() for each in firewalls.split(",") if each.strip()),
    )
    endpoint = where.local.emulator_url if where.local else None
    with closing(Aws(session=where.session, home=where.region, endpoint=endpoint)) as aws:
        made, how = _made(cloud, where, aws, asked), (plan, yes, as_json)
        try:
            if destroy:
                return _destroyed(where, aws, cloud, made, how, with_data=with_data)
            return _created(where, aws, cloud, made, how)
        finally:
            made.close()


def _made(cloud: str, where: Stage, aws: Aws, asked: Asked) -> Made:
    secret = Secret(aws, where.name, cloud)
    if cloud == "aws":
        from fiso_cli.clouds.databases.aws import RdsServer

        rds = RdsServer(aws=aws, stage=where.name, secret=secret, subnets=asked.subnets, firewalls=asked.firewalls)
        return Made(steps=rds.steps(), secret=secret, sleep=aws.sleep)
    if cloud == "azure":
        from fiso_cli.clouds.azure.command import connected
        from fiso_cli.clouds.databases.azure import FlexibleServer

        _, arm = connected(where.name, asked.subscription)
        region, tenant = asked.region or "eastus", asked.tenant.lower()
        flexible = FlexibleServer(arm=arm, stage=where.name, secret=secret, region=region, tenant=tenant)
        return Made(steps=flexible.steps(), secret=secret, sleep=arm.waited)
    from fiso_cli.clouds.databases.google import CloudSqlServer
    from fiso_cli.clouds.google.command import connected as google_connected

    google, project = google_connected(where.name, asked.project)
    network = asked.network if "/" in asked.network else f"projects/{project}/global/networks/{asked.network}"
    sql = CloudSqlServer(
        google=google, stage=where.name, secret=secret, region=asked.region or "us-east4", network=network
    )
    return Made(steps=sql.steps(), secret=secret, sleep=google.pause, close=google.close)


@contextmanager
def _lock(where: Stage, aws: Aws, cloud: str) -> Iterator[Callable[[], None]]:
    with held(TableLock(aws.client("dynamodb"), where.state_table, f"database-{cloud}")) as still:
        yield still


def _created(where: Stage, aws: Aws, cloud: str, made: Made, how: tuple[bool, bool, bool]) -> Output:
    is_plan, is_sure, as_json = how
    planned = engine.look_at(made.steps)
    refuse_foreign(planned)
    size = SIZES[cloud]
    title = f"PostgreSQL of stage {where.name} on {cloud}"
    price = {"usd_a_month": round(size.monthly_usd, 2), "as_of": AS_OF, "priced_at": size.priced_at}
    line = f"about {size.monthly_usd:.2f} USD a month, list prices of {AS_OF} ({size.priced_at})"
    if is_plan:
        output = told(title, planned, None, price=price)
        return Output(document=output.document, shown=[*(output.shown or ()), line])
    if not as_json:
        show(shown(planned, title), line)
    if not agreed("Make it so?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was made")
    with _lock(where, aws, cloud) as still:
        done = engine.apply(made.steps, remark, before=still, sleep=made.sleep)
    reference = made.secret.reference
    output = told(title, planned, done, price=price, secret=made.secret.name, url=reference)
    following = f"next, where it can be reached: export {NEW}={reference}, then fiso db copy --stage {where.name}"
    return Output(document=output.document, shown=[*words_of(output), following])


def _destroyed(
    where: Stage, aws: Aws, cloud: str, made: Made, how: tuple[bool, bool, bool], *, with_data: bool
) -> Output:
    is_plan, is_sure, as_json = how
    title = f"PostgreSQL of stage {where.name} on {cloud}"
    planned = going(each for each in engine.look_at(made.steps) if each.step.undo)
    if not planned:
        return Output(document={"plan": []}, shown=[f"stage {where.name} has no database on {cloud}"])
    if is_plan:
        return told(title, planned, None)
    if not with_data and any(each.step.name.startswith("server") for each in planned) and _holds(made.secret):
        raise CommandError(_REFUSED)
    if not as_json:
        show(shown(planned, title))
    if not agreed("Remove all of it?", is_sure=is_sure, as_json=as_json):
        raise CommandError("nothing was removed")
    with _lock(where, aws, cloud) as still:
        done = engine.remove([each.step for each in reversed(planned)], remark, before=still)
    said = told(title, planned, done)
    return Output(document=said.document, shown=words_of(said))


def _holds(secret: Secret) -> bool:
    """Whether there may be a catalog in it: one that cannot be asked is taken to have one."""
    import psycopg2

    url = secret.url()
    if url is None:
        return False  # nobody was ever told how to reach it
    try:
        connection = psycopg2.connect(url, connect_timeout=3)
    except psycopg2.Error:
        return True
    with closing(connection), connection.cursor() as rows:
        rows.execute("SELECT to_regclass('catalog_versions') IS NOT NULL")
        found = rows.fetchone()
    return bool(found and found[0])
