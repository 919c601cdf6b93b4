import pytest

from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.state import EndpointState
from fiso.prediction.siblings import Sibling, cpu_share, latency_ms
from tests.builders import an_endpoint


def a_sibling(endpoint: Endpoint, latency: float | None) -> Sibling:
    state = EndpointState(function=FunctionName("f"), endpoint=EndpointId(endpoint.id), latency_ms=latency)
    return Sibling(endpoint=endpoint, state=state)


@pytest.mark.parametrize(
    ("provider", "memory_mb", "share"),
    [
        (Provider.AWS, 1769, 1.0),
        (Provider.AWS, 3008, 1.0),  # a second processor does not make one call faster
        (Provider.AWS, 128, 128 / 1769),
        (Provider.GCP, 512, 0.333),
        (Provider.GCP, 4096, 1.0),
        (Provider.AZURE, 128, 1.0),
    ],
)
def test_the_share_of_a_processor_is_what_the_cloud_publishes(provider: Provider, memory_mb: int, share: float) -> None:
    assert cpu_share(an_endpoint(provider, memory_mb=memory_mb)) == pytest.approx(share)


def test_a_smaller_copy_is_expected_to_be_slower_in_proportion() -> None:
    small, large = an_endpoint(memory_mb=442), an_endpoint(memory_mb=1769)
    assert latency_ms(small, [a_sibling(large, 100.0)]) == pytest.approx(100 * 1769 / 442)


def test_several_siblings_count_by_their_geometric_mean() -> None:
    azure = an_endpoint(Provider.AZURE)
    known = [a_sibling(azure, 10.0), a_sibling(azure, 1000.0), a_sibling(azure, None)]
    assert latency_ms(azure, known) == pytest.approx(100.0)


def test_nobody_known_says_nothing() -> None:
    assert latency_ms(an_endpoint(), []) is None
    assert latency_ms(an_endpoint(), [a_sibling(an_endpoint(Provider.GCP), None)]) is None
