"""Published facts: the world that is simulated where nothing measured is given.

Work: mean durations of Azure's functions are log-normal (Shahrad et al., "Serverless in the Wild", USENIX ATC 2020,
fig. 7: mu -0.38, sigma 2.36 of seconds), here within what a synchronous caller waits for. Processor shares by memory
and what load does to Azure: `fiso.prediction.facts`. Starts: `fiso.routing.levels.START_MS`. That one function suits
one cloud better than another by tens of per cent, that single calls vary by some 20 %, and much more under load on
Azure: Copik et al., "SeBS", Middleware 2021. Failures: what the clouds' service level agreements allow, 99.95 % a
month. Billed starts: AWS since August 2025 and Google bill them, Azure bills executions.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from fiso.domain.endpoint import Endpoint, EndpointId, Provider
from fiso.prediction import facts
from fiso.routing.levels import START_MS
from fiso_cli.worlds.clouds.clouds import Services
from fiso_cli.worlds.clouds.service import Billing, Lognormal, Service, UnderLoad
from fiso_cli.worlds.world import Arm

HOME = "us-east-1"
"""Where the orchestrator runs."""
ROUND_TRIP_MS: Mapping[str, float] = {
    "us-east-1": 1.0,
    "us-east4": 2.5,
    "us-east1": 20.0,
    "us-central1": 28.5,
    "us-west-2": 64.0,
    "eu-west-1": 70.0,
    "eu-central-1": 93.0,
    "eastus": 3.0,
    "northeurope": 70.0,
    "westeurope": 85.0,
    "europe-west1": 93.0,
}
"""Round trips from HOME, ms. AWS: cloudping.co, one-year medians. Google in the US: github.com/JoshuaFox/
intercloud-throughput, February 2022. Azure and Google in Europe: Azure's own table of round trips from East US
(2026-03), whose region is in the same place; East US itself and Belgium by analogy."""
ARMS = (
    Arm(provider=Provider.AWS, region="us-east-1", memory_mb=512),
    Arm(provider=Provider.AWS, region="us-east-1", memory_mb=1792),
    Arm(provider=Provider.AZURE, region="eastus", memory_mb=0),
    Arm(provider=Provider.GCP, region="us-east4", memory_mb=512),
    Arm(provider=Provider.GCP, region="us-east4", memory_mb=2048),
    Arm(provider=Provider.AWS, region="eu-west-1", memory_mb=1792),
)
LOG_MEAN_S, LOG_SIGMA = -0.38, 2.36
SHORTEST_MS, LONGEST_MS = 30.0, 4_000.0
LEAST_PROCESSOR_BOUND = 0.2
SUITS_SIGMA = 0.3
CALL_SIGMA = 0.2
START_SIGMA = 0.4
AZURE_SPREAD = 0.3
FAILURE = 0.0005
_BILLING = {
    Provider.AWS: Billing(),
    Provider.AZURE: Billing(start_share=0.0),
    Provider.GCP: Billing(),
}
_UNDER_LOAD = {
    Provider.AWS: UnderLoad(),
    Provider.AZURE: UnderLoad(exponent=1.0, spread=AZURE_SPREAD),
    Provider.GCP: UnderLoad(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function:
    """A function by itself: its time on a whole processor, how much of it is computing, which clouds suit it."""

    whole_ms: float
    processor_bound: float
    suits: Mapping[Provider, float]


def arms() -> Mapping[EndpointId, Arm]:
    """The copies of every function."""
    return {arm.id: arm for arm in ARMS}


def services(functions: int) -> Services:
    """So many functions, always the same ones: `f1` is the one called most."""
    draws = random.Random("functions")  # nosec B311 # a simulation
    named = {f"f{number}": _function(draws) for number in range(1, functions + 1)}
    return {name: {arm.id: _service(known, arm.endpoint()) for arm in ARMS} for name, known in named.items()}


def _function(draws: random.Random) -> _Function:
    whole_ms = 0.0
    while not SHORTEST_MS <= whole_ms <= LONGEST_MS:
        whole_ms = 1000 * draws.lognormvariate(LOG_MEAN_S, LOG_SIGMA)
    return _Function(
        whole_ms=whole_ms,
        processor_bound=draws.uniform(LEAST_PROCESSOR_BOUND, 1.0),
        suits={provider: draws.lognormvariate(0, SUITS_SIGMA) for provider in Provider},
    )


def _service(function: _Function, endpoint: Endpoint) -> Service:
    slower = function.processor_bound / facts.cpu_share(endpoint) + 1 - function.processor_bound
    provider = endpoint.provider
    return Service(
        work=Lognormal(median_ms=function.whole_ms * slower * function.suits[provider], sigma=CALL_SIGMA),
        start=Lognormal(median_ms=START_MS[provider], sigma=START_SIGMA),
        under_load=_UNDER_LOAD[provider],
        billing=_BILLING[provider],
        network_ms=ROUND_TRIP_MS[endpoint.region],
        failure=FAILURE,
    )
