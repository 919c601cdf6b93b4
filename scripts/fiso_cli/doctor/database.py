"""Checks of the catalog's database: the keeper's secret and what it opens, and the schema by whoever asks."""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from fiso.domain.errors import StoreError
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, is_missing
from fiso_cli.errors import CommandError

if TYPE_CHECKING:
    from fiso.adapters.postgres.catalog import Connect

WHY = "the keeper publishes no catalog"


def secret(site: Site) -> Iterator[Finding]:
    """The secret that the keeper is told of, its form, and whether the catalog can be read with it."""
    from fiso.adapters.postgres.catalog import connect_from_secret

    name = site.variables("keeper").get("FISO_DATABASE_SECRET_ARN", "").partition(":secret:")[2]
    fix = f"fiso keeper-database --stage {site.name}"
    if not name:
        yield wrong("the keeper is told of no database", why=WHY, fix="set databaseSecretName in serverless.yml")
        return
    try:
        held = str(site.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]).strip()
    except ClientError as error:
        if not is_missing(error):
            raise
        yield wrong(f"there is no secret {name}", why=WHY, fix=fix)
        return
    if not held.startswith(("postgresql://", "postgres://", "{")):
        yield wrong(f"{name} holds no database's URL", why=WHY, fix=fix)
        return
    try:
        connect = connect_from_secret(held, is_local=site.stage.is_local)
    except StoreError as error:
        yield wrong(f"{name}: {error}", why=WHY, fix=fix)
        return
    yield _opened(connect, name, fix, is_private=bool(site.functions["keeper"][1].get("VpcConfig", {}).get("VpcId")))


def _opened(connect: "Connect", name: str, fix: str, *, is_private: bool) -> Finding:
    import psycopg2

    try:
        with closing(connect()) as opened, opened.cursor() as rows:
            rows.execute("SELECT max(version) FROM catalog_versions")
            found = rows.fetchone()
    except psycopg2.errors.InsufficientPrivilege:
        return wrong(f"{name}: its role may not read the catalog", why=WHY, fix=fix)
    except psycopg2.errors.UndefinedTable:
        return wrong(f"{name}: its database has no catalog", why=WHY, fix="fiso apply -f fiso.yaml")
    except psycopg2.OperationalError as error:
        line = (str(error).strip().splitlines() or ["no answer"])[0]
        if "authentication failed" in line:
            return wrong(f"{name}: the database refuses its password", why=WHY, fix=fix)
        if is_private:
            return unknown(f"{name}: not reached from here, the keeper is in its network", fix="see `rounds`")
        return wrong(f"{name}: {line}", why=WHY, fix="let the keeper reach it: databaseVpc in serverless.yml")
    return ok(f"{name} opens the catalog, version {found[0] if found and found[0] else 'none yet'}")


def schema(site: Site) -> Iterator[Finding]:
    """The database as the command line reaches it: there, at the newest schema, with the keeper's own role."""
    from fiso_cli.keeper_database import role_of
    from fiso_cli.migrations.runner import pending

    try:
        connect = site.stage.connect
    except CommandError as error:
        found = warning if "is not set" in str(error) else wrong
        yield found(
            str(error),
            why="catalogs cannot be written from here",
            fix="fiso local up"
            if site.stage.is_local
            else "export FISO_DATABASE_URL=postgresql://user:password@host/fiso",
        )
        return
    try:
        behind = pending(connect)
    except CommandError as error:
        yield wrong(
            str(error),
            why="catalogs cannot be written from here",
            fix="check FISO_DATABASE_URL, and the way to its host and port",
        )
        return
    if behind:
        yield wrong(
            f"the schema is {len(behind)} migrations behind: {behind[0].name}",
            why="no catalog can be written",
            fix=f"fiso apply -f fiso.yaml --stage {site.name}",
        )
    else:
        yield ok("the schema is the newest")
    with closing(connect()) as opened, opened.cursor() as rows:
        rows.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", (role_of(site.name),))
        role = rows.fetchone()
    if role is None or not role[0]:
        yield wrong(f"there is no role {role_of(site.name)}", why=WHY, fix=f"fiso keeper-database --stage {site.name}")
    else:
        yield ok(f"role {role_of(site.name)} may log in")
