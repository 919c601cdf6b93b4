from dataclasses import replace

import pytest

from fiso.codecs.policy import POLICY_CODEC
from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.policy import Mode, Policy, Weights
from fiso.domain.strategy import Strategy
from fiso_cli.catalog import view
from fiso_cli.catalog.difference import Change, Kind, changes
from fiso_cli.catalog.spelling import PRESETS
from fiso_cli.rendering import show
from tests.builders import an_endpoint

AWS, GCP = an_endpoint(address="fn"), an_endpoint(Provider.GCP, memory_mb=256)
BFS = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=(AWS, GCP), policy=Policy(version=4))
OLD = {BFS.name: BFS}


def test_equal_catalogs_do_not_differ() -> None:
    assert changes(OLD, [BFS]) == []


def test_a_policys_version_does_not_count() -> None:
    assert changes(OLD, [replace(BFS, policy=Policy(version=0))]) == []


def test_an_added_function_shows_its_endpoints_and_what_differs_from_the_defaults() -> None:
    eager = replace(BFS, endpoints=(AWS,), policy=Policy(version=0, max_attempts=5))
    assert changes({}, [eager]) == [
        Change(kind=Kind.ADDED, function=BFS.name, after="graph"),
        Change(kind=Kind.ADDED, function=BFS.name, path="endpoints.aws", after="aws us-east-1 512 MB fn"),
        Change(kind=Kind.ADDED, function=BFS.name, path="policy.max_attempts", after=5),
    ]


def test_a_removed_function_is_one_change() -> None:
    assert changes(OLD, []) == [Change(kind=Kind.REMOVED, function=BFS.name, before="graph")]


def test_each_changed_field_is_one_change() -> None:
    new = replace(
        BFS,
        function_type="text",
        endpoints=(replace(AWS, memory_mb=1024), GCP),
        policy=Policy(version=4, weights=Weights(cost=1), residency=frozenset({"us-east-1"})),
    )
    assert [(change.path, change.before, change.after) for change in changes(OLD, [new])] == [
        ("type", "graph", "text"),
        ("endpoints.aws.memory_mb", 512, 1024),
        ("policy.weights.cost", 0.3, 1.0),
        ("policy.residency", [], ["us-east-1"]),
    ]


def test_endpoints_come_and_go() -> None:
    azure = replace(GCP, id=EndpointId("azure"), provider=Provider.AZURE)
    found = changes(OLD, [replace(BFS, endpoints=(AWS, azure))])
    assert [(change.kind, change.path) for change in found] == [
        (Kind.ADDED, "endpoints.azure"),
        (Kind.REMOVED, "endpoints.gcp"),
    ]


def test_a_new_order_of_endpoints_is_a_change() -> None:
    (change,) = changes(OLD, [replace(BFS, endpoints=(GCP, AWS))])
    assert (change.before, change.after) == (["aws", "gcp"], ["gcp", "aws"])


def test_the_table_shows_values_as_they_are_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show(view.of_changes(changes(OLD, [replace(BFS, endpoints=(replace(AWS, address="[red]x[/red]"), GCP))])))
    assert "[red]x[/red]" in capsys.readouterr().out


def test_tiers_and_strategies_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    weekends = POLICY_CODEC.from_document(Strategy, PRESETS["weekend_scale_down"])
    policy = Policy(version=4, tiers=(frozenset({AWS.id}), frozenset({GCP.id})), strategies=(weekends,))
    found = changes(OLD, [replace(BFS, policy=policy)])
    assert [(change.path, change.before) for change in found] == [("policy.tiers", []), ("policy.strategies", [])]
    show(view.of_changes(found))
    shown = capsys.readouterr().out
    assert "none    aws, then gcp" in shown
    assert "weekend_scale_down: when day_of_week is one of 6, 7, provider is azure times 0.7" in shown


def test_the_view_of_a_policy_shows_every_key_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    policy = Policy(version=4, tiers=(frozenset({AWS.id}),), max_cost_usd=2e-5, residency=frozenset({"us-east-1"}))
    show(*view.of_entry(replace(BFS, policy=policy), 7))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"tiers aws", "strategies none", "max_cost_usd 2e-05", "control_block_s 3600"} <= set(lines)
    assert {"residency us-east-1", "allow.regions any", "deny.providers none", "objective weighted"} <= set(lines)


def test_the_view_of_a_policy_has_the_files_own_keys_and_says_all_where_empty_means_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pinned = Policy(version=4, mode=Mode.PIN, pinned=AWS.id, denied_regions=frozenset({"eastus"}))
    show(*view.of_entry(replace(BFS, policy=pinned), 7))
    lines = {" ".join(line.split()) for line in capsys.readouterr().out.splitlines()}
    assert {"request_headers all", "answer_headers all", "tenants all", "deny.regions eastus", "mode pin:aws"} <= lines
    assert not {line.split()[0] for line in lines if line} & {"denied_regions", "allowed_providers", "pinned"}


def test_changes_are_shown_by_the_files_keys_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        *view.of_difference(changes({}, [replace(BFS, policy=Policy(version=0, denied_regions=frozenset({"eastus"})))]))
    )
    out = capsys.readouterr().out
    assert "policy.deny.regions" in out
    assert "1 function added, 3 parts added" in out
