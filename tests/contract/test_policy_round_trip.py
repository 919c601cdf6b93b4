"""Any policy that a file may declare survives being a file, a document and a row of a genuine PostgreSQL."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fiso.adapters.postgres.catalog import PostgresCatalogStore, connect_from_url
from fiso.codecs.policy import policy_from_document, policy_to_document
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import Authentication, Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.fields import NAME, REGION
from fiso.domain.policy import Mode, Policy
from fiso_cli.catalog import rules, spelling, yaml_text
from fiso_cli.catalog.declaration import Setting, parse
from fiso_cli.migrations.runner import migrate
from tests.contract import postgres_server
from tests.property.test_catalog_codec import policies

SETTING = Setting(variables={}, is_local=False)
ENDPOINTS = (
    Endpoint(
        id=EndpointId("aws"),
        provider=Provider.AWS,
        region="us-east-1",
        memory_mb=512,
        address="fn",
        authentication=Authentication.IAM,
    ),
    Endpoint(
        id=EndpointId("0e1"),  # a number to who does not put it in quotes
        provider=Provider.GCP,
        region="us-east4",
        memory_mb=256,
        address="https://g.run.app",
        concurrency_limit=7,
    ),
)
REGIONS = st.frozensets(
    st.sampled_from([each.region for each in ENDPOINTS]) | st.from_regex(REGION.pattern, fullmatch=True), max_size=3
)
POLICIES = policies(
    [each.id for each in ENDPOINTS], regions=REGIONS, names=st.from_regex(NAME.pattern.rstrip("$"), fullmatch=True)
)


@pytest.fixture(scope="module")
def store() -> Iterator[PostgresCatalogStore]:
    with postgres_server.running() as server:
        connect = connect_from_url(postgres_server.new_database(server), is_local=True)
        migrate(connect)
        yield PostgresCatalogStore(connect)


@settings(max_examples=60, deadline=None)
@given(policy=POLICIES)
def test_it_comes_back_as_it_was(store: PostgresCatalogStore, policy: Policy) -> None:
    pinned = policy.pinned if policy.mode is Mode.PIN else None  # a file has no other place for it
    policy = replace(policy, version=0, pinned=pinned)
    entry = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=ENDPOINTS, policy=policy)
    assume(not list(rules.eligibility_problems(entry)))

    assert policy_from_document(policy_to_document(policy)) == policy
    assert parse(yaml_text.written(spelling.file_of({"bfs": entry})), SETTING).entries == (entry,)
    newest = store.replace([entry], based_on=store.load().version, author="tester")
    kept = store.load().entries[entry.name]
    assert kept == newest.entries[entry.name]
    assert replace(kept, policy=replace(kept.policy, version=0)) == entry
