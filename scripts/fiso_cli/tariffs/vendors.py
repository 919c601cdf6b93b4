"""Vendors: what each one's price files say of the meters of `tariffs.json`.

AWS: price list bulk files, an index of regions and a file for each (docs.aws.amazon.com/awsaccountbilling, "Price List
Bulk API"). Azure: the Retail Prices API, in pages (learn.microsoft.com/rest/api/cost-management/retail-prices). Google:
the Cloud Billing Catalog API, in pages, which wants an API key (cloud.google.com/billing/v1/how-tos/catalog-api).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from fiso.billing.price_list import price
from fiso.domain.endpoint import Provider
from fiso_cli.errors import BadInput
from fiso_cli.tariffs.fetching import Source

EVERYWHERE = ""
"""The region of a price that is the same in all of them."""


@dataclass(frozen=True, slots=True)
class Price:
    """As in `fiso.billing.price_list.Row`."""

    usd: float
    free: float = 0.0
    then: tuple[tuple[float, float], ...] = ()


Prices: TypeAlias = dict[tuple[str, str], Price]
"""By meter and region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What a vendor's files say; `as_of` is their own date, an ISO date, empty where they have none."""

    prices: Prices = field(default_factory=dict)
    as_of: str = ""


AWS_BASE = "https://pricing.us-east-1.amazonaws.com"
AZURE_BASE = "https://prices.azure.com"
GOOGLE_BASE = "https://cloudbilling.googleapis.com"
AWS_METERS = {
    "Request": "request",
    "Lambda-GB-Second": "gb_second",
    "Lambda-GB-Second-ARM": "gb_second_arm64",
    "Lambda-Provisioned-GB-Second": "provisioned_gb_second",
    "Lambda-Provisioned-GB-Second-ARM": "provisioned_gb_second_arm64",
    "Lambda-Provisioned-Concurrency": "provisioned_capacity_gb_second",
    "Lambda-Provisioned-Concurrency-ARM": "provisioned_capacity_gb_second_arm64",
    "Lambda-SnapStart-Cached-GB-S": "snapstart_cache_gb_second",
    "Lambda-SnapStart-Restored-GB": "snapstart_restore_gb",
}
"""Usage types, which a region's short name stands before everywhere but in us-east-1 (`USE2-Request`)."""
_AWS_USAGE = re.compile(r"(?!Global-)(?:[A-Z]{2,4}[0-9]?(?:-[A-Z]+)?-)?(" + "|".join(AWS_METERS) + ")")
AWS_FREE = {"request": 1e6, "gb_second": 4e5, "gb_second_arm64": 4e5}
"""The files have the free tier apart, under the region Global."""
AZURE_METERS = {
    ("Functions", "Standard Total Executions"): "consumption_request",
    ("Functions", "Standard Execution Time"): "consumption_gb_second",
    ("Flex Consumption", "On Demand Total Executions"): "flex_request",
    ("Flex Consumption", "On Demand Execution Time"): "flex_gb_second",
    ("Flex Consumption", "Always Ready Total Executions"): "ready_request",
    ("Flex Consumption", "Always Ready Execution Time"): "ready_gb_second",
    ("Flex Consumption", "Always Ready Baseline"): "ready_capacity_gb_second",
}
"""By product and meter name."""
GOOGLE_SERVICE = "152E-C115-5142"
"""Cloud Run."""
_GOOGLE_METERS = (
    (re.compile(r"min.?instance.*\bcpu\b", re.IGNORECASE), "idle_vcpu_second"),
    (re.compile(r"min.?instance.*\bmemory\b", re.IGNORECASE), "idle_gib_second"),
    (re.compile(r"\bcpu\b", re.IGNORECASE), "vcpu_second"),
    (re.compile(r"\bmemory\b", re.IGNORECASE), "gib_second"),
    (re.compile(r"\brequests\b", re.IGNORECASE), "request"),
)
"""By what a SKU's description says, the first that fits."""
_NOT_BY_REQUEST = re.compile(r"instance-based|always|job|worker|gpu|commit|network|transfer|zonal", re.IGNORECASE)


def aws(source: Source) -> Listed:
    """Every region's file, by the index."""
    index = source.document("/offers/v1.0/aws/AWSLambda/current/region_index.json")
    listed = Listed(as_of=str(index.get("publicationDate", ""))[:10])
    for region, entry in sorted(_part(index, "regions", source).items()):
        offer = source.document(str(_part(entry, "currentVersionUrl", source)))
        with_terms = _part(_part(offer, "terms", source), "OnDemand", source)
        for sku, product in _part(offer, "products", source).items():
            usage = str(product.get("attributes", {}).get("usagetype", ""))
            found = _AWS_USAGE.fullmatch(usage)
            if found and sku in with_terms:
                meter = AWS_METERS[found[1]]
                term = _in_force(with_terms[sku].values(), "effectiveDate", source)
                bands = [
                    (float(dimension["beginRange"]), _usd(dimension["pricePerUnit"], f"{source.base}: {usage}"))
                    for dimension in term["priceDimensions"].values()
                ]
                _put(listed, (meter, region), _banded(bands, free=AWS_FREE.get(meter, 0.0)), source)
    return listed


def azure(source: Source) -> Listed:
    """The meters of Functions, page by page."""
    query = {
        "api-version": "2023-01-01-preview",
        "currencyCode": "'USD'",
        "$filter": "serviceName eq 'Functions' and priceType eq 'Consumption'",
    }
    bands: dict[tuple[str, str], list[tuple[float, float]]] = {}
    address = f"/api/retail/prices?{urlencode(query, quote_via=quote)}"
    for page in source.pages(address, lambda found: found.get("NextPageLink") or None):
        for item in _part(page, "Items", source):
            meter = AZURE_METERS.get((item.get("productName"), item.get("meterName")))
            if meter is None or not _is_sold(item):
                continue
            if item["currencyCode"] != "USD":
                raise BadInput(f"{source.base}: prices are in {item['currencyCode']}, not in USD")
            units = float(str(item["unitOfMeasure"]).split()[0].replace("K", "000").replace("M", "000000"))
            region = str(item.get("armRegionName") or "").lower().replace("global", EVERYWHERE)
            begins = float(item["tierMinimumUnits"]) * units
            bands.setdefault((meter, region), []).append((begins, price(item["retailPrice"]) / units))
    return Listed(prices={key: _banded(found, free=0.0) for key, found in bands.items()})


def google(source: Source) -> Listed:
    """Cloud Run's SKUs that are billed by request, page by page."""
    address = f"/v1/services/{GOOGLE_SERVICE}/skus?currencyCode=USD&pageSize=5000"
    listed = Listed()

    def following(page: dict[str, Any]) -> str | None:
        token = page.get("nextPageToken")
        return f"{address}&pageToken={quote(str(token), safe='')}" if token else None

    for page in source.pages(address, following):
        for sku in _part(page, "skus", source):
            meter = _google_meter(sku)
            if meter is None:
                continue
            expression = _in_force(sku["pricingInfo"], "effectiveTime", source)["pricingExpression"]
            bands = [
                (float(rate["startUsageAmount"]), _of_money(rate["unitPrice"], source))
                for rate in expression["tieredRates"]
            ]
            for region in sku["serviceRegions"]:
                _put(listed, (meter, region.replace("global", EVERYWHERE)), _banded(bands, free=0.0), source)
    return listed


VENDORS: Mapping[Provider, tuple[str, Callable[[Source], Listed]]] = {
    Provider.AWS: (AWS_BASE, aws),
    Provider.AZURE: (AZURE_BASE, azure),
    Provider.GCP: (GOOGLE_BASE, google),
}


def _is_sold(item: Mapping[str, Any]) -> bool:
    """By use, now: reservations, prices for development and such as were or will be in force have rows of their own."""
    if item.get("type", "Consumption") != "Consumption" or item.get("reservationTerm"):
        return False
    begins, ends = item.get("effectiveStartDate"), item.get("effectiveEndDate")
    now = datetime.now(UTC)
    return (not begins or _moment(begins) <= now) and (not ends or now < _moment(ends))


def _in_force(versions: Iterable[Mapping[str, Any]], key: str, source: Source) -> Mapping[str, Any]:
    """The newest version of a price that has begun; one without a date is in force."""
    versions = list(versions)
    begun = [(_moment(each[key]), each) for each in versions if each.get(key)]
    undated = [each for each in versions if not each.get(key)]
    current = [each for each in begun if each[0] <= datetime.now(UTC)]
    if len(undated) + bool(current) > 1 or not (undated or current):
        raise BadInput(f"{source.base}: {'no price is' if not (undated or current) else 'several prices are'} in force")
    return undated[0] if undated else max(current, key=lambda each: each[0])[1]


def _moment(text: str) -> datetime:
    """An instant as the three write it; without a zone it is UTC, without a time midnight."""
    found = datetime.fromisoformat(re.sub(r"\.(\d{6})\d+", r".\1", text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _google_meter(sku: Mapping[str, Any]) -> str | None:
    description, usage = str(sku.get("description", "")), sku.get("category", {}).get("usageType", "OnDemand")
    if usage != "OnDemand" or _NOT_BY_REQUEST.search(description):
        return None
    return next((meter for pattern, meter in _GOOGLE_METERS if pattern.search(description)), None)


def _put(listed: Listed, key: tuple[str, str], found: Price, source: Source) -> None:
    known = listed.prices.setdefault(key, found)
    if known != found:
        meter, region = key
        raise BadInput(f"{source.base}: two prices for {meter} {region}: {known.usd:g} and {found.usd:g}")


def _banded(bands: list[tuple[float, float]], *, free: float) -> Price:
    """Bands as `(begins, usd)`; a first one without a price is what is free."""
    first, *rest = sorted(set(bands))
    if len({begin for begin, _ in bands}) != 1 + len(rest):
        raise ValueError(f"two prices from {first[0]:g} units on")
    if first[1] == 0 and rest:
        free, first, *rest = rest[0][0], rest[0], *rest[1:]
    begins = first[0]
    return Price(usd=first[1], free=free, then=tuple((begin - begins, usd) for begin, usd in rest))


def _usd(amounts: Mapping[str, str], what: str) -> float:
    if "USD" not in amounts:
        raise BadInput(f"{what}: prices are in {', '.join(amounts) or 'no currency'}, not in USD")
    return price(float(amounts["USD"]))


def _of_money(amount: Mapping[str, Any], source: Source) -> float:
    """Google's `Money`: whole units as text, and billionths."""
    if amount.get("currencyCode", "USD") != "USD":
        raise BadInput(f"{source.base}: prices are in {amount['currencyCode']}, not in USD")
    return price(int(amount.get("units") or 0) + int(amount.get("nanos", 0)) / 1e9)


def _part(document: Mapping[str, Any], key: str, source: Source) -> Any:
    try:
        return document[key]
    except (KeyError, TypeError) as error:
        raise BadInput(f"{source.base}: has no {key}: this is no price file that FISO knows") from error


def read(provider: Provider, source: Source) -> Listed:
    """What a vendor lists; `BadInput` for what is no such file."""
    try:
        return VENDORS[provider][1](source)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"{source.base}: this is no price file that FISO knows ({said:.120})") from error
