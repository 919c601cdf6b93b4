"""Quotas and hosts in the catalog: from `fiso.yaml` into what environments decide by, with 5,000 tenants."""

import logging
from dataclasses import replace
from time import perf_counter

import pytest

from fiso.adapters.aws.snapshots import CheckedSnapshots, DynamoDBSnapshotCopy, KnownHosts
from fiso.adapters.identity.credential_cache import Expiring
from fiso.adapters.identity.exchange import TokensByAudience
from fiso.adapters.identity.stage_tokens import StageTokens
from fiso.codecs.catalog import snapshot_from_json, snapshot_to_json
from fiso.domain.address import AddressRules
from fiso.domain.endpoint import Authentication, Provider
from fiso.domain.fields import Impossible
from fiso.domain.request import TenantId
from fiso.domain.stage_rules import NO_RULES, StageRules, TenantQuotas
from fiso.testing.memory import InMemorySnapshots, InMemoryTenantUse
from fiso.testing.rig import Rig, http_event
from fiso_cli.catalog import spelling, yaml_text
from fiso_cli.catalog.declaration import InvalidDeclaration, Setting, parse
from fiso_cli.catalog.difference import changes_of_rules
from fiso_cli.training import keys
from fiso_client.core.failures import ProviderError
from fiso_client.core.transport import HttpTransport
from tests.builders import a_snapshot, an_endpoint, an_entry
from tests.edge import BY_IAM, signed
from tests.golden.recorded_clients import RecordingClient
from tests.models import a_signer

SETTING = Setting(variables={}, is_local=False)
FUNCTIONS = """
functions:
  bfs:
    type: graph
    endpoints: [{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}]
"""
MANY = TenantQuotas(default="500/1000", tenants={f"tenant-{number:05}": f"{number + 1}/100" for number in range(5000)})


def declared(rules: str) -> StageRules:
    return parse(f"version: 1\n{rules}{FUNCTIONS}", SETTING).rules


def file_with(rules: StageRules) -> str:
    return yaml_text.written({"version": 1, **spelling._file_rules(rules)}) + FUNCTIONS


def test_a_file_says_what_tenants_may_send_and_where_endpoints_may_be() -> None:
    text = """
quotas:
  default: 500/1000
  tenants: {acme: 50/100, "111122223333": 0.5/2}
hosts: [api.example.com]
"""
    rules = declared(text)
    assert [rules.quotas.of(name) for name in ("acme", "111122223333", "x")] == ["50/100", "0.5/2", "500/1000"]
    assert rules.hosts == {"api.example.com"}
    entries = parse(f"version: 1\n{text}{FUNCTIONS}", SETTING).entries
    written = yaml_text.written(spelling.file_of({each.name: each for each in entries}, rules))
    assert parse(written, SETTING).rules == rules
    assert (declared(""), declared("quotas: {}\n")) == (NO_RULES, NO_RULES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("quotas:\n  default: 5\n", "fiso.yaml:3: quotas.default: must be text"),
        ("quotas:\n  default: 0/5\n", "fiso.yaml:3: quotas.default: must be requests a second"),
        ("quotas:\n  tenants:\n    a: 1/2\n    acme: fast\n", "fiso.yaml:5: quotas.tenants.acme: must be requests"),
        ("quotas:\n  tenants:\n    acme: 5/0.5\n", "fiso.yaml:4: quotas.tenants.acme: must be requests"),
        ("quotas:\n  tenants:\n    111122223333: 5/5\n", "keys must be text: put 111122223333 in quotes"),
        ("quotas:\n  tenants:\n    a: 1/2\n    a: 1/2\n", "duplicate key 'a'"),
        ('quotas:\n  tenants:\n    "a\\nb": 1/2\n', "fiso.yaml:4: quotas.tenants.a"),
        ("quotas:\n  tenant: {}\n", "fiso.yaml:3: quotas.tenant: unknown key, did you mean 'tenants'?"),
        ("quota: {}\n", "fiso.yaml:2: quota: unknown key, did you mean 'quotas'?"),
        ("hosts: [10.0.0.1]\n", "fiso.yaml:2: hosts: '10.0.0.1' is no public host's name"),
        ("hosts: [a.internal]\n", "is no public host's name"),
        ("hosts: api.example.com\n", "fiso.yaml:2: hosts: must be a list"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        declared(text)
    assert told in str(raised.value)


def test_an_endpoint_may_be_at_a_host_that_the_file_names() -> None:
    functions = (
        FUNCTIONS
        + "      - {id: g, provider: gcp, region: us-east4, memory_mb: 512, address: https://fn.example.com}\n"
    )
    functions = functions.replace("[{id: aws", "\n      - {id: aws").replace("fn}]", "fn}")
    assert len(parse(f"version: 1\nhosts: [fn.example.com]\n{functions}", SETTING).entries[0].endpoints) == 2
    with pytest.raises(InvalidDeclaration, match="at one that"):
        parse(f"version: 1\n{functions}", SETTING)


def test_what_changes_is_told_tenant_by_tenant_and_of_many_how_many() -> None:
    few = StageRules(
        quotas=TenantQuotas(default="1/2", tenants={"a": "1/2", "b": "3/4"}), hosts=frozenset({"x.example"})
    )
    more = StageRules(quotas=TenantQuotas(tenants={"b": "3/5", "c": "1/1"}))
    found = {change.path: (change.kind.value, change.before, change.after) for change in changes_of_rules(few, more)}
    assert found == {
        "quotas.default": ("changed", "1/2", None),
        "quotas.tenants.a": ("removed", "1/2", None),
        "quotas.tenants.b": ("changed", "3/4", "3/5"),
        "quotas.tenants.c": ("added", None, "1/1"),
        "stage.hosts": ("changed", ["x.example"], []),
    }
    (_, many) = changes_of_rules(NO_RULES, StageRules(quotas=MANY))
    assert (many.before, many.after) == ("0", "5000 (5000 differ: tenant-00000, tenant-00001, tenant-00002, ...)")
    assert changes_of_rules(StageRules(quotas=MANY), StageRules(quotas=MANY)) == []


def test_five_thousand_tenants_fit_into_a_file_a_snapshot_and_its_copy_in_one_item() -> None:
    rules = StageRules(quotas=MANY)
    text = file_with(rules)
    assert parse(text, SETTING).rules == rules
    snapshot = replace(a_snapshot(), rules=rules)
    body = snapshot_to_json(snapshot)
    assert snapshot_from_json(body) == snapshot
    client = RecordingClient()
    DynamoDBSnapshotCopy(client, "t", keys.sealing(a_signer())).publish(snapshot)
    assert len(client.requests[-1]["put_item"]["Item"]["body"]["B"]) < 60_000
    assert len(body) < 200_000


def test_more_tenants_than_a_catalog_takes_are_refused() -> None:
    with pytest.raises(Impossible, match="at most"):
        TenantQuotas(tenants={str(number): "1/1" for number in range(10_001)})


def rig_with(rules: StageRules, setting: str = "") -> Rig:
    use = InMemoryTenantUse()
    rig = Rig(settings=replace(BY_IAM, quotas=setting), ports=lambda given: replace(given, tenant_use=use))
    publish(rig, rules)
    return rig


def publish(rig: Rig, rules: StageRules) -> None:
    known = rig.stores.snapshots.current() or a_snapshot()
    rig.stores.snapshots.publish(replace(known, version=known.version + 1, rules=rules))
    rig.app.sources.snapshot()
    rig.advance(11)
    rig.app.sources.snapshot()


def statuses(rig: Rig, count: int) -> list[int]:
    return [rig.send(signed(http_event()))["statusCode"] for _ in range(count)]


def test_the_catalogs_quotas_hold_and_take_the_settings_place(caplog: pytest.LogCaptureFixture) -> None:
    assert statuses(rig_with(StageRules(quotas=TenantQuotas(default="1/2"))), 3) == [200, 200, 429]
    assert statuses(rig_with(StageRules(quotas=TenantQuotas(default="9/9")), "1/2"), 4) == [200] * 4
    assert statuses(rig_with(NO_RULES, "1/2"), 3) == [200, 200, 429]
    assert rig_with(NO_RULES).app.quotas is None
    logging.getLogger("fiso.orchestrator").addHandler(caplog.handler)
    rig_with(NO_RULES, "1/2 acme=3/4")
    logging.getLogger("fiso.orchestrator").removeHandler(caplog.handler)
    assert "say them in fiso.yaml" in caplog.text


def test_a_new_quota_holds_without_a_deployment_and_a_debt_goes_on() -> None:
    rig = rig_with(StageRules(quotas=TenantQuotas(default="1/2")))
    assert statuses(rig, 3)[-1] == 429
    publish(rig, StageRules(quotas=TenantQuotas(default="50/100")))
    assert statuses(rig, 5) == [200] * 5


def test_a_decision_is_no_slower_with_five_thousand_tenants() -> None:
    """The same requests, in turns; what 5,000 tenants cost is a look into a mapping."""
    few, many = rig_with(StageRules(quotas=TenantQuotas(default="500000/1000000"))), rig_with(StageRules(quotas=MANY))
    took = {"few": 1e9, "many": 1e9}
    for _ in range(12):
        for name, rig in (("few", few), ("many", many)):
            begun = perf_counter()
            for _ in range(10):
                assert rig.app.quotas is not None
                rig.app.quotas._limit(BY_TENANT)
            took[name] = min(took[name], perf_counter() - begun)
    assert took["many"] < 3 * took["few"] + 1e-4


BY_TENANT = TenantId("tenant-04321")


def test_environments_call_hosts_that_the_catalog_names_and_no_other() -> None:
    entry = an_entry(an_endpoint(Provider.GCP, address="https://fn.example.com"), name="bfs")
    hosts = KnownHosts(AddressRules())
    snapshots = InMemorySnapshots(a_snapshot(entry))
    checked = CheckedSnapshots(snapshots, hosts)
    (refused,) = [read.functions[entry.name].refused for read in [checked.current()] if read]
    assert refused
    snapshots.publish(replace(a_snapshot(entry), version=2, rules=StageRules(hosts=frozenset({"fn.example.com"}))))
    (refused,) = [read.functions[entry.name].refused for read in [checked.current()] if read]
    assert not refused
    assert hosts.rules.own_hosts == {"fn.example.com"}
    bad = StageRules(hosts=frozenset({"fn.example.com", "169.254.169.254"}))
    snapshots.publish(replace(a_snapshot(entry), version=3, rules=bad))
    (refused,) = [read.functions[entry.name].refused for read in [checked.current()] if read]
    assert refused
    assert hosts.rules.own_hosts == frozenset()


IDENTITIES = """
identities:
  azure_tenant: 72f988bf-86f1-41af-91ab-2d7cd011db47
  azure_client: 5a1d1bb9-2b06-4e2c-8f5d-0a8f6f1c2b3d
"""


def test_a_file_says_who_fiso_is_elsewhere_and_a_snapshot_without_it_stays_as_it_was() -> None:
    rules = declared(IDENTITIES)
    assert declared(file_of(rules)).identities == rules.identities
    snapshot = replace(a_snapshot(), rules=rules)
    assert snapshot_from_json(snapshot_to_json(snapshot)).rules == rules
    assert b"identities" not in snapshot_to_json(
        replace(a_snapshot(), rules=StageRules(hosts=frozenset({"a.example"})))
    )
    told = {each.path: each.after for each in changes_of_rules(NO_RULES, rules)}
    assert told["identities.azure_client"] == "5a1d1bb9-2b06-4e2c-8f5d-0a8f6f1c2b3d"


def file_of(rules: StageRules) -> str:
    return yaml_text.written({**spelling._file_rules(rules)})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("  azure_tenant: contoso\n  azure_client: x\n", "the tenant must be an id"),
        ("  azure_client: 5a1d1bb9-2b06-4e2c-8f5d-0a8f6f1c2b3d\n", "the tenant must be an id"),
        ("  google_provider: x\n", "the service account must be said"),
        ("  azure_tenant_id: x\n", "unknown key, did you mean 'azure_tenant'"),
        ("  azure_tenant: {}\n", "must be text"),
    ],
)
def test_who_fiso_is_must_have_its_form(text: str, told: str) -> None:
    with pytest.raises(InvalidDeclaration) as raised:
        declared(f"identities:\n{text}")
    assert told in str(raised.value)


class Tokens(TokensByAudience):
    """Of one who is somebody."""

    authentication = Authentication.ENTRA

    def __init__(self, who: str) -> None:
        super().__init__(transport=HttpTransport(), stopwatch=None)
        self._first_name, self._who = who, who

    def _audience_of(self, address: str) -> str:
        return address

    def _token(self, audience: str, until_s: float) -> Expiring[str]:
        return Expiring(f"{self._who} at {audience}", 100.0, 100.0)


def test_tokens_are_of_whoever_the_catalog_says_else_of_the_deployments_own_else_of_nobody() -> None:
    endpoint = an_endpoint(Provider.AZURE, address="https://a.azurewebsites.net", authentication=Authentication.ENTRA)
    tokens = StageTokens(Authentication.ENTRA, Tokens, "own")
    said = []
    for who in (None, "catalog", "catalog", "another", None):
        tokens.be(who)
        said.append(tokens.headers(endpoint, timeout_s=1)["authorization"].split()[1])
    assert said == ["own", "catalog", "catalog", "another", "own"]
    nobody = StageTokens(Authentication.ENTRA, Tokens, None)
    assert nobody.due([endpoint]) == ()
    with pytest.raises(ProviderError, match="fiso trust"):
        nobody.headers(endpoint, timeout_s=1)
