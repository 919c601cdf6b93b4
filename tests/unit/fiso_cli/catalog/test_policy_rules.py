"""What `fiso.yaml` may ask of routing: how it reaches the domain, what is refused, what is doubted."""

import pytest

from fiso.codecs.policy import POLICY_CODEC
from fiso.domain.endpoint import EndpointId
from fiso.domain.policy import Objective
from fiso.domain.strategy import CandidateField, Condition, Operator, RequestField, Strategy
from fiso_cli.catalog.spelling import PRESETS
from tests.unit.fiso_cli.catalog.test_declaration import declared, policy_of, problems_in, without_lines

MINE = "{name: mine, when: {day_of_week: [6, 7], hour_of_day: {at_least: 9, at_most: 17}}, %s}"
ON_AZURE = "candidates: {provider: azure, cold_probability: {at_least: 0.5}}, factor: 2"


def strategy(changed: str) -> str:
    """A strategy `x` with a part of it replaced."""
    parts = {"when": "{}", "candidates": "{provider: aws}", "factor": "2"}
    key, _, value = changed.partition(": ")
    listed = ", ".join(f"{name}: {text}" for name, text in (parts | {key: value}).items())
    return f"{{strategies: [{{name: x, {listed}}}]}}"


def test_every_key_reaches_the_domain() -> None:
    policy = policy_of(
        "{objective: cheapest_within, latency_objective_ms: 300, max_p95_ms: 900.5, max_cost_usd: 1e-5,"
        " tiers: [[azure], [aws]], home: aws, control_share: 0.25, control_block_s: 7200}"
    )
    assert (policy.objective, policy.latency_objective_ms) == (Objective.CHEAPEST_WITHIN, 300.0)
    assert (policy.max_p95_ms, policy.max_cost_usd) == (900.5, 1e-5)
    assert policy.tiers == (frozenset({EndpointId("azure")}), frozenset({EndpointId("aws")}))
    assert (policy.control_share, policy.control_block_s) == (0.25, 7200)


def test_strategies_go_by_name_or_are_written_out() -> None:
    preset, mine = policy_of(f"{{strategies: [weekend_scale_down, {MINE % ON_AZURE}]}}").strategies
    assert preset == POLICY_CODEC.from_document(Strategy, PRESETS["weekend_scale_down"])
    assert mine == Strategy(
        name="mine",
        when=frozenset(
            {
                Condition(field=RequestField.DAY_OF_WEEK, operator=Operator.IN, values=(6, 7)),
                Condition(field=RequestField.HOUR_OF_DAY, operator=Operator.AT_LEAST, values=(9,)),
                Condition(field=RequestField.HOUR_OF_DAY, operator=Operator.AT_MOST, values=(17,)),
            }
        ),
        candidates=frozenset(
            {
                Condition(field=CandidateField.PROVIDER, operator=Operator.IS, values=("azure",)),
                Condition(field=CandidateField.COLD_PROBABILITY, operator=Operator.AT_LEAST, values=(0.5,)),
            }
        ),
        factor=2.0,
    )


def test_default_strategies_and_tiers_hold_until_a_function_says_otherwise() -> None:
    defaults = "{policy: {strategies: [weekend_scale_down], tiers: [[aws]]}}"
    assert [s.name for s in policy_of("{}", defaults).strategies] == ["weekend_scale_down"]
    assert policy_of("{strategies: [], tiers: []}", defaults).strategies == ()


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ("{objective: best}", ".objective: must be 'weighted' or 'cheapest_within'"),
        ("{latency_objective_ms: 0}", ".latency_objective_ms: must be positive"),
        ("{max_p95_ms: fast}", ".max_p95_ms: must be a number"),
        ("{tiers: [aws]}", ".tiers[0]: must be a list"),
        ("{tiers: [[aws, gcp]]}", ".tiers[0]: no endpoint 'gcp' here, only aws, azure"),
        ("{control_share: 0.6, home: aws}", ".control_share: must be at most 0.5"),
        ("{control_block_s: 59}", ".control_block_s: must be at least 60"),
        ("{strategies: weekend_scale_down}", ".strategies: must be a list"),
        ("{wishes: [speed]}", ".wishes[0]: must be 'max_cost', 'prefer' or 'exclude'"),
        ("{affinity: {life_s: 60}}", ".affinity: needs either a header or a cookie"),
        ("{affinity: {header: x-a, cookie: b}}", ".affinity: needs either a header or a cookie"),
        ("{affinity: {header: X-Session}}", ".affinity.header: must be a name as HTTP has it, in lower case"),
        ("{affinity: {cookie: 'a;b'}}", ".affinity.cookie: must be a cookie's name"),
        ("{canary: {shares: [0.1]}}", ".canary.endpoint: is missing"),
        ("{canary: {endpoint: gcp}}", ".canary.endpoint: no endpoint 'gcp' here, only aws, azure"),
        ("{canary: {endpoint: aws, shares: [0.5, 0.1]}}", ".canary.shares[1]: must not be smaller than the step b"),
        ("{canary: {endpoint: aws, shares: [1.5]}}", ".canary.shares[0]: must be above 0 and at most 1"),
        ("{canary: {endpoint: aws, shares: []}}", ".canary.shares: must be 1 to 10 steps"),
        (f"{{strategies: [{', '.join(['weekend_scale_down'] * 21)}]}}", ".strategies: must have at most 20 entries"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(policy: str, problem: str) -> None:
    (line,) = problems_in(policy=policy)
    assert line.startswith(f"fiso.yaml: functions.bfs.policy{problem}")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ("factor: 11", "factor: must be at most 10"),
        ("candidates: {providr: aws}", "candidates.providr: unknown key, did you mean 'provider'"),
        ("candidates: {cold_probability: 1}", "candidates.cold_probability: must be a mapping"),
        ("candidates: {region: {in: us}}", "candidates.region.in: must be a list"),
        ("candidates: {region: {}}", "candidates.region: must not be empty"),
        ("when: {hour: 9}", "when.hour: unknown key, there are hour_of_day, day_of_week, fun"),
        ("when: {hour_of_day: 24}", "when.hour_of_day: must be at most 23"),
        ("when: {hour_of_day: {atleast: 9}}", "when.hour_of_day.atleast: unknown key, did you mean 'at_least'"),
        (
            "when: {request_size_bytes: {between: [9, 8]}}",
            "when.request_size_bytes: request_size_bytes between 9 and",
        ),
        ("when: {function_type: {at_least: a}}", "when.function_type.at_least: unknown key, there are is, is_not"),
    ],
)
def test_what_is_wrong_with_a_strategy_is_one_line_with_its_place(changed: str, problem: str) -> None:
    (line,) = problems_in(policy=strategy(changed))
    assert line.startswith(f"fiso.yaml: functions.bfs.policy.strategies[0].{problem}")


EQUAL = "{latency: 1, cost: 1, reliability: 1, region_affinity: 1}"
WITHIN = "objective: cheapest_within, latency_objective_ms: 300"
AT_HOME = "control_share: 0.1, home: aws"


@pytest.mark.parametrize(
    ("policy", "doubt"),
    [
        ("{latency_objective_ms: 300}", ".latency_objective_ms: is not used: objective is weighted"),
        (f"{{{WITHIN}, weights: {EQUAL}}}", ".weights: are not used: objective is cheapest_within"),
        (f"{{{WITHIN}, scoring: reciprocal}}", ".scoring: is not used: objective is cheapest_within"),
        (f"{{{WITHIN}, max_p95_ms: 200}}", ".latency_objective_ms: is not below max_p95_ms"),
        ("{max_p95_ms: 5000, timeout_ms: 4000}", ".max_p95_ms: is not below timeout_ms 4000"),
        ("{max_p95_ms: 5000, mode: 'pin:aws'}", ".max_p95_ms: is not applied in mode pin"),
        ("{tiers: [[aws, azure]]}", ".tiers: have no effect: the first one holds every endpoint"),
        ("{control_block_s: 7200}", ".control_block_s: is not used: control_share is 0"),
        ("{control_share: 0.1, home: aws, control_block_s: 600}", ".control_block_s: is shorter than the 1200 s"),
        ("{control_share: 0.1, home: aws, mode: observe}", ".control_share: is not used in mode observe"),
        (
            f"{{{AT_HOME}, deny: {{providers: [aws]}}}}",
            ".control_share: never takes effect: home must not be called (p",
        ),
        ("{canary: {endpoint: aws}, mode: 'pin:aws'}", ".canary: is not used in mode pin"),
        (
            "{canary: {endpoint: aws}, deny: {providers: [aws]}}",
            ".canary: gets no request: aws must not be called (provider aws is denied)",
        ),
        ("{canary: {endpoint: aws}, deny: {providers: [azure]}}", ".canary: has nothing to be compared with: aws is"),
        ("{strategies: [peak_hours_aws_to_gcp]}", ".strategies[0]: peak_hours_aws_to_gcp never applies: the fu"),
        (strategy("candidates: {provider: gcp}"), ".strategies[0]: x never applies: it matches no endpoint here"),
        (strategy("candidates: {memory_mb: 512}"), ".strategies[0]: x has no effect: it matches every endpoint here"),
    ],
)
def test_what_was_hardly_meant_is_told(policy: str, doubt: str) -> None:
    (warning,) = declared(policy=policy).warnings
    (warning,) = without_lines([warning])
    assert warning.startswith(f"fiso.yaml: functions.bfs.policy{doubt}")


def test_what_is_meant_is_not_doubted() -> None:
    policy = (
        "{objective: cheapest_within, latency_objective_ms: 300, max_p95_ms: 900, tiers: [[aws]], home: aws,"
        " control_share: 0.1, strategies: [weekend_scale_down, cold_start_optimization]}"
    )
    assert declared(policy=policy).warnings == ()
