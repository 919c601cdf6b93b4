import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from fiso.domain.endpoint import Architecture, Authentication, EndpointId, Payload, Plan, Provider
from fiso.domain.policy import Idempotent, Mode, Policy, Scoring, Weights
from fiso.domain.terms import Account, Link, Terms
from fiso_cli.catalog import spelling, yaml_text
from fiso_cli.catalog.declaration import LARGEST_FILE_BYTES, Declaration, InvalidDeclaration, Setting, parse, read
from fiso_cli.catalog.difference import changes

Place = TypeVar("Place")
SETTING = Setting(variables={"FISO_GCP_X_URL": "https://g.run.app"}, is_local=False)
AWS = "{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}"
AZURE = "{id: azure, provider: azure, region: eastus, memory_mb: 512, address: https://a.azurewebsites.net}"
GCP = '{id: gcp, provider: gcp, region: us-east4, memory_mb: 256, address: "${FISO_GCP_X_URL}/bfs"}'


def declared(*endpoints: str, policy: str = "{}", defaults: str = "{}") -> Declaration:
    listed = "".join(f"\n      - {endpoint}" for endpoint in endpoints or (AWS, AZURE))
    return parse(
        f"version: 1\ndefaults: {defaults}\nfunctions:\n"
        f"  bfs:\n    type: graph\n    endpoints:{listed}\n    policy: {policy}\n",
        SETTING,
    )


def policy_of(policy: str, defaults: str = "{}") -> Policy:
    return declared(policy=policy, defaults=defaults).entries[0].policy


def places(*named: Place) -> frozenset[Place]:
    return frozenset(named)


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidDeclaration) as caught:
        parse(text, SETTING)
    return without_lines(str(caught.value).splitlines())


def problems_in(*endpoints: str, policy: str = "{}", defaults: str = "{}") -> list[str]:
    with pytest.raises(InvalidDeclaration) as caught:
        declared(*endpoints, policy=policy, defaults=defaults)
    return without_lines(str(caught.value).splitlines())


def without_lines(told: Sequence[str]) -> list[str]:
    """`fiso.yaml:12: ` as `fiso.yaml: `, for tests that are not about the line."""
    return [re.sub(r"^(fiso.yaml):[0-9]+:", r"\1:", line) for line in told]


def test_a_function_is_read_with_the_domains_defaults() -> None:
    (entry,) = declared(AWS, GCP).entries
    assert (entry.name, entry.function_type, entry.policy) == ("bfs", "graph", Policy(version=0))
    assert [endpoint.address for endpoint in entry.endpoints] == ["fn", "https://g.run.app/bfs"]
    assert [endpoint.provider for endpoint in entry.endpoints] == [Provider.AWS, Provider.GCP]
    assert [endpoint.payload for endpoint in entry.endpoints] == [Payload.HTTP, Payload.HTTP]


def test_every_key_of_a_policy_reaches_the_domain() -> None:
    policy = policy_of(
        "{weights: {latency: 1, cost: 2, reliability: 3, region_affinity: 4}, scoring: reciprocal,"
        " allow: {providers: [aws], regions: [us-east-1]}, deny: {providers: [gcp], regions: [eastus]},"
        " residency: [us-east-1], mode: observe, home: aws, idempotent: deduplicates_on_key, timeout_ms: 500,"
        " max_attempts: 2, exploration: 0, cost_source: model}"
    )
    assert policy.weights == Weights(latency=1, cost=2, reliability=3, region_affinity=4)
    assert (policy.scoring, policy.mode, policy.home) == (Scoring.RECIPROCAL, Mode.OBSERVE, "aws")
    assert (policy.allowed_providers, policy.denied_providers) == (places(Provider.AWS), places(Provider.GCP))
    assert (policy.allowed_regions, policy.denied_regions) == (places("us-east-1"), places("eastus"))
    assert policy.residency == places("us-east-1")
    assert (policy.timeout_ms, policy.max_attempts, policy.exploration, policy.cost_source) == (500, 2, 0, "model")
    assert policy.idempotent is Idempotent.DEDUPLICATES_ON_KEY


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("yes", Idempotent.YES),
        ("no", Idempotent.NO),
        ("true", Idempotent.YES),
        ("false", Idempotent.NO),
        ('"yes"', Idempotent.YES),
    ],
)
def test_yes_and_no_mean_the_same_as_words_and_as_booleans(word: str, meaning: Idempotent) -> None:
    assert policy_of(f"{{idempotent: {word}}}").idempotent is meaning


def test_a_pin_names_its_endpoint() -> None:
    policy = policy_of("{mode: 'pin:azure'}")
    assert (policy.mode, policy.pinned) == (Mode.PIN, EndpointId("azure"))


def test_defaults_hold_until_a_function_says_otherwise() -> None:
    defaults = "{policy: {timeout_ms: 900, max_attempts: 1, idempotent: yes}}"
    policy = policy_of("{timeout_ms: 700}", defaults)
    assert (policy.timeout_ms, policy.max_attempts, policy.idempotent) == (700, 1, Idempotent.YES)


def test_a_default_denial_stays_when_a_function_denies_something_else() -> None:
    policy = policy_of("{deny: {regions: [eastus]}}", "{policy: {deny: {providers: [gcp]}}}")
    assert (policy.denied_providers, policy.denied_regions) == (places(Provider.GCP), places("eastus"))


def test_each_provider_has_its_own_way_to_identify_the_caller() -> None:
    key = AZURE.replace("}", ", authentication: function_key, secret_ref: keys/bfs}")
    (entry,) = declared(AWS, key, GCP).entries
    ways = [endpoint.authentication for endpoint in entry.endpoints]
    assert ways == [Authentication.IAM, Authentication.FUNCTION_KEY, Authentication.NONE]


@pytest.mark.parametrize(
    ("endpoint", "problem"),
    [
        (AWS.replace("512", "0"), "memory_mb: must be at least 1"),
        (AWS.replace("512", '"512"'), "memory_mb: must be a whole number"),
        (AWS.replace("aws, region", "ibm, region"), "provider: must be 'aws', 'azure' or 'gcp'"),
        (AWS.replace("id: aws", "id: A W S"), "id: must be lower-case letters"),
        (AWS.replace("region", "regoin"), "regoin: unknown key, did you mean 'region'?"),
        (AWS.replace(", address: fn", ""), "address: is missing"),
        (AWS.replace("fn", "fn, authentication: none"), "authentication: must be iam for aws"),
        (AWS.replace("fn", "fn, secret_ref: x"), "secret_ref: is not used with authentication iam"),
        (
            GCP[:-1] + ", authentication: id_token, secret_ref: x}",
            "secret_ref: is not used with authentication id_token",
        ),
        (
            AZURE.replace("https://a.azurewebsites.net", "https://a.azurewebsites.net, payload: event"),
            "payload: event is for aws only",
        ),
        (
            AZURE.replace("https://a.azurewebsites.net", "https://a.azurewebsites.net, authentication: function_key"),
            "secret_ref: is missing",
        ),
        (AZURE, "id: 'azure' is already taken"),
        ("aws", ": must be a mapping"),
    ],
)
def test_a_bad_endpoint_is_named_by_its_place(endpoint: str, problem: str) -> None:
    place = "fiso.yaml: functions.bfs.endpoints[1]"
    assert [line for line in problems_in(AZURE, endpoint) if line.startswith(place) and problem in line]


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("{weights: {latency: 1}}", ".weights.cost: is missing"),
        (
            "{weights: {latency: -1, cost: 1, reliability: 1, region_affinity: 1}}",
            ".weights.latency: must be at least 0",
        ),
        (
            "{weights: {latency: yes, cost: 0, reliability: 0, region_affinity: 0}}",
            ".weights.latency: must be a number",
        ),
        ("{allow: {regoins: []}}", ".allow.regoins: unknown key, did you mean 'regions'?"),
        ("{residency: us-east-1}", ".residency: must be a list"),
        ("{residency: [US]}", ".residency[0]: must be a region"),
        ("{mode: observe}", ".home: is missing: mode observe calls it"),
        ("{home: gcp}", ".home: no endpoint 'gcp' here, only aws, azure"),
        ("{mode: observe, home: aws, deny: {providers: [aws]}}", ".home: must not be called: provider aws is denied"),
        ("{max_attempts: true}", ".max_attempts: must be a whole number"),
        ("{exploration: 0.6}", ".exploration: must be at most 0.5"),
        ("{deny: {providers: [aws]}, mode: 'pin:aws'}", ": leaves no endpoint to call"),
        ("{request_headers: [X-Upper]}", ".request_headers[0]: must be the name of a header"),
        ("{cors: {}}", ".cors.allow_origins: is missing"),
        ("{cors: {allow_origins: [app.example.com]}}", ".cors.allow_origins[0]: must be an origin"),
        (
            "{cors: {allow_origins: ['*'], allow_credentials: true}}",
            ".cors.allow_origins: must not be * where allow_credentials is true",
        ),
    ],
)
def test_a_bad_policy_is_named_by_its_place(policy: str, problem: str) -> None:
    assert any(line.startswith(f"fiso.yaml: functions.bfs.policy{problem}") for line in problems_in(policy=policy))


def test_every_problem_of_every_function_is_told_at_once() -> None:
    one = "type: graph\n    endpoints: [{id: a, provider: aws, region: us-east-1, memory_mb: 0, address: fn}]"
    other = "type: graph\n    endpoints: []\n    colour: blue"
    lines = problems_of(
        "version: 2\nextra: 1\ndefaults: {policy: {timeout_ms: 1}}\n"
        f"functions:\n  one:\n    {one}\n  two:\n    {other}"
    )
    assert lines == [
        "fiso.yaml: version: must be 1",
        "fiso.yaml: extra: unknown key, there are version, quotas, hosts, identities, defaults, functions",
        "fiso.yaml: defaults.policy.timeout_ms: must be at least 100",
        "fiso.yaml: functions.one.endpoints[0].memory_mb: must be at least 1",
        "fiso.yaml: functions.two.endpoints: must not be empty",
        "fiso.yaml: functions.two.colour: unknown key, there are type, endpoints, policy, prices",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "fiso.yaml: must be a mapping with version and functions"),
        ("version: 1", "fiso.yaml: functions: is missing"),
        ("version: 1\nfunctions: []", "fiso.yaml: functions: must be a mapping"),
        ("version: 1\nfunctions: {7: {}}", "fiso.yaml:13: keys must be text: put 7 in quotes"),
        ("version: 1\nfunctions: {bfs: }", "fiso.yaml: functions.bfs: must be a mapping"),
    ],
)
def test_a_bad_file_is_told_in_one_line(text: str, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems_of(text))


@pytest.mark.parametrize("text", ["version: 1\nfunctions:", "version: 1\nfunctions: {}"])
def test_a_file_without_functions_declares_none(text: str) -> None:
    """What it removes of a catalog, `fiso apply` asks for."""
    assert parse(text, SETTING).entries == ()


def test_a_size_that_azures_plan_has_not_is_doubtful() -> None:
    odd = AZURE.replace("512", "1024")
    (told,) = without_lines(declared(AWS, odd).warnings)
    assert told.endswith("1024 is no size of flex_consumption: the legacy plan is plan: consumption")
    assert declared(AWS, odd.replace("memory_mb", "plan: consumption, memory_mb")).warnings == ()


PRICED = """
version: 1
defaults:
  prices: {aws: {discount: 0.1}, links: [{origin: aws/us-east-1, destination: gcp, usd_per_gb: 0.02}]}
functions:
  bfs:
    type: graph
    endpoints:
      - {id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn, plan: snapstart, architecture: arm64}
    prices: {gcp: {free_tier: true, monthly_requests: 1000000}}
  other:
    type: graph
    endpoints: [{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: fn}]
"""


def test_plans_and_the_operators_own_terms_are_read_shown_and_written_again() -> None:
    bfs, other = parse(PRICED, SETTING).entries
    link = Link(origin="aws/us-east-1", destination="gcp", usd_per_gb=0.02)
    assert other.prices == Terms(aws=Account(discount=0.1), links=(link,))
    gcp = Account(free_tier=True, monthly_requests=1e6)
    assert bfs.prices == Terms(aws=Account(discount=0.1), gcp=gcp, links=(link,))
    assert (bfs.endpoints[0].plan, bfs.endpoints[0].architecture) == (Plan.SNAPSTART, Architecture.ARM64)
    written = yaml_text.written(spelling.file_of({entry.name: entry for entry in (bfs, other)}))
    assert parse(written, SETTING).entries == (bfs, other)
    plain = replace(bfs, prices=None, endpoints=(replace(bfs.endpoints[0], plan=None),))
    for before, after in ((plain, bfs), (bfs, plain)):
        told = {change.path for change in changes({before.name: before}, [after])}
        assert told == {"endpoints.aws.plan", "prices.aws", "prices.gcp", "prices.links"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("discount: 0.1", "prices.aws.discount: must be at most 0.99"),
        ("origin: aws/us-east-1", "prices.links[0].origin: must be a provider or one of its regions"),
        ("usd_per_gb: 0.02", "prices.links[0].usd_per_gb: must be a number"),
        ("plan: snapstart", "endpoints[0].plan: must be one of on_demand, provisioned, snapstart, managed_instances"),
        ("architecture: arm64", "endpoints[0].architecture: must be 'x86_64' or 'arm64'"),
    ],
)
def test_terms_and_plans_that_cannot_be_are_told_with_their_place(wrong: str, said: str) -> None:
    bad = {"discount: 0.1": "discount: 7", "plan: snapstart": "plan: consumption"}.get(wrong, f"{wrong[:-4]}x@")
    (told,) = problems_of(PRICED.replace(wrong, bad))
    assert said in told


def test_a_region_that_there_is_not_and_a_region_nobody_is_in_are_doubtful() -> None:
    declaration = declared(AWS, AZURE.replace("eastus", "eatsus"), policy="{residency: [us-east-1, eastus]}")
    assert without_lines(declaration.warnings) == [
        "fiso.yaml: functions.bfs.endpoints[1].region: azure has no eatsus that FISO knows: priced like its neighbours",
        "fiso.yaml: functions.bfs.policy.residency: no endpoint is in eastus",
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"\xff", "not UTF-8"), (b"#" * (LARGEST_FILE_BYTES + 1), "larger than")],
)
def test_a_file_that_cannot_be_read_is_told_with_its_name(tmp_path: Path, content: bytes | None, problem: str) -> None:
    file = tmp_path / "fiso.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidDeclaration, match=f"{file}:.*{problem}"):
        read(file, SETTING)
