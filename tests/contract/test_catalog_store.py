"""One battery over both catalog stores, then what only PostgreSQL can get wrong, and any policy a file may have."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import psycopg2
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from fiso.adapters.postgres.catalog import Connect, PostgresCatalogStore, connect_from_url
from fiso.codecs.policy import POLICY_CODEC, policy_to_document
from fiso.domain.catalog import CatalogEntry, Snapshot
from fiso.domain.endpoint import Authentication, EndpointId, FunctionName, Payload
from fiso.domain.errors import InvalidCatalog, StoreNotSetUp, StoreUnavailable, WriteConflict
from fiso.domain.fields import NAME, REGION
from fiso.domain.policy import Mode, Policy
from fiso.domain.stage_rules import NO_RULES, StageRules, TenantQuotas
from fiso.ports import CatalogStore, CatalogVersion
from fiso.services.maintenance.publish import publish
from fiso.testing.memory import InMemoryCatalogStore, InMemorySnapshots
from fiso_cli.catalog import rules, spelling, yaml_text
from fiso_cli.catalog.declaration import Setting, parse
from fiso_cli.migrations.runner import migrate, migrations
from tests.builders import NOW
from tests.contract import postgres_server
from tests.contract.catalog_entries import AWS, FULL, GCP, PLAIN, PRICED, WRITTEN_BEFORE, WRITTEN_IN_COLUMNS
from tests.property.test_catalog_codec import policies


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> CatalogStore:
    if request.param == "memory":
        return InMemoryCatalogStore()
    return PostgresCatalogStore(request.getfixturevalue("connect"))


def write(store: CatalogStore, *entries: CatalogEntry, based_on: int = 0) -> CatalogVersion:
    return store.replace(entries, based_on=based_on, author="tester")


class TestEveryStore:
    def test_begins_at_version_0_with_nothing(self, store: CatalogStore) -> None:
        newest = store.load()
        assert (newest.version, newest.entries) == (0, {})
        assert newest.changed_at.utcoffset() == timedelta(0)

    def test_loads_what_was_written(self, store: CatalogStore) -> None:
        written = write(store, FULL, PLAIN)
        assert store.load() == written
        assert written.version == 1
        assert written.changed_at.utcoffset() == timedelta(0)
        assert written.entries == {
            entry.name: replace(entry, policy=replace(entry.policy, version=1)) for entry in (FULL, PLAIN)
        }

    def test_keeps_what_prices_depend_on(self, store: CatalogStore) -> None:
        write(store, PRICED)
        assert store.load().entries[PRICED.name] == replace(PRICED, policy=replace(PRICED.policy, version=1))

    def test_keeps_every_way_of_authentication(self, store: CatalogStore) -> None:
        endpoints = tuple(replace(AWS, id=EndpointId(way), authentication=way) for way in Authentication)
        entry = replace(PLAIN, endpoints=endpoints)
        write(store, entry)
        assert store.load().entries[PLAIN.name].endpoints == endpoints

    def test_keeps_what_is_said_of_the_stage_until_it_is_said_otherwise(self, store: CatalogStore) -> None:
        rules = StageRules(quotas=TenantQuotas(default="5/10", tenants={"ünï": "1/2"}), hosts=frozenset({"a.example"}))
        store.replace([PLAIN], based_on=0, author="tester", rules=rules)
        write(store, PLAIN, FULL, based_on=1)
        assert [store.load(version).rules for version in (1, 2, None)] == [rules, rules, rules]
        store.replace([PLAIN], based_on=2, author="tester", rules=NO_RULES)
        assert [store.load(version).rules for version in (2, 3)] == [rules, NO_RULES]

    def test_keeps_endpoints_in_their_order(self, store: CatalogStore) -> None:
        write(store, replace(FULL, endpoints=(AWS, GCP)))
        assert store.load().entries[FULL.name].endpoints == (AWS, GCP)

    def test_a_function_left_out_is_gone(self, store: CatalogStore) -> None:
        write(store, FULL, PLAIN)
        write(store, PLAIN, based_on=1)
        assert set(store.load().entries) == {PLAIN.name}

    def test_may_become_empty_again(self, store: CatalogStore) -> None:
        write(store, FULL)
        assert write(store, based_on=1) == store.load()
        assert (store.load().version, store.load().entries) == (2, {})

    def test_a_policy_carries_the_version_at_which_it_changed(self, store: CatalogStore) -> None:
        write(store, FULL, PLAIN)
        patient = replace(PLAIN, policy=replace(PLAIN.policy, timeout_ms=9_000))
        write(store, FULL, patient, based_on=1)
        versions = {name: entry.policy.version for name, entry in store.load().entries.items()}
        assert versions == {FULL.name: 1, PLAIN.name: 2}

    def test_every_version_stays_readable_and_says_who_changed_a_policy(self, store: CatalogStore) -> None:
        patient = replace(PLAIN, policy=replace(PLAIN.policy, timeout_ms=9_000))
        versions = [
            write(store, FULL, PLAIN),
            write(store, FULL, patient, based_on=1),
            write(store, patient, based_on=2),
        ]
        assert [store.load(version) for version in (1, 2, 3)] == versions
        assert [(change.version, change.author) for change in store.history(PLAIN.name)] == [
            (2, "tester"),
            (1, "tester"),
        ]
        assert [change.changed_at for change in store.history(FULL.name)] == [versions[0].changed_at]
        with pytest.raises(InvalidCatalog, match="no version 4"):
            store.load(4)

    @pytest.mark.parametrize("based_on", [0, 2, -1])
    def test_refuses_a_write_that_is_not_based_on_the_newest_version(self, store: CatalogStore, based_on: int) -> None:
        write(store, FULL)
        with pytest.raises(WriteConflict, match="at version 1"):
            write(store, PLAIN, based_on=based_on)
        assert set(store.load().entries) == {FULL.name}

    def test_of_writers_at_once_exactly_one_wins(self, store: CatalogStore) -> None:
        def attempt(memory_mb: int) -> bool:
            try:
                write(store, replace(PLAIN, endpoints=(replace(AWS, memory_mb=memory_mb),)))
            except WriteConflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(attempt, range(1, 9)))
        assert won.count(True) == 1
        assert store.load().version == 1
        assert store.load().entries[PLAIN.name].endpoints[0].memory_mb == won.index(True) + 1

    def test_refuses_a_function_that_stands_there_twice(self, store: CatalogStore) -> None:
        with pytest.raises(InvalidCatalog, match="twice"):
            write(store, PLAIN, PLAIN)
        assert store.load().version == 0


class TestPostgres:
    def test_keeps_the_rows_of_every_version(self, connect: Connect) -> None:
        store = PostgresCatalogStore(connect)
        write(store, FULL)
        write(store, PLAIN, based_on=1)
        assert rows_of(connect, "SELECT version, author FROM catalog_versions ORDER BY version") == [
            (1, "tester"),
            (2, "tester"),
        ]
        assert rows_of(connect, "SELECT version, name FROM functions ORDER BY version") == [(1, "full"), (2, "plain")]

    def test_an_empty_database_counts_as_one_to_which_nothing_was_applied(self, url: str) -> None:
        assert PostgresCatalogStore(connect_from_url(url, is_local=True)).load().version == 0

    def test_a_write_without_the_tables_is_unavailable(self, url: str) -> None:
        with pytest.raises(StoreUnavailable, match="catalog_versions"):
            write(PostgresCatalogStore(connect_from_url(url, is_local=True)), PLAIN)

    def test_a_server_that_is_away_is_unavailable_and_the_password_stays_secret(self) -> None:
        away = PostgresCatalogStore(connect_from_url("postgresql://fiso:hush@127.0.0.1:1/fiso", is_local=True))
        with pytest.raises(StoreUnavailable) as caught:
            away.load()
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("address", ["a\x00b", "\ud800"])
    def test_text_that_it_cannot_hold_is_an_invalid_catalog(self, connect: Connect, address: str) -> None:
        with pytest.raises(InvalidCatalog):
            write(PostgresCatalogStore(connect), replace(PLAIN, endpoints=(replace(AWS, address=address),)))

    @pytest.mark.parametrize(
        "entry",
        [
            replace(PLAIN, name=FunctionName("No Name")),
            replace(PLAIN, function_type=""),
            replace(PLAIN, endpoints=(replace(AWS, region=""),)),
            replace(PLAIN, endpoints=(replace(AWS, id=EndpointId("")),)),
        ],
        ids=["name", "type", "region", "id"],
    )
    def test_the_schema_checks_what_the_domain_lets_through(self, connect: Connect, entry: CatalogEntry) -> None:
        store = PostgresCatalogStore(connect)
        with pytest.raises(InvalidCatalog):
            write(store, entry)
        assert store.load().version == 0

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE policies SET policy = '7'",
            "UPDATE policies SET policy = NULL",
            "UPDATE policies SET policy_version = 2",
            "UPDATE endpoints SET memory_mb = 0",
            "UPDATE endpoints SET provider = 'ibm'",
            "UPDATE endpoints SET position = 0",
            "UPDATE catalog_versions SET author = ''",
            "DELETE FROM functions",
        ],
    )
    def test_no_statement_can_make_an_impossible_row(self, connect: Connect, change: str) -> None:
        write(PostgresCatalogStore(connect), FULL)
        with pytest.raises(psycopg2.IntegrityError):
            rows_of(connect, change)

    def test_a_policy_written_before_a_migration_is_read_before_and_after_it(self, url: str) -> None:
        connect = connect_from_url(url, is_local=True)
        migrate(connect, migrations()[:1])
        rows_of(connect, WRITTEN_BEFORE)
        store = PostgresCatalogStore(connect)
        stamped = replace(PLAIN, policy=replace(PLAIN.policy, version=1))
        assert store.load().entries == {PLAIN.name: stamped}
        migrate(connect)
        assert store.load().entries == {PLAIN.name: stamped}

    def test_every_version_that_stood_in_columns_is_read_as_it_was_before_the_migration(self, url: str) -> None:
        connect = connect_from_url(url, is_local=True)
        migrate(connect, migrations()[:3])
        rows_of(connect, WRITTEN_IN_COLUMNS)
        store = PostgresCatalogStore(connect)
        before = [store.load(version) for version in (1, 2)]
        assert before[1].entries[FULL.name] == replace(FULL, policy=replace(FULL.policy, version=2))
        migrate(connect)
        assert [store.load(version) for version in (1, 2)] == before
        write(store, *before[1].entries.values(), PLAIN, based_on=2)
        assert store.load().entries[FULL.name] == before[1].entries[FULL.name]

    def test_a_policy_that_is_none_is_an_invalid_catalog(self, connect: Connect) -> None:
        store = PostgresCatalogStore(connect)
        write(store, FULL)
        rows_of(connect, """UPDATE policies SET policy = policy || '{"exploration": 7}'""")
        with pytest.raises(InvalidCatalog, match=r"exploration: must be within 0 and 0\.5"):
            store.load()

    def test_readers_do_not_wait_for_a_writer(self, connect: Connect) -> None:
        store = PostgresCatalogStore(connect)
        write(store, PLAIN)
        with closing(connect()) as writer, writer.cursor() as rows:
            rows.execute("LOCK TABLE catalog_versions IN SHARE ROW EXCLUSIVE MODE")
            assert store.load().version == 1

    def test_a_table_of_later_code_is_refused_by_its_name(self, url: str) -> None:
        connect = connect_from_url(url, is_local=True)
        migrate(connect)
        store = PostgresCatalogStore(connect)
        write(store, PLAIN)
        with closing(connect()) as writer, writer, writer.cursor() as rows:
            rows.execute("ALTER TABLE policies RENAME COLUMN policy TO later")
        with pytest.raises(InvalidCatalog, match="weight_latency"):
            store.load()

    def test_every_use_closes_its_connection(self, url: str) -> None:
        plain = connect_from_url(url, is_local=True)
        migrate(plain)
        opened = []

        def remembered() -> psycopg2.extensions.connection:
            opened.append(plain())
            return opened[-1]

        store = PostgresCatalogStore(remembered)
        store.load()
        with pytest.raises(WriteConflict):
            write(store, PLAIN, based_on=3)
        assert [connection.closed for connection in opened] == [1, 1]


class TestConnecting:
    def test_limits_and_name_are_in_effect(self, url: str) -> None:
        connect = connect_from_url(url, is_local=True, application_name="fiso-test")
        shown = [
            rows_of(connect, f"SHOW {name}")[0][0] for name in ("statement_timeout", "lock_timeout", "application_name")
        ]
        assert shown == ["5s", "5s", "fiso-test"]

    @pytest.mark.parametrize("weakened", ["", "?sslmode=disable", "?sslmode=prefer"])
    def test_outside_the_local_stage_a_server_without_tls_is_refused(self, url: str, weakened: str) -> None:
        with pytest.raises(StoreUnavailable, match=r"SSL|certificate"):
            PostgresCatalogStore(connect_from_url(url + weakened, is_local=False)).load()

    @pytest.mark.parametrize(
        ("bad", "is_local", "problem"),
        [
            ("postgresql://u:hush@db.example.com/fiso", True, "must be on this machine"),
            ("postgresql://u:hush@10.0.0.1/fiso", True, "must be on this machine"),
            ("postgresql:///fiso", False, "names no host"),
            ("postgresql://u:hush@h:port:x/fiso?nonsense=1", False, "does not parse"),
            ("hush", False, "does not parse"),
        ],
    )
    def test_a_bad_url_is_refused_without_showing_its_password(self, bad: str, is_local: bool, problem: str) -> None:
        with pytest.raises(StoreNotSetUp, match=problem) as caught:
            connect_from_url(bad, is_local=is_local)
        assert "hush" not in str(caught.value)


SETTING = Setting(variables={}, is_local=False)
ENDPOINTS = (
    replace(AWS, authentication=Authentication.IAM),
    # its id is a number to who does not put it in quotes
    replace(GCP, id=EndpointId("0e1"), address="https://g.run.app", path="", payload=Payload.HTTP, secret_ref=None),
)
REGIONS = st.frozensets(
    st.sampled_from([each.region for each in ENDPOINTS]) | st.from_regex(REGION.pattern, fullmatch=True), max_size=3
)
POLICIES = policies(
    [each.id for each in ENDPOINTS], regions=REGIONS, names=st.from_regex(NAME.pattern.rstrip("$"), fullmatch=True)
)


@pytest.fixture(scope="module")
def stood(server: str) -> PostgresCatalogStore:
    """One store for all examples."""
    connect = connect_from_url(postgres_server.new_database(server), is_local=True)
    migrate(connect)
    return PostgresCatalogStore(connect)


# Many a drawn policy lets nobody be called, which is refused, as tested above.
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(policy=POLICIES)
def test_any_policy_comes_back_from_a_file_a_document_and_a_row(stood: PostgresCatalogStore, policy: Policy) -> None:
    pinned = policy.pinned if policy.mode is Mode.PIN else None  # a file has no other place for it
    policy = replace(policy, version=0, pinned=pinned)
    entry = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=ENDPOINTS, policy=policy)
    assume(not list(rules.eligibility_problems(entry)))
    assume("\\u0000" not in json.dumps(policy_to_document(policy)))  # PostgreSQL has no NUL: refused, as tested above

    assert POLICY_CODEC.from_document(Policy, policy_to_document(policy)) == policy
    assert parse(yaml_text.written(spelling.file_of({"bfs": entry})), SETTING).entries == (entry,)
    newest = stood.replace([entry], based_on=stood.load().version, author="tester")
    kept = stood.load().entries[entry.name]
    assert kept == newest.entries[entry.name]
    assert replace(kept, policy=replace(kept.policy, version=0)) == entry


def rows_of(connect: Callable[[], psycopg2.extensions.connection], sql: str) -> list[tuple[object, ...]]:
    with closing(connect()) as opened, opened, opened.cursor() as rows:
        rows.execute(sql)
        return rows.fetchall() if rows.description else []


def test_a_lost_database_goes_on_with_the_number_of_the_published_catalog(connect: Connect) -> None:
    """Published at version 42 by a database that is gone; its policies changed at 7 and 42."""
    store = PostgresCatalogStore(connect)
    entries = {
        entry.name: replace(entry, policy=replace(entry.policy, version=version))
        for entry, version in ((FULL, 7), (PRICED, 42))
    }
    snapshot = Snapshot(version=42, published_at=NOW, functions=entries)
    snapshots = InMemorySnapshots(snapshot)
    store.restore(snapshot, author="tester")
    assert store.load() == CatalogVersion(version=42, changed_at=NOW, entries=entries)
    assert publish(store, snapshots) is None  # the same, and nothing to be refused
    assert write(store, FULL, based_on=42).version == 43
    published = publish(store, snapshots)
    assert published is not None
    assert published.version == 43
    with pytest.raises(WriteConflict):
        store.restore(snapshot, author="tester")
