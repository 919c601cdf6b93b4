"""Managed PostgreSQL on three clouds: made, made again, killed anywhere, protected, taken back; and a catalog that
moves from one that was created to another. RDS is the emulator's; local Azure and Google start genuine servers."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso_cli.clouds import plan
from fiso_cli.clouds.databases.aws import RdsServer
from fiso_cli.clouds.databases.azure import FlexibleServer
from fiso_cli.clouds.databases.google import CloudSqlServer
from fiso_cli.clouds.databases.secret import Secret
from fiso_cli.clouds.databases.sizes import SIZES
from fiso_cli.clouds.google import command as google_command
from fiso_cli.clouds.lock import Holder
from fiso_cli.clouds.plan import Done, Step
from fiso_cli.clouds.trust.lock import TableLock
from fiso_cli.database import copying, cutover, fence
from fiso_cli.database.copying import Database
from fiso_cli.errors import CommandError
from fiso_cli.main import app
from fiso_cli.migrations.runner import migrate
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import World
from localcloud.managed_postgres import Servers
from tests.builders import NOW
from tests.contract import catalog_entries
from tests.contract.postgres_server import NEWER_BINARIES
from tests.emulator import KEY, running_emulator
from tests.emulator import aws as client_of
from tests.functional.clouds.aws_rig import Rig, rig, state_table
from tests.functional.clouds.azure_world import Killed as KilledOnAzure
from tests.functional.clouds.azure_world import azure
from tests.functional.clouds.google_rig import PROJECT, Killed, cloud
from tests.functional.localcloud.emulator_fixture import free_ports
from tests.functional.localcloud.lambda_host_world import await_answer, running_emulator_at

CLOUDS = ("aws", "azure", "gcp")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as found:
        yield found


@dataclass(kw_only=True)
class Site:
    """One cloud: a server's steps, all that the cloud holds as text, and a way to kill at a request."""

    aws: Rig
    secret: Secret
    steps: Callable[[], list[Step]]
    held: Callable[[], str]
    spoil: Callable[[], None]
    kill: Callable[[int, bool], None]
    servers: Servers
    put: Callable[[str], None] = lambda path: None

    def make(self) -> Done:
        return plan.apply(self.steps(), quiet, sleep=lambda seconds: None)

    def remove(self) -> Done:
        return plan.remove([step for step in self.steps() if step.undo], quiet)

    def does(self) -> list[str]:
        return [each.does for each in plan.look_at(self.steps())]


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@contextmanager
def on_aws(aws: Rig, folder: Path, servers: Servers) -> Iterator[Site]:
    secret = Secret(aws.aws, "prod", "aws")
    server, rds = RdsServer(aws=aws.aws, stage="prod", secret=secret), aws.client("rds")

    def spoil() -> None:
        rds.modify_db_instance(DBInstanceIdentifier="fiso-prod", BackupRetentionPeriod=1, ApplyImmediately=True)

    def kill(at: int, before: bool) -> None:
        aws.wire.kill_at(at or None, before=before)

    def held() -> str:
        found = rds.describe_db_instances()["DBInstances"]
        return json.dumps(found, default=str) if found else ""

    yield Site(aws=aws, secret=secret, steps=server.steps, held=held, spoil=spoil, kill=kill, servers=servers)
    rds.close()


@contextmanager
def on_azure(aws: Rig, folder: Path, servers: Servers) -> Iterator[Site]:
    secret = Secret(aws.aws, "prod", "azure")
    with azure(folder / "azure", b"", databases=servers) as site:
        now = [site.arm]

        def server() -> FlexibleServer:
            return FlexibleServer(arm=now[0], stage="prod", secret=secret, region="eastus")

        def kill(at: int, before: bool) -> None:
            now[0] = site.mortal(at, is_after=not before).arm if at else site.arm

        def spoil() -> None:
            found = site.world.resources[server().id.lower()]
            found["properties"]["backup"]["backupRetentionDays"] = 14

        def held() -> str:
            return json.dumps(site.world.resources) if site.world.resources else ""

        def steps() -> list[Step]:
            return server().steps()

        def put(path: str) -> None:
            site.world.put(path, {"type": "Microsoft.Storage/storageAccounts", "properties": {}})

        whole: dict[str, Any] = {"aws": aws, "secret": secret, "steps": steps, "held": held, "put": put}
        try:
            yield Site(**whole, spoil=spoil, kill=kill, servers=servers)
        finally:
            servers.stop_all()


@contextmanager
def on_google(aws: Rig, folder: Path, servers: Servers) -> Iterator[Site]:
    secret = Secret(aws.aws, "prod", "gcp")
    with cloud(folder / "google", databases=servers) as google:
        network = f"projects/{PROJECT}/global/networks/default"
        server = CloudSqlServer(google=google.google, stage="prod", secret=secret, region="us-east4", network=network)

        def kill(at: int, before: bool) -> None:
            google.switch.set(at or None, before=before)

        def spoil() -> None:
            google.world.things[f"sql/{PROJECT}/fiso-prod"]["settings"]["availabilityType"] = "ZONAL"

        def held() -> str:
            found = {name: each for name, each in google.world.things.items() if name.startswith("sql/")}
            return json.dumps(found) if found else ""

        try:
            yield Site(aws=aws, secret=secret, steps=server.steps, held=held, spoil=spoil, kill=kill, servers=servers)
        finally:
            servers.stop_all()


ON: dict[str, Any] = {"aws": on_aws, "azure": on_azure, "gcp": on_google}


@pytest.fixture(params=CLOUDS)
def site(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[Site]:
    with rig(url, tmp_path) as aws, ON[request.param](aws, tmp_path, Servers()) as found:
        yield found
        found.kill(0, True)
        found.remove()


def test_made_once_with_the_briefs_settings_and_no_password_anywhere_but_in_the_secret(site: Site) -> None:
    assert set(site.does()) <= {"make", "keep"}
    assert site.held() == ""
    assert "address" in site.make().made
    assert set(site.does()) == {"keep"}
    assert not site.make().made
    held, password = site.held(), site.secret.password()
    assert len(password) >= 24
    assert password not in held
    assert f":{password}@" in str(site.secret.url())
    site.spoil()
    assert site.does().count("change") == 1
    site.make()
    assert set(site.does()) == {"keep"}
    assert site.secret.password() == password
    removed = site.remove().removed
    assert f"secret {site.secret.name}" in removed
    assert any(name.startswith("server fiso-prod") for name in removed)
    assert site.held() == ""
    assert site.secret.url() is None


def test_killed_at_any_request_and_run_again_it_ends_the_same(site: Site) -> None:
    kills = 0
    for at in range(1, 200):
        site.kill(at, at % 2 == 0)
        try:
            site.make()
        except (Killed, KilledOnAzure):
            kills += 1
        else:
            break
        finally:
            site.kill(0, True)
        site.make()
        assert set(site.does()) == {"keep"}, f"killed at request {at}"
        site.remove()
        assert site.held() == ""
    assert kills >= 15


def test_killed_while_it_is_taken_back_and_run_again_nothing_is_left(site: Site) -> None:
    for at in range(1, 60, 3):
        site.make()
        site.kill(at, at % 2 == 0)
        try:
            site.remove()
        except (Killed, KilledOnAzure):
            continue
        finally:
            site.kill(0, True)
            site.remove()
            assert site.held() == ""
        break
    assert at > 3


def test_on_azure_what_somebody_else_put_into_the_group_keeps_the_group(url: str, tmp_path: Path) -> None:
    with rig(url, tmp_path) as aws, on_azure(aws, tmp_path, Servers()) as site:
        site.make()
        server = json.loads(site.held())
        mine = next(iter(server)).rpartition("/providers/")[0].partition("/providers/")[0]
        site.put(f"{mine}/providers/Microsoft.Storage/storageAccounts/mine")
        with pytest.raises(CommandError, match="it holds mine, which is not made by FISO"):
            site.remove()
        assert list(json.loads(site.held())) == [f"{mine}/providers/microsoft.storage/storageaccounts/mine".lower()]


def test_what_carries_no_tags_of_the_stage_is_neither_changed_nor_removed(url: str, tmp_path: Path) -> None:
    with rig(url, tmp_path) as aws, on_aws(aws, tmp_path, Servers()) as site:
        rds = aws.client("rds")
        mine = {"Engine": "postgres", "DBInstanceClass": "db.m5.large", "AllocatedStorage": 100}
        owner = {"MasterUsername": "me", "MasterUserPassword": "my-own-password"}
        rds.create_db_instance(DBInstanceIdentifier="fiso-prod", **mine, **owner)
        before = site.held()
        with pytest.raises(CommandError, match="does not carry this stage's tags"):
            plan.refuse_foreign(plan.look_at(site.steps()))
        assert not [name for name in site.remove().removed if name.startswith("server")]
        assert site.held() == before
        rds.delete_db_instance(DBInstanceIdentifier="fiso-prod", SkipFinalSnapshot=True)
        rds.close()


@pytest.mark.parametrize(
    ("cloud_name", "name", "gb", "days"),
    [("aws", "db.t3.micro", 20, 7), ("azure", "Standard_D2ds_v5", 32, 7), ("gcp", "db-f1-micro", 10, 7)],
)
def test_the_briefs_sizes_where_they_are_sold_and_a_price(cloud_name: str, name: str, gb: int, days: int) -> None:
    size = SIZES[cloud_name]
    assert (size.name, size.disk_gb, size.backup_days) == (name, gb, days)
    assert round(size.monthly_usd, 2) == {"aws": 30.88, "azure": 267.24, "gcp": 18.73}[cloud_name]
    assert f"about {size.monthly_usd:.0f} USD a month" in size.describe()


def database(secret: Secret, name: str) -> Database:
    found = secret.url()
    assert found is not None
    return Database(name=name, url=found, connect=connect_from_url(found, is_local=True))


def changed(where: Database) -> int:
    store = PostgresCatalogStore(where.connect)
    return store.replace((catalog_entries.PLAIN,), based_on=store.load().version, author="ada").version


def sums(where: Database) -> Any:
    with where.transaction() as rows:
        return copying.sums(rows)


def test_a_catalog_moves_from_a_created_server_on_azure_to_one_on_google(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FISO_POSTGRES_BIN", str(NEWER_BINARIES))
    with (
        rig(url, tmp_path) as aws,
        on_azure(aws, tmp_path, Servers(runs=True)) as old,
        on_google(aws, tmp_path, Servers(runs=True)) as new,
    ):
        old.make()
        new.make()
        source, target = database(old.secret, "FISO_DATABASE_URL"), database(new.secret, "FISO_NEW_DATABASE_URL")
        migrate(source.connect)
        changed(source)
        copying.refuse_unlike(source, target)
        copying.copy_whole(source, target)
        changed(source)
        assert copying.follow(source, target) == 1
        assert sums(source) == sums(target)
        done = cutover.cut_over(source, target, quiet)
        assert done is not None
        assert cutover.standing(target).standing is fence.Standing.IN_FORCE
        assert changed(target) == done.version + 1
        for each in (old, new):
            each.remove()


def fiso(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["db", *words])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A local stage's emulator and Google, on its ports."""
    port = free_ports(16)
    (tmp_path / "local").mkdir()
    monkeypatch.setenv("FISO_LOCAL_DIR", str(tmp_path / "local"))
    monkeypatch.setenv("FISO_LOCAL_PORT", str(port))
    monkeypatch.chdir(tmp_path)
    KEY.write(Path(os.environ["FISO_LOCAL_DIR"]) / "access-key")
    world = World(folder=tmp_path, databases=Servers(runs=True))
    google = GoogleCloud(world, port + google_command.LOCAL_PART)
    threading.Thread(target=google.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    emulator_url = f"http://127.0.0.1:{port}"
    with running_emulator_at(tmp_path, emulator_url, f"http://127.0.0.1:{port + 1}") as emulator:
        await_answer(f"{emulator_url}/_ministack/health", emulator)
        table = client_of("dynamodb", emulator_url)
        state_table(table, "fiso-endpoint-state-local")
        yield world
        table.close()
    world.databases.stop_all()
    google.shutdown()
    google.server_close()


def another_is_at_it(here: World, words: list[str]) -> None:
    table = client_of("dynamodb", f"http://127.0.0.1:{os.environ['FISO_LOCAL_PORT']}")
    lock = TableLock(table, "fiso-endpoint-state-local", "database-gcp")
    version = lock.write(Holder(who="alice", host="another", process=7, began="1", until=NOW.replace(year=2999)), None)
    said = fiso(*words, "--yes", code=1).output
    assert "alice on another" in said
    assert not [name for name in here.things if name.startswith("sql/")]
    lock.delete(version)
    table.close()


def test_as_it_is_typed_the_password_is_never_shown_and_a_catalog_is_not_removed_unsaid(here: World) -> None:
    words = ["create", "gcp", "--stage", "local"]
    planned = fiso(*words, "--plan").output
    assert "about 18.73 USD a month" in planned
    assert not [name for name in here.things if name.startswith("sql/")]
    assert "must be aws, azure, gcp" in fiso("create", "mars", "--stage", "local", code=2).output
    assert "--json asks nothing" in fiso(*words, "--json", code=2).output
    another_is_at_it(here, words)
    said = fiso(*words, "--yes", "--json")
    document = json.loads(said.stdout)
    assert document["url"] == "secret://fiso/local/database-gcp"
    assert document["price"]["usd_a_month"] == 18.73

    from fiso_cli.stage import Stage

    whole = Stage.named("local").read_url(document["url"])
    password = whole.split(":")[2].partition("@")[0]
    assert password not in said.output + planned
    connect = connect_from_url(whole, is_local=True)
    migrate(connect)
    assert "say --with-data" in fiso(*words, "--destroy", "--yes", code=1).output
    removed = fiso(*words, "--destroy", "--yes", "--with-data")
    assert "removed" in removed.output
    assert not [name for name in here.things if name.startswith("sql/")]
    assert "has no database on gcp" in fiso(*words, "--destroy", "--yes").output
