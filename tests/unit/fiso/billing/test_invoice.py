"""Invoices worked by hand, to the cent. Each names the page that its rule or its whole example is from."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiso.billing import invoice, tariff
from fiso.billing.invoice import Use
from fiso.billing.plans import METERING
from fiso.domain.endpoint import PLANS, Architecture, Endpoint, Plan, Provider
from fiso.domain.terms import Account, Terms
from tests.builders import an_endpoint

PRICES = tariff.current()
FREE = Account(free_tier=True)
OURS = Terms(aws=FREE, azure=FREE, gcp=FREE)
LIST = Terms()
ARM = Architecture.ARM64
HOURS = 3600.0
MONTH_S = 730 * HOURS


def aws(
    memory_mb: int, plan: Plan | None = None, region: str = "us-east-1", cpu: Architecture | None = None
) -> Endpoint:
    return an_endpoint(Provider.AWS, region=region, memory_mb=memory_mb, plan=plan, architecture=cpu)


def azure(memory_mb: int, plan: Plan | None = None, region: str = "eastus") -> Endpoint:
    return an_endpoint(Provider.AZURE, region=region, memory_mb=memory_mb, plan=plan)


def gcp(memory_mb: int, plan: Plan | None = None, region: str = "us-central1", vcpu: float | None = None) -> Endpoint:
    return an_endpoint(Provider.GCP, region=region, memory_mb=memory_mb, plan=plan, vcpu=vcpu)


LAMBDA = "aws.amazon.com/lambda/pricing"
EC2 = "aws.amazon.com/ec2/pricing/on-demand, data transfer"
FUNCTIONS = "azure.microsoft.com/pricing/details/functions"
COSTS = "learn.microsoft.com/azure/azure-functions/functions-consumption-costs"
BANDWIDTH = "azure.microsoft.com/pricing/details/bandwidth"
RUN = "cloud.google.com/run/pricing"
FIRST = "cloud.google.com/functions/pricing-1stgen"
NETWORK = "cloud.google.com/vpc/network-pricing"

Case = tuple[str, list[Use], Terms, float]
AWS: list[Case] = [
    # its own example: 3 M * 0.120 s * 1.5 GB = 540,000 GB-s, less 400,000, at 0.0000166667 = 2.33; 2 M requests 0.40
    (LAMBDA, [Use(endpoint=aws(1536), calls=3e6, call_ms=120)], OURS, 2.73),
    # the same at list prices: 540,000 * 0.0000166667 = 9.00; 3 M requests 0.60
    (LAMBDA, [Use(endpoint=aws(1536), calls=3e6, call_ms=120)], LIST, 9.60),
    # arm64: 540,000 * 0.0000133334 = 7.20; 0.60
    (LAMBDA, [Use(endpoint=aws(1536, cpu=ARM), calls=3e6, call_ms=120)], LIST, 7.80),
    # the edge of the free tier: 1 M requests, 1 M * 0.4 s * 1 GB = 400,000 GB-s: nothing
    (LAMBDA, [Use(endpoint=aws(1024), calls=1e6, call_ms=400)], OURS, 0.00),
    # one beyond it: 500,000 requests 0.10; 200,000 GB-s 3.33
    (LAMBDA, [Use(endpoint=aws(1024), calls=1.5e6, call_ms=400)], OURS, 3.43),
    # one free tier for both processors: 400,000 GB-s of x86 are free, the 400,000 of arm64 are not: 5.33; 1 M requests
    # of 2 M 0.20
    (
        LAMBDA,
        [Use(endpoint=aws(1024), calls=1e6, call_ms=400), Use(endpoint=aws(1024, cpu=ARM), calls=1e6, call_ms=400)],
        OURS,
        5.53,
    ),
    # tiers: 20 billion GB-s = 6 at 0.0000166667 (100,000.20), 9 at 0.000015 (135,000), 5 at 0.0000133334 (66,667);
    # 10 billion requests 2,000
    (LAMBDA, [Use(endpoint=aws(2048), calls=1e10, call_ms=1000)], LIST, 303_667.20),
    # provisioned: 100 * 1 GB * 730 h = 262.8 M GB-s at 0.0000041667 = 1,095.01; 10 M * 0.2 s = 2 M GB-s at
    # 0.0000097222 = 19.44; 10 M requests 2.00
    (
        LAMBDA,
        [Use(endpoint=aws(1024, Plan.PROVISIONED), calls=1e7, call_ms=200, capacity_s=100 * MONTH_S)],
        LIST,
        1_116.45,
    ),
    # its own example of SnapStart: 7.44 M requests 1.49; 14.88 M GB-s 248.00; 2,678,400 GB-s cached 4.03; 74,400
    # restores of 1 GB at 0.0001397998 = 10.40
    (
        LAMBDA,
        [Use(endpoint=aws(1024, Plan.SNAPSTART), calls=7.44e6, call_ms=2000, starts=74_400, capacity_s=2_678_400)],
        LIST,
        263.92,
    ),
    # initialisation is billed since August 2025: 1 M * 0.1 s + 10,000 starts * 2 s = 120,000 s of 0.5 GB = 60,000 GB-s
    # at 0.0000166667 = 1.00; 0.20
    (
        "aws.amazon.com/blogs/compute, INIT billing",
        [Use(endpoint=aws(512), calls=1e6, call_ms=100, starts=1e4, start_ms=2000)],
        LIST,
        1.20,
    ),
    # Cape Town: 1 M * 1 s * 1 GB at 0.0000221 = 22.10; 1 M requests at 0.265; 10 GB to the internet at 0.154 = 1.54
    (EC2, [Use(endpoint=aws(1024, region="af-south-1"), calls=1e6, call_ms=1000, internet_gb=10)], LIST, 23.91),
    # data: 11,000 GB out, 100 free: 10,240 * 0.09 + 660 * 0.085 = 921.60 + 56.10; 500 GB to another region at 0.02
    (EC2, [Use(endpoint=aws(128), internet_gb=11_000, region_gb=500)], OURS, 987.70),
]
AZURE: list[Case] = [
    # its own example of the consumption plan: 3 M * 1 s * 0.5 GB = 1.5 M GB-s less 400,000, at 0.000016 = 17.60;
    # 2 M executions 0.40
    (FUNCTIONS, [Use(endpoint=azure(512, Plan.CONSUMPTION), calls=3e6, call_ms=1000)], OURS, 18.00),
    # at list prices: 24.00 + 0.60
    (FUNCTIONS, [Use(endpoint=azure(512, Plan.CONSUMPTION), calls=3e6, call_ms=1000)], LIST, 24.60),
    # at least 100 ms and 128 MB: 1 M * 0.1 s * 0.125 GB = 12,500 GB-s at 0.000016 = 0.20; 0.20
    (FUNCTIONS, [Use(endpoint=azure(100, Plan.CONSUMPTION), calls=1e6, call_ms=3)], LIST, 0.40),
    # memory by 128 MB: 130 MB are 0.25 GB: 1 M * 1 s * 0.25 = 250,000 GB-s = 4.00; 0.20
    (FUNCTIONS, [Use(endpoint=azure(130, Plan.CONSUMPTION), calls=1e6, call_ms=1000)], LIST, 4.20),
    # Flex bills a second at least: 1 M * 1 s * 0.5 GB = 500,000 GB-s at 0.000026 = 13.00; 1 M executions 0.40
    (COSTS, [Use(endpoint=azure(512), calls=1e6, call_ms=100)], LIST, 13.40),
    # and 100 ms from there: 1,001 ms are 1,100: 1 M * 1.1 s * 2 GB = 2.2 M GB-s = 57.20; 0.40
    (COSTS, [Use(endpoint=azure(2048), calls=1e6, call_ms=1001)], LIST, 57.60),
    # three sizes: 600 MB run on 2,048: 100,000 * 1 s * 2 GB = 200,000 GB-s = 5.20; 0.04
    (COSTS, [Use(endpoint=azure(600, Plan.FLEX_CONSUMPTION), calls=1e5, call_ms=50)], LIST, 5.24),
    # Flex's free grant: 250,000 executions and 100,000 GB-s: 200,000 * 0.5 = 100,000: nothing
    (FUNCTIONS, [Use(endpoint=azure(512), calls=2e5, call_ms=1000)], OURS, 0.00),
    # beyond it: 750,000 executions 0.30; 400,000 GB-s 10.40
    (FUNCTIONS, [Use(endpoint=azure(512), calls=1e6, call_ms=1000)], OURS, 10.70),
    # always ready: 2 * 2 GB * 730 h = 10,512,000 GB-s at 0.000004 = 42.05; 1 M * 1 s * 2 GB at 0.000016 = 32.00; 0.40;
    # no grant
    (
        FUNCTIONS,
        [Use(endpoint=azure(2048, Plan.ALWAYS_READY), calls=1e6, call_ms=800, capacity_s=2 * MONTH_S)],
        OURS,
        74.45,
    ),
    # Brazil South: 500,000 GB-s at 0.000037 = 18.50; 0.40; 10 GB out of zone 3 at 0.181 = 1.81
    (BANDWIDTH, [Use(endpoint=azure(512, region="brazilsouth"), calls=1e6, call_ms=1, internet_gb=10)], LIST, 20.71),
    # data: 20,000 GB out of zone 1, 100 free: 10,240 * 0.087 + 9,660 * 0.083 = 890.88 + 801.78
    (BANDWIDTH, [Use(endpoint=azure(512), internet_gb=20_000)], OURS, 1_692.66),
]
GCP: list[Case] = [
    # its own first example of the first generation: 8 M of 10 M invocations 3.20; 375,000 GB-s are free; 600,000 GHz-s
    # less 200,000 at 0.00001 = 4.00
    (FIRST, [Use(endpoint=gcp(128, Plan.FIRST_GENERATION), calls=1e7, call_ms=300)], OURS, 7.20),
    # its second, but for the network: 48 M invocations 19.20; (6.25 M - 400,000) GB-s at 0.0000025 =
    # 14.63; (10 M - 200,000) GHz-s 98.00
    (FIRST, [Use(endpoint=gcp(256, Plan.FIRST_GENERATION), calls=5e7, call_ms=500)], OURS, 131.83),
    # tier 2: 1 M * 1 s: 0.25 GB at 0.0000035 = 0.88; 0.4 GHz at 0.000014 = 5.60; 0.40
    (FIRST, [Use(endpoint=gcp(256, Plan.FIRST_GENERATION, "europe-west3"), calls=1e6, call_ms=1000)], LIST, 6.88),
    # request-based, 512 MiB with 0.333 vCPU: 1 M * 0.2 s: 100,000 GiB-s 0.25; 66,600 vCPU-s at 0.000024 = 1.60; 0.40
    (RUN, [Use(endpoint=gcp(512), calls=1e6, call_ms=200)], LIST, 2.25),
    # 100 ms begun: 101 ms are 200: the same
    (RUN, [Use(endpoint=gcp(512), calls=1e6, call_ms=101)], LIST, 2.25),
    # 16 GiB come with 4 vCPU: 100,000 * 1 s: 1.6 M GiB-s 4.00; 400,000 vCPU-s 9.60; 0.04
    (RUN, [Use(endpoint=gcp(16_384), calls=1e5, call_ms=1000)], LIST, 13.64),
    # a whole vCPU beside 512 MiB: 1 M * 0.2 s: 0.25; 200,000 vCPU-s 4.80; 0.40
    (RUN, [Use(endpoint=gcp(512, vcpu=1.0), calls=1e6, call_ms=200)], LIST, 5.45),
    # the edge of the free tier: 2 M requests, 2 GiB and 1 vCPU for 180,000 s: 360,000 GiB-s and 180,000 vCPU-s
    (RUN, [Use(endpoint=gcp(2048), calls=1.8e6, call_ms=100)], OURS, 0.00),
    # beyond it: 1.6 M requests 0.64; 360,000 GiB-s 0.90; 180,000 vCPU-s 4.32
    (RUN, [Use(endpoint=gcp(2048), calls=3.6e6, call_ms=100)], OURS, 5.86),
    # tier 2, where what is free is worth its price in tier 1: 360,000 GiB-s 1.26 less 0.90; 180,000 vCPU-s 6.048
    # less 4.32
    (RUN, [Use(endpoint=gcp(2048, region="europe-west3"), calls=1.8e6, call_ms=100)], OURS, 2.09),
    # a minimum instance of 2 GiB and 1 vCPU, 100 of 730 h busy: 360,000 s at (0.000024 + 2 * 0.0000025) = 10.44;
    # 2,268,000 s idle at 3 * 0.0000025 = 17.01; 3.6 M requests 1.44
    (RUN, [Use(endpoint=gcp(2048, Plan.MIN_INSTANCES), calls=3.6e6, call_ms=100, capacity_s=MONTH_S)], LIST, 28.89),
    # data, premium tier: 1,024 GiB at 0.12 = 122.88; 976 at 0.11 = 107.36
    (NETWORK, [Use(endpoint=gcp(128), internet_gb=2_000)], LIST, 230.24),
]


@pytest.mark.parametrize(("page", "uses", "terms", "usd"), [*AWS, *AZURE, *GCP])
def test_an_invoice_worked_by_hand(page: str, uses: list[Use], terms: Terms, usd: float) -> None:
    assert invoice.total_usd(invoice.lines(uses, PRICES.under(terms))) == pytest.approx(usd, abs=0.001), page


def test_each_cloud_has_a_dozen() -> None:
    assert [len(cases) for cases in (AWS, AZURE, GCP)] == [12, 12, 12]


def test_a_discount_is_off_calls_and_not_off_data() -> None:
    uses = [Use(endpoint=aws(1024), calls=1e6, call_ms=1000, internet_gb=100)]
    half = Terms(aws=Account(discount=0.5))
    assert invoice.total_usd(invoice.lines(uses, PRICES.under(half))) == pytest.approx(0.5 * 16.8667 + 9.0, abs=0.01)


endpoints = st.sampled_from(
    [
        an_endpoint(provider, region=region, memory_mb=memory_mb, plan=plan)
        for provider, regions in (
            (Provider.AWS, ("us-east-1", "il-central-1")),
            (Provider.AZURE, ("eastus",)),
            (Provider.GCP, ("us-central1", "europe-west3")),
        )
        for region in regions
        for memory_mb in (128, 512, 2048, 8192)
        for plan in PLANS[provider]
    ]
)
many = st.floats(0, 1e10)
times = st.floats(0, 900_000)
accounts = st.builds(
    Account,
    discount=st.sampled_from([0.0, 0.3]),
    free_tier=st.booleans(),
    monthly_requests=many,
    monthly_gb_seconds=many,
    monthly_vcpu_seconds=many,
)


def of_all(account: Account) -> Terms:
    return Terms(aws=account, azure=account, gcp=account)


@given(endpoints, times, times, accounts)
def test_a_call_never_costs_less_for_taking_longer(
    endpoint: Endpoint, one: float, other: float, account: Account
) -> None:
    short, long = (PRICES.under(of_all(account)).cost_usd(endpoint, ms) or 0.0 for ms in sorted((one, other)))
    assert 0 <= short <= long


@given(endpoints, st.integers(1, 32_768), st.integers(1, 32_768), times, accounts)
def test_a_call_never_costs_less_for_more_memory(
    endpoint: Endpoint, one: int, other: int, ms: float, account: Account
) -> None:
    small, large = (replace(endpoint, memory_mb=memory_mb) for memory_mb in sorted((one, other)))
    prices = PRICES.under(of_all(account))
    assert (prices.cost_usd(small, ms) or 0.0) <= (prices.cost_usd(large, ms) or 0.0) * (1 + 1e-12)


@given(endpoints, many, many, st.floats(1, 60_000), st.booleans())
def test_a_month_never_costs_less_for_more_calls(
    endpoint: Endpoint, one: float, other: float, ms: float, has_free: bool
) -> None:
    prices = PRICES.under(OURS if has_free else LIST)
    few, more = (
        sum(line.usd for line in invoice.lines([Use(endpoint=endpoint, calls=calls, call_ms=ms)], prices))
        for calls in sorted((one, other))
    )
    assert few <= more * (1 + 1e-12)


@given(endpoints, st.floats(1, 1e10), st.sampled_from([100.0, 1000.0, 2500.0]), st.booleans())
def test_tiers_are_continuous_and_a_decisions_price_is_the_invoices_step(
    endpoint: Endpoint, calls: float, ms: float, has_free: bool
) -> None:
    """One call more costs what `cost_usd` says at that use of the month, before a tier's end or behind it."""
    metering, rate = METERING[endpoint.sold_as], PRICES.rate(endpoint)
    assert rate is not None
    call_s = rate.billed_ms(ms) / 1000
    more = max(1.0, calls / 1000)
    kept_s = 3 * (calls + more) * call_s
    prices = PRICES.under(OURS if has_free else LIST)

    def month(count: float) -> float:
        use = Use(endpoint=endpoint, calls=count, call_ms=ms, capacity_s=kept_s)
        return sum(line.usd for line in invoice.lines([use], prices))

    def next_call(count: float) -> float:
        account = Account(
            free_tier=has_free,
            monthly_requests=count,
            monthly_gb_seconds=count * call_s * metering.gigabytes(endpoint),
            monthly_vcpu_seconds=count * call_s * metering.processors(endpoint),
        )
        return PRICES.under(of_all(account)).cost_usd(endpoint, ms) or 0.0

    step = (month(calls + more) - month(calls)) / more
    if endpoint.sold_as is Plan.MIN_INSTANCES and has_free:
        return  # what is free there is worth less than the idling that it displaces: the price is 0, not below
    ends = sorted((next_call(calls), next_call(calls + more)))
    assert ends[0] * (1 - 1e-6) <= step * (1 + 1e-6) + 1e-12
    assert step <= ends[1] * (1 + 1e-6) + 1e-12
