"""`fiso keeper-database`: the keeper's own role in the catalog's database, which may read the catalog and nothing else,
and the secret that it is reached by. The command line and whoever migrates have another.
"""

import json
import os
import secrets
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from fiso.domain.errors import StoreNotSetUp
from fiso_cli.errors import BadInput, CommandError
from fiso_cli.options import StageOption
from fiso_cli.rendering import Output
from fiso_cli.stage import Stage

if TYPE_CHECKING:
    from fiso.adapters.postgres.catalog import Connect

READERS = "fiso_reader"
MOST_CONNECTIONS = 10
"""The keeper runs once a minute, and when somebody publishes."""
TABLES = ("catalog_versions", "functions", "endpoints", "policies")


def keeper_database(*, stage: StageOption = "local") -> Output:
    """Make the keeper's role in the catalog's database, or give it a new password, and store how it is reached.

    It may read the catalog and nothing else. Run it before the first deployment, by whoever may make roles, and again
    whenever the password is to change. Shows no secret.

    \b
    fiso keeper-database --stage prod
    """
    where = Stage.named(stage)
    if where.local is not None:
        ensured(where)
        return Output(document={"stage": stage, "role": role_of(stage)}, shown=[f"{role_of(stage)} reads the catalog"])
    name = renewed(where)
    shown = [f"{role_of(stage)} reads the catalog, and is reached by secret {name}"]
    return Output(document={"stage": stage, "role": role_of(stage), "secret": name}, shown=shown)


def ensured_on_aws(where: Stage) -> bool:
    """The keeper's role and secret unless the secret is there already; whether they were made. `CommandError`."""
    with where.wrapped_errors():
        client = where.client("secretsmanager")
        try:
            client.describe_secret(SecretId=_secret_of(where))
        except client.exceptions.ResourceNotFoundException:
            renewed(where)
            return True
    return False


def checked(where: Stage) -> None:
    """`BadInput` when FISO_DATABASE_URL is set and is none that the keeper could be told. Nothing is connected to."""
    from fiso.adapters.postgres.catalog import connect_from_secret

    if not where.environ.get("FISO_DATABASE_URL", "").strip():
        return
    try:
        with where.wrapped_errors():
            connect_from_secret(secret_for(where.database_url, role_of(where.name), "unset"), is_local=False)
    except CommandError as error:
        raise BadInput(str(error)) from error


def _secret_of(where: Stage) -> str:
    return f"fiso/{where.name}/keeper-database"


def renewed(where: Stage) -> str:
    """The role with a new password, and the secret that tells it; the secret's name."""
    password = secrets.token_urlsafe(24)
    make(where.connect, role_of(where.name), password)
    with where.wrapped_errors():
        secret = secret_for(where.database_url, role_of(where.name), password)
    _store(where, _secret_of(where), secret)
    return _secret_of(where)


def role_of(stage: str) -> str:
    """The keeper's role: stages may share a server, whose roles are common to all its databases."""
    return f"fiso_keeper_{stage.replace('-', '_')}"


def ensured(stage: Stage) -> str:
    """The local stage's URL for the keeper; its role and password are made on first use."""
    if stage.local is None:
        raise CommandError("only the local stage keeps the keeper's password in a file")
    file = stage.local.postgres_dir / "keeper-password"
    try:
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        password = file.read_text(encoding="ascii").strip()
    else:
        password = secrets.token_urlsafe(24)
        with open(handle, "w", encoding="ascii") as opened:
            opened.write(password)
    make(stage.connect, role_of(stage.name), password)
    return reached_as(stage.database_url, role_of(stage.name), password)


def make(connect: "Connect", role: str, password: str) -> None:
    """Roles and rights, whether they are there or not. The server is shown a verifier, never the password."""
    import psycopg2  # not to show a help
    from psycopg2.extensions import encrypt_password
    from psycopg2.sql import SQL, Identifier, Literal

    from fiso.adapters.postgres.catalog import DEADLINE_S
    from fiso.adapters.postgres.deadline import ends_within

    try:
        with closing(connect()) as opened, ends_within(opened, DEADLINE_S), opened, opened.cursor() as rows:
            for name, kind in ((READERS, "NOLOGIN"), (role, "LOGIN")):
                rows.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,))
                if rows.fetchone() is None:
                    rows.execute(SQL("CREATE ROLE {} " + kind).format(Identifier(name)))
            verifier = encrypt_password(password, role, scope=opened, algorithm="scram-sha-256")
            own = SQL("ALTER ROLE {} LOGIN NOCREATEDB NOCREATEROLE CONNECTION LIMIT {} PASSWORD {}")
            rows.execute(own.format(Identifier(role), Literal(MOST_CONNECTIONS), Literal(verifier)))
            rows.execute(SQL("ALTER ROLE {} SET default_transaction_read_only = on").format(Identifier(role)))
            rows.execute(SQL("GRANT {} TO {}").format(Identifier(READERS), Identifier(role)))
            for table in TABLES:
                rows.execute("SELECT to_regclass(%s) IS NOT NULL", (table,))
                if rows.fetchone() == (True,):
                    rows.execute(SQL("GRANT SELECT ON {} TO {}").format(Identifier(table), Identifier(READERS)))
    except psycopg2.Error as error:
        raise CommandError(f"role {role} could not be made: {str(error).strip().splitlines()[0]}") from error


def reached_as(url: str, role: str, password: str) -> str:
    try:
        parts = urlsplit(url)
        is_placed = bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port of that number
        is_placed = False
    if not is_placed:
        raise CommandError("FISO_DATABASE_URL must be a URL that names a host, as in postgresql://user@host/fiso")
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{quote(role, safe='')}:{quote(password, safe='')}@{place}").geturl()


def secret_for(url: str, role: str, password: str) -> str:
    """What the keeper reads: its URL, and with it the authority's certificate that this machine has in a file.
    `StoreNotSetUp` when there is no such file."""
    reached = urlsplit(reached_as(url, role, password))
    named = dict(parse_qsl(reached.query))
    file = named.pop("sslrootcert", "system")
    without = reached._replace(query=urlencode(named)).geturl()
    if file == "system":
        return without
    try:
        return json.dumps({"url": without, "ca": Path(file).read_text(encoding="ascii")})
    except (OSError, UnicodeDecodeError) as error:
        raise StoreNotSetUp(f"the URL's sslrootcert cannot be read: {error}") from error


def _store(stage: Stage, name: str, url: str) -> None:
    with stage.wrapped_errors():
        client = stage.client("secretsmanager")
        try:
            client.put_secret_value(SecretId=name, SecretString=url)
        except client.exceptions.ResourceNotFoundException:
            client.create_secret(Name=name, SecretString=url)
