"""The log as a bill: FOCUS 1.2 of what calls are estimated to cost, one line per copy, hour and kind of charge.

Costs are the log's estimates, list cost without the operator's own terms. The columns are those that the
specification demands of a generator without commitments, invoices or zones, some that its validator (focus-validator
2.2) looks for all the same, and a few of our own (`x_`). What a line does not name is null.
"""

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple

from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Endpoint, Provider
from fiso_cli.errors import CommandError
from fiso_cli.reports.bills.resources import ENDPOINT_TAG, FUNCTION_TAG
from fiso_cli.reports.bills.usage import HOUR_S, Copy, Usage, Use, exact

CURRENCY, VERSION = "USD", "1.2"
COLUMNS = (
    "BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd BillingPeriodStart ChargeCategory "
    "ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart CommitmentDiscountId "
    "CommitmentDiscountStatus ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost InvoiceId "
    "InvoiceIssuerName ListCost ListUnitPrice PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice "
    "PricingCurrencyEffectiveCost PricingCurrencyListUnitPrice PricingQuantity PricingUnit ProviderName PublisherName "
    "RegionId RegionName ResourceId ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId "
    "SkuMeter SkuPriceDetails SkuPriceId Tags x_FisoFunction x_FisoEndpoint x_FisoTariffVersion"
).split()
_SERVICES = {
    Provider.AWS: ("AWS", "AWS Lambda"),
    Provider.AZURE: ("Microsoft", "Azure Functions"),
    Provider.GCP: ("Google Cloud", "Cloud Run Functions"),
}
_STEP = Decimal(10) ** -9
Line = Mapping[str, str]


def lines(usage: Usage, stage: str) -> Iterator[Line]:
    """Of every copy that the catalog has, in the order of its name and of time."""
    for copy, endpoint in sorted(usage.endpoints.items()):
        own, listed = usage.rate(copy), usage.tariff.rate(endpoint)
        if own is None or listed is None:
            continue
        for hour, use in sorted(usage.by_copy.get(copy, {}).items()):
            common = _common(copy, endpoint, hour, stage, usage.tariff)
            if use.requests:
                yield common | _charge(_REQUESTS, endpoint, use.requests, own.request_usd, listed.request_usd)
            if use.compute and own.ms_usd:
                yield common | _charge(_COMPUTE, endpoint, use.compute, own.ms_usd * 1_000, listed.ms_usd * 1_000)


def left_out(usage: Usage) -> dict[Copy, Use]:
    """What no line can be written of: copies that the catalog does not have any more, and calls without a price."""
    found: dict[Copy, Use] = {}
    for copy, uses in sorted(usage.by_copy.items()):
        endpoint = usage.endpoints.get(copy)
        if endpoint is None or usage.rate(copy) is None:
            total = found.setdefault(copy, Use())
            for use in uses.values():
                total.calls += use.calls
                total.compute += use.compute if endpoint else use.usd
        elif unpriced := sum(use.unpriced for use in uses.values()):
            found[copy] = Use(calls=unpriced)
    return found


def _common(copy: Copy, endpoint: Endpoint, hour: int, stage: str, prices: Tariff) -> dict[str, str]:
    start = datetime.fromtimestamp(hour * HOUR_S, UTC)
    month = start.replace(day=1, hour=0)
    provider, service = _SERVICES[endpoint.provider]
    return {
        "BillingAccountId": f"fiso-{stage}",
        "BillingAccountName": f"FISO, stage {stage}: estimates",
        "BillingCurrency": CURRENCY,
        "BillingPeriodStart": _instant(month),
        "BillingPeriodEnd": _instant(month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)),
        "ChargeCategory": "Usage",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _instant(start),
        "ChargePeriodEnd": _instant(datetime.fromtimestamp((hour + 1) * HOUR_S, UTC)),
        "InvoiceIssuerName": provider,
        "PricingCategory": "Standard",
        "PricingCurrency": CURRENCY,
        "ProviderName": provider,
        "PublisherName": provider,
        "RegionId": endpoint.region,
        "RegionName": endpoint.region,
        "ResourceId": endpoint.address,
        "ResourceName": copy.endpoint,
        "ResourceType": "Function",
        "ServiceCategory": "Compute",
        "ServiceName": service,
        "ServiceSubcategory": "Serverless Compute",
        "SkuPriceDetails": json.dumps({"x_MemoryMb": endpoint.memory_mb}),
        "Tags": json.dumps({FUNCTION_TAG: copy.function, ENDPOINT_TAG: copy.endpoint}),
        "x_FisoFunction": copy.function,
        "x_FisoEndpoint": copy.endpoint,
        "x_FisoTariffVersion": prices.version,
    }


class _Sku(NamedTuple):
    meter: str
    unit: str


_REQUESTS, _COMPUTE = _Sku("Requests", "Requests"), _Sku("Compute", "Seconds")


def _charge(sku: _Sku, endpoint: Endpoint, cost: Decimal, own_usd: float, listed_usd: float) -> dict[str, str]:
    """What was used follows from the estimate and the unit's price, so that the two always agree."""
    own, listed = exact(own_usd), exact(listed_usd)
    quantity = (cost / own).quantize(_STEP)
    paid = ("BilledCost", "EffectiveCost", "ContractedCost", "PricingCurrencyEffectiveCost")
    name = f"fiso-{endpoint.provider}-{sku.meter.lower()}"
    return {
        **dict.fromkeys(paid, _number(cost)),
        "ListCost": _number(cost if own == listed else quantity * listed),
        **dict.fromkeys(("ContractedUnitPrice", "PricingCurrencyContractedUnitPrice"), _number(own)),
        **dict.fromkeys(("ListUnitPrice", "PricingCurrencyListUnitPrice"), _number(listed)),
        **dict.fromkeys(("PricingQuantity", "ConsumedQuantity"), _number(quantity)),
        **dict.fromkeys(("PricingUnit", "ConsumedUnit"), sku.unit),
        "ChargeDescription": f"{sku.meter} at {endpoint.region}, {endpoint.memory_mb} MB: FISO's estimate",
        "SkuId": name,
        "SkuMeter": sku.meter,
        "SkuPriceId": f"{name}-{endpoint.region}-{endpoint.sold_as}-{endpoint.memory_mb}",
    }


def _number(value: Decimal) -> str:
    """With a point: a reader that guesses types takes whole numbers alone for no decimals."""
    plain = format(value.normalize(), "f")
    return plain if "." in plain else f"{plain}.0"


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def write(path: Path, usage: Usage, stage: str) -> int:
    """How many lines there are now in the file."""
    found = list(lines(usage, stage))
    with replacing(path) as file:
        out = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        out.writeheader()
        out.writerows(found)
    return len(found)


@contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A text file, gzip if its name says so, that takes the place of `path` once it is whole: what fails before then
    changes nothing. `CommandError` when it cannot be written."""
    part = path.with_name(f".{path.name}.part")
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(part, "wt", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise CommandError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
