"""Bills, logs and catalogs for tests: lines of FOCUS as text, and a log of calls that each cost what the prices say."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from fiso.billing import tariff
from fiso.codecs.record import to_document
from fiso.domain.endpoint import EndpointId, FunctionName, Provider
from fiso.domain.record import InvocationRecord
from fiso.domain.terms import Account, Terms
from fiso_cli.reports.bills.focus import Charge, Reader
from tests.builders import REGIONS, a_record, an_attempt, an_endpoint

BEGIN = datetime(2026, 6, 1, 9, tzinfo=UTC)
SAMPLES = Path(__file__).parent / "events" / "focus"
"""A bill of each cloud, in the columns and spellings of its own export."""
ARN = "arn:aws:lambda:us-east-1:111122223333:function:word-count"
CATALOG = f"""
version: 1
functions:
  word-count:
    type: text
    endpoints:
      - {{id: aws, provider: aws, region: us-east-1, memory_mb: 512, address: "{ARN}"}}
      - {{id: azure, provider: azure, region: eastus, memory_mb: 512,
         address: "https://fn-prod-eastus.azurewebsites.net/api/word-count"}}
      - {{id: gcp, provider: gcp, region: us-east4, memory_mb: 512,
         address: "https://word-count-abcdefghij-uk.a.run.app"}}
  pixels:
    type: image
    endpoints:
      - {{id: azure, provider: azure, region: eastus, memory_mb: 512,
         address: "https://fn-prod-eastus.azurewebsites.net/api/pixels"}}
"""
LINE = {
    "BilledCost": "0.000002",
    "EffectiveCost": "0.000002",
    "ListCost": "0.000002",
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeClass": "",
    "ChargeDescription": "AWS Lambda - Total Requests - US East (Northern Virginia)",
    "ChargePeriodStart": "2026-06-01T09:00:00Z",
    "ChargePeriodEnd": "2026-06-01T10:00:00Z",
    "ProviderName": "AWS",
    "ServiceName": "AWS Lambda",
    "RegionId": "us-east-1",
    "ResourceId": ARN,
    "ResourceName": "",
    "ConsumedUnit": "Requests",
    "Tags": "{}",
}


def a_bill(*lines: Mapping[str, str]) -> str:
    """FOCUS as text: each line as `LINE` with changes; the header has what any of them names."""
    columns = list(dict.fromkeys([*LINE, *(key for line in lines for key in line)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**LINE, **line} for line in lines)
    return out.getvalue()


def read(folder: Path, text: str | bytes) -> list[Charge]:
    """A bill's charges, read from a file."""
    path = folder / "bill.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(Reader([str(path)]))


def calls(hours: Iterable[int] = (0, 1), each: int = 10, ms: float = 1_000.0) -> list[InvocationRecord]:
    """So many calls of every copy of the catalog in these hours from BEGIN on, at list price."""
    copies = [("word-count", provider) for provider in Provider] + [("pixels", Provider.AZURE)]
    return [
        a_call(BEGIN + timedelta(hours=hour, minutes=number), name, provider, ms, place)
        for place, (hour, number, (name, provider)) in enumerate(
            (hour, number, copy) for hour in hours for number in range(each) for copy in copies
        )
    ]


def a_call(
    at: datetime, function: str, provider: Provider, ms: float, number: int, *, discount: float = 0.0
) -> InvocationRecord:
    terms = Terms(aws=Account(discount=discount)) if discount else None
    cost = tariff.current().under(terms).cost_usd(an_endpoint(provider), ms)
    attempt = an_attempt(str(provider), started_at=at, cost_usd=cost, latency_ms=ms)
    return a_record(
        number,
        timestamp=at,
        function_name=FunctionName(function),
        endpoint=EndpointId(str(provider)),
        cloud_provider=provider,
        region=REGIONS[provider],
        cost_usd=cost,
        attempts=(attempt,),
    )


def written(records: Iterable[InvocationRecord], path: Path) -> Path:
    path.write_text("".join(json.dumps(to_document(record)) + "\n" for record in records), encoding="utf-8")
    return path


def total(bill: str, column: str = "BilledCost") -> Decimal:
    """What a column of a bill comes to, added by nothing of ours."""
    return sum((Decimal(line[column]) for line in csv.DictReader(io.StringIO(bill))), Decimal(0))
