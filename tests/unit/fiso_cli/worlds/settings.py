"""Small clouds with numbers that can be worked by hand."""

from dataclasses import replace

from fiso.billing import tariff
from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.worlds.clouds import cold_curves
from fiso_cli.worlds.clouds.clouds import Clouds
from fiso_cli.worlds.clouds.cold_curves import ColdCurve
from fiso_cli.worlds.clouds.outages import Outage
from fiso_cli.worlds.clouds.service import Lognormal, Service, UnderLoad
from fiso_cli.worlds.world import Arm, Call

AWS = Arm(provider=Provider.AWS, region="us-east-1", memory_mb=1024)
AZURE = Arm(provider=Provider.AZURE, region="eastus", memory_mb=0)
GCP = Arm(provider=Provider.GCP, region="us-east4", memory_mb=1024)
AWS_ID, AZURE_ID, GCP_ID = AWS.id, AZURE.id, GCP.id


def a_service(median_ms: float = 100.0, **changes: object) -> Service:
    """100 ms, always; a start takes 500 ms."""
    usual = Service(work=Lognormal(median_ms=median_ms), start=Lognormal(median_ms=500.0))
    return replace(usual, **changes)  # type: ignore[arg-type]  # a test names fields of its own


def some_clouds(*outages: Outage, services: dict[EndpointId, Service] | None = None) -> Clouds:
    """One function `f` on three arms: AWS 100 ms, Azure 150 ms, Google 200 ms."""
    on_azure = a_service(150.0, under_load=UnderLoad(exponent=1.0))
    usual = {AWS_ID: a_service(), AZURE_ID: on_azure, GCP_ID: a_service(200.0)}
    return Clouds(
        name="small",
        services={"f": usual | (services or {})},
        arms={AWS_ID: AWS, AZURE_ID: AZURE, GCP_ID: GCP},
        curves=cold_curves.shipped(),
        tariff=tariff.current(),
        outages=outages,
    )


def a_call(request: int = 0, arm: EndpointId = AWS_ID, *, timeout_ms: float = 28_000.0) -> Call:
    """One call of `f`."""
    return Call(request=request, function="f", arm=arm, timeout_ms=timeout_ms)


HALF = ColdCurve(idle_s=(0.0, 60.0, 600.0), p_cold=(0.0, 0.5, 1.0), last_s=3_600.0)
"""Kept a minute for certain, ten minutes by even chances."""
