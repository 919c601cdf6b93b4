"""Catalog entries that a store must keep: a plain one, one that uses everything there is, and one from before."""

from dataclasses import replace

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import (
    Architecture,
    Authentication,
    Endpoint,
    EndpointId,
    FunctionName,
    Payload,
    Plan,
    Provider,
)
from fiso.domain.policy import CostSource, Idempotent, Mode, Objective, Policy, Scoring, Weights
from fiso.domain.strategy import CandidateField, Condition, Operator, RequestField, Strategy
from fiso.domain.terms import Account, Link, Terms

AWS = Endpoint(id=EndpointId("aws"), provider=Provider.AWS, region="us-east-1", memory_mb=512, address="fn")
GCP = Endpoint(
    id=EndpointId("gcp"),
    provider=Provider.GCP,
    region="us-east4",
    memory_mb=256,
    address="https://g.example/bfs?ünï'\"\\",
    path="/bfs",
    payload=Payload.EVENT,
    authentication=Authentication.ID_TOKEN,
    secret_ref="keys/bfs",
    concurrency_limit=7,
)
PLAIN = CatalogEntry(name=FunctionName("plain"), function_type="text", endpoints=(AWS,), policy=Policy(version=0))
PRICED = CatalogEntry(
    name=FunctionName("priced"),
    function_type="text",
    endpoints=(
        replace(AWS, plan=Plan.SNAPSTART, architecture=Architecture.ARM64),
        replace(GCP, plan=Plan.MIN_INSTANCES, vcpu=0.5),
    ),
    policy=Policy(version=0),
    prices=Terms(
        aws=Account(discount=1 / 3, free_tier=True, monthly_gb_seconds=7e9),
        links=(Link(origin="aws/us-east-1", destination="gcp", usd_per_gb=0.02),),
    ),
)
NIGHTS = Strategy(
    name="nights 'ünï'",
    when=frozenset(
        {
            Condition(field=RequestField.USER_REGION, operator=Operator.NOT_IN, values=("a,b", '"c"')),
            Condition(field=RequestField.HOUR_OF_DAY, operator=Operator.BETWEEN, values=(22, 5)),
            Condition(field=RequestField.HOUR_OF_DAY, operator=Operator.IS_NOT, values=(0,)),
        }
    ),
    candidates=frozenset(
        {Condition(field=CandidateField.COLD_PROBABILITY, operator=Operator.AT_LEAST, values=(1e-300,))}
    ),
    factor=1 / 3,
)
FULL = CatalogEntry(
    name=FunctionName("full"),
    function_type="graph",
    endpoints=(GCP, AWS),
    policy=Policy(
        version=0,
        weights=Weights(latency=0.1, cost=1 / 3, reliability=1e-300, region_affinity=0),
        scoring=Scoring.RECIPROCAL,
        objective=Objective.CHEAPEST_WITHIN,
        latency_objective_ms=1 / 3,
        allowed_providers=frozenset({Provider.AWS, Provider.GCP}),
        denied_providers=frozenset({Provider.AZURE}),
        allowed_regions=frozenset({"us-east-1", "us-east4"}),
        denied_regions=frozenset({"a,b", "{c}", '"d"'}),
        residency=frozenset({"us-east-1"}),
        max_p95_ms=1e300,
        max_cost_usd=1e-300,
        tiers=(frozenset({GCP.id}), frozenset({AWS.id})),
        strategies=(NIGHTS,),
        mode=Mode.PIN,
        home=GCP.id,
        pinned=AWS.id,
        idempotent=Idempotent.DEDUPLICATES_ON_KEY,
        timeout_ms=100,
        max_attempts=5,
        exploration=0.123456789,
        hedging=0.012345678,
        control_share=0.1,
        control_block_s=60,
        cost_source=CostSource.MODEL,
    ),
)
WRITTEN_BEFORE = """
INSERT INTO catalog_versions (version, author) VALUES (1, 'tester');
INSERT INTO functions VALUES (1, 'plain', 'text');
INSERT INTO endpoints VALUES
    (1, 'plain', 0, 'aws', 'aws', 'us-east-1', 512, 'fn', '', 'http', 'none', NULL, 100);
INSERT INTO policies VALUES
    (1, 'plain', 1, 0.4, 0.3, 0.2, 0.1, 'relative', '{}', '{}', '{}', '{}', '{}', 'route', NULL, NULL, 'no', 28000, 3,
     0.05, 'tariff');
"""
"""One function as the first migration alone could hold it."""
WRITTEN_IN_COLUMNS = (
    WRITTEN_BEFORE
    + """
INSERT INTO catalog_versions (version, author) VALUES (2, 'tester');
INSERT INTO functions VALUES (2, 'full', 'graph');
INSERT INTO endpoints VALUES
    (2, 'full', 0, 'gcp', 'gcp', 'us-east4', 256, E'https://g.example/bfs?ünï\\'"\\\\', '/bfs', 'event', 'id_token',
     'keys/bfs', 7),
    (2, 'full', 1, 'aws', 'aws', 'us-east-1', 512, 'fn', '', 'http', 'none', NULL, 100);
INSERT INTO policies VALUES
    (2, 'full', 2, 0.1, 0.3333333333333333, 1e-300, 0, 'reciprocal', '{aws,gcp}', '{azure}', '{us-east-1,us-east4}',
     ARRAY['"d"', 'a,b', '{c}'], '{us-east-1}', 'pin', 'gcp', 'aws', 'deduplicates_on_key', 100, 5, 0.123456789,
     'model', 'cheapest_within', 0.3333333333333333, 1e300, 1e-300, 0.1, 60, '[["gcp"], ["aws"]]',
     '[{"name": "nights ''ünï''", "factor": 0.3333333333333333,
        "when": {"hour_of_day": {"between": [22, 5], "is_not": 0}, "user_region": {"not_in": ["a,b", "\\"c\\""]}},
        "candidates": {"cold_probability": {"at_least": 1e-300}}}]',
     0.012345678);
"""
)
"""The full entry as the first three migrations held it, in columns, after the plain one."""
