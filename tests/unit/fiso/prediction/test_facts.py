import pytest

from fiso.domain.endpoint import Provider
from fiso.prediction.facts import cpu_share, slowdown, smallness
from tests.builders import an_endpoint


@pytest.mark.parametrize(
    ("provider", "memory_mb", "share"),
    [
        (Provider.AWS, 1769, 1.0),
        (Provider.AWS, 3008, 1.0),
        (Provider.AWS, 128, 128 / 1769),
        (Provider.GCP, 512, 0.333),
        (Provider.GCP, 8192, 1.0),
        (Provider.AZURE, 512, 1.0),
    ],
)
def test_the_share_of_a_processor_is_the_published_one(provider: Provider, memory_mb: int, share: float) -> None:
    assert cpu_share(an_endpoint(provider, memory_mb=memory_mb)) == pytest.approx(share)


def test_a_copy_with_a_whole_processor_is_not_small() -> None:
    assert smallness(an_endpoint(Provider.AWS, memory_mb=2048)) == 0.0
    assert smallness(an_endpoint(Provider.AWS, memory_mb=128)) == pytest.approx(2.626, abs=1e-3)


def test_load_slows_only_the_cloud_that_shares_instances() -> None:
    assert slowdown(Provider.AZURE, 40) == pytest.approx(8.0)
    assert slowdown(Provider.AZURE, 1) == slowdown(Provider.AZURE, 0) == 1.0
    assert slowdown(Provider.AWS, 1_000) == slowdown(Provider.GCP, 1_000) == 1.0
