import json
from dataclasses import replace

import pytest

from fiso.billing import tariff
from fiso.domain.endpoint import PLANS, Architecture, Endpoint, Plan, Provider
from fiso.domain.fields import Impossible
from fiso.domain.terms import Account, Link, Terms
from tests.builders import an_endpoint

PRICES = tariff.current()
AWS, AZURE, GCP = (an_endpoint(provider) for provider in Provider)
GCP = replace(GCP, region="us-central1")


def usd(endpoint: Endpoint, ms: float, terms: Terms | None = None, *, is_cold: bool = False) -> float:
    cost = PRICES.under(terms).cost_usd(endpoint, ms, is_cold=is_cold)
    assert cost is not None
    return cost


@pytest.mark.parametrize(
    ("endpoint", "ms", "expected"),
    [
        # aws.amazon.com/lambda/pricing: memory by the GB, the millisecond begun, 0.20 USD a million
        (replace(AWS, memory_mb=512), 99.2, 0.05 * 1.66667e-5 + 2e-7),
        (replace(AWS, memory_mb=1024, architecture=Architecture.ARM64), 1000, 1.33334e-5 + 2e-7),
        (replace(AWS, memory_mb=1024, region="af-south-1"), 1000, 2.21e-5 + 2.65e-7),
        (replace(AWS, memory_mb=1024, plan=Plan.PROVISIONED), 1000, 9.7222e-6 + 2e-7),
        (replace(AWS, memory_mb=8192, plan=Plan.MANAGED_INSTANCES), 1000, 2e-7),
        # azure.microsoft.com/pricing/details/functions: by 128 MB, at least 100 ms; Flex by size, at least 1 s
        (replace(AZURE, memory_mb=130, plan=Plan.CONSUMPTION), 20, 0.025 * 1.6e-5 + 2e-7),
        (replace(AZURE, memory_mb=512), 100, 0.5 * 2.6e-5 + 4e-7),
        (replace(AZURE, memory_mb=2048), 1001, 2 * 1.1 * 2.6e-5 + 4e-7),
        (replace(AZURE, memory_mb=600, plan=Plan.FLEX_CONSUMPTION), 1, 2 * 2.6e-5 + 4e-7),
        (replace(AZURE, memory_mb=512, plan=Plan.ALWAYS_READY), 1000, 0.5 * 1.6e-5 + 4e-7),
        # cloud.google.com/run/pricing: memory and processor by 100 ms begun, 0.40 USD a million
        (replace(GCP, memory_mb=1024), 101, 0.2 * (2.5e-6 + 0.583 * 2.4e-5) + 4e-7),
        (replace(GCP, memory_mb=16_384), 1000, 16 * 2.5e-6 + 4 * 2.4e-5 + 4e-7),
        (replace(GCP, memory_mb=512, vcpu=1.0), 1000, 0.5 * 2.5e-6 + 2.4e-5 + 4e-7),
        (replace(GCP, memory_mb=2048, region="europe-west3"), 1000, 2 * 3.5e-6 + 3.36e-5 + 4e-7),
        (replace(GCP, memory_mb=2048, plan=Plan.MIN_INSTANCES), 1000, 2.4e-5 - 2.5e-6 + 4e-7),
        (replace(GCP, memory_mb=256, plan=Plan.FIRST_GENERATION), 1000, 0.25 * 2.5e-6 + 0.4 * 1e-5 + 4e-7),
    ],
)
def test_a_call_costs_what_its_plan_meters(endpoint: Endpoint, ms: float, expected: float) -> None:
    assert usd(endpoint, ms) == pytest.approx(expected, rel=1e-9)


def test_the_providers_own_billed_duration_wins_over_what_was_seen() -> None:
    assert PRICES.cost_usd(AWS, 500, billed_ms=100) == usd(AWS, 100)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        (replace(AWS, memory_mb=1024), 1.66667e-5),  # billed since August 2025
        (replace(AWS, memory_mb=1024, plan=Plan.SNAPSTART), 1.66667e-5 + 0.0001397998),
        (AZURE, 0.0),
        (replace(GCP, memory_mb=2048), 2 * 2.5e-6 + 2.4e-5),
    ],
)
def test_a_start_is_billed_where_its_plan_says_so(endpoint: Endpoint, expected: float) -> None:
    assert PRICES.start_usd(endpoint, 1000) == pytest.approx(expected)


def test_a_restored_snapshot_is_paid_by_its_size() -> None:
    snapshot = replace(AWS, memory_mb=2048, plan=Plan.SNAPSTART)
    assert usd(snapshot, 100, is_cold=True) - usd(snapshot, 100) == pytest.approx(2 * 0.0001397998)


@pytest.mark.parametrize(
    ("endpoint", "like"),
    [
        (replace(AWS, region="il-central-1"), replace(AWS, region="me-central-1")),
        (replace(AZURE, region="eatsus"), replace(AZURE, region="eastus")),
        (replace(GCP, region="europe-north2"), replace(GCP, region="europe-west3")),  # 7 of 12 there are of tier 2
        (replace(GCP, region="moon-1"), replace(GCP, region="us-west2")),
        (replace(AWS, region="moon-1"), AWS),
    ],
)
def test_a_region_without_a_price_is_priced_like_its_neighbours_and_said_to_be(
    endpoint: Endpoint, like: Endpoint
) -> None:
    rate, known = PRICES.rate(endpoint), PRICES.rate(like)
    assert rate is not None
    assert known is not None
    assert (rate.is_estimated, known.is_estimated) == (True, False)
    assert rate == replace(known, is_estimated=True)


def test_every_plan_has_a_price_in_every_region() -> None:
    for provider, plans in PLANS.items():
        for region in PRICES.lists[provider].areas:
            for plan in plans:
                endpoint = an_endpoint(provider, region=region, memory_mb=512, plan=plan)
                assert usd(endpoint, 100) > 0


@pytest.mark.parametrize(
    ("monthly", "per_gb_second"),
    [(0, 1.66667e-5), (5.9e9, 1.66667e-5), (6e9, 1.5e-5), (14e9, 1.5e-5), (15e9, 1.33334e-5)],
)
def test_a_call_more_costs_what_the_last_one_of_the_month_does(monthly: float, per_gb_second: float) -> None:
    terms = Terms(aws=Account(monthly_gb_seconds=monthly))
    assert usd(replace(AWS, memory_mb=1024), 1000, terms) == pytest.approx(per_gb_second + 2e-7)


def test_the_free_tier_counts_only_for_who_says_that_it_is_his() -> None:
    used = Account(monthly_requests=9e5, monthly_gb_seconds=3e5)
    assert usd(AWS, 100, Terms(aws=used)) == usd(AWS, 100)
    assert usd(AWS, 100, Terms(aws=replace(used, free_tier=True))) == 0
    beyond = Account(free_tier=True, monthly_requests=2e6, monthly_gb_seconds=3e5)
    assert usd(AWS, 100, Terms(aws=beyond)) == pytest.approx(2e-7)


def test_a_discount_is_of_its_own_account_only() -> None:
    terms = Terms(aws=Account(discount=0.25))
    assert usd(AWS, 100, terms) == pytest.approx(0.75 * usd(AWS, 100))
    assert usd(GCP, 100, terms) == usd(GCP, 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": Plan.CONSUMPTION},
        {"provider": Provider.GCP, "architecture": Architecture.ARM64},
        {"vcpu": 1.0},
        {"provider": Provider.GCP, "vcpu": 0.0},
    ],
)
def test_an_endpoint_has_no_plan_of_another_provider(changes: dict[str, object]) -> None:
    with pytest.raises(Impossible):
        replace(AWS, **changes)  # type: ignore[arg-type]


def test_terms_that_cannot_be_are_refused() -> None:
    with pytest.raises(Impossible):
        Account(discount=1.5)
    with pytest.raises(Impossible):
        Link(origin="aws", destination="gcp", usd_per_gb=-1)


@pytest.mark.parametrize(
    "damage",
    [
        {"currency": "EUR"},
        {"aws": None},
        {"gcp": {"as_of": "2026-01-01"}},
    ],
)
def test_what_is_no_tariff_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"tariffs|USD"):
        tariff.read(json.loads(tariff.FILE.read_text()) | damage)


@pytest.mark.parametrize("usd_of_unit", [-1e-9, "1", True, None, 1e3, float("nan")])
def test_a_price_that_cannot_be_is_refused(usd_of_unit: object) -> None:
    document = json.loads(tariff.FILE.read_text())
    document["aws"]["meters"]["request"] = [{"usd": usd_of_unit}]
    with pytest.raises(ValueError, match="price"):
        tariff.read(document)


def test_prices_are_dated_and_sourced() -> None:
    assert PRICES.as_of.startswith("20")
    assert PRICES.version
    assert all(listed.sources and listed.as_of.startswith("20") for listed in PRICES.lists.values())
