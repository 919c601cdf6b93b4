import pytest

from fiso.billing import tariff
from fiso.billing.tariff import aws_usage, azure_usage, gcp_usage
from fiso.domain.endpoint import Provider
from tests.builders import an_endpoint


@pytest.mark.parametrize(
    ("usage", "gb_seconds"),
    [
        (aws_usage(512, 99.2), 0.05),  # 100 ms of half a GB
        (aws_usage(1024, 1.0), 0.001),
        (azure_usage(512, 20), 0.05),  # at least 100 ms
        (azure_usage(130, 1000), 0.25),  # rounded up to 256 MB
        (gcp_usage(1024, 101), 0.2),  # rounded up to 200 ms
    ],
)
def test_each_provider_meters_by_its_own_rule(usage: tariff.Usage, gb_seconds: float) -> None:
    assert usage.gb_seconds == pytest.approx(gb_seconds)


def test_google_also_meters_the_cpu_that_comes_with_the_memory() -> None:
    assert gcp_usage(512, 100).vcpu_seconds == pytest.approx(0.0333)
    assert gcp_usage(2048, 1000).vcpu_seconds == pytest.approx(1.0)


def test_a_call_on_aws_is_priced_to_the_cent_of_its_price_list() -> None:
    # 512 MB for 100 ms: .05 GB-s * 16.6667e-6 + .2e-6
    assert tariff.current().cost_usd(an_endpoint(), 100) == pytest.approx(1.0333e-6, rel=1e-4)


def test_the_providers_own_billed_duration_wins_over_what_was_seen() -> None:
    prices = tariff.current()
    assert prices.cost_usd(an_endpoint(), 500, billed_ms=100) == prices.cost_usd(an_endpoint(), 100)


@pytest.mark.parametrize("provider", list(Provider))
def test_a_region_without_a_price_is_unpriced_never_free(provider: Provider) -> None:
    assert tariff.current().cost_usd(an_endpoint(provider, region="moon-1"), 100) is None


def test_prices_are_dated_and_sourced() -> None:
    prices = tariff.current()
    assert prices.as_of.startswith("20")
    assert prices.version
