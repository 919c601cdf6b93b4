"""Whose a charge is: the names that clouds give to functions in bills, beside the addresses of the catalog."""

from pathlib import Path

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso_cli.reports.bills.matching import Part, part_of
from fiso_cli.reports.bills.resources import Resources, Why
from tests.bills import ARN, a_bill, read
from tests.builders import an_endpoint, an_entry

SITE = "/subscriptions/0a/resourcegroups/rg/providers/microsoft.web/sites/fn-prod"
RUN = "//run.googleapis.com/projects/418/locations/us-east4/services/word-count"
NAMES = {Provider.AWS: "AWS", Provider.AZURE: "Microsoft", Provider.GCP: "Google Cloud"}
FOUND = "found"


@pytest.mark.parametrize(
    ("provider", "address", "line", "expected"),
    [
        (Provider.AWS, ARN, {}, FOUND),
        (Provider.AWS, "word-count", {}, FOUND),
        (Provider.AWS, ARN, {"ResourceId": f"{ARN}:17"}, FOUND),
        (Provider.AWS, f"{ARN}:live", {}, FOUND),
        (Provider.AWS, f"{ARN}:live", {"ResourceId": f"{ARN}:$LATEST"}, FOUND),
        (Provider.AWS, ARN, {"RegionId": "", "RegionName": "External"}, FOUND),
        (Provider.AWS, ARN, {"ResourceId": ARN.replace("1111", "9999")}, Why.ANOTHER_ACCOUNT),
        (Provider.AWS, ARN, {"ResourceId": ARN.replace("east", "west")}, Why.ANOTHER_REGION),
        (Provider.AWS, ARN, {"ResourceId": f"{ARN}2"}, Why.NOT_IN_CATALOG),
        (Provider.AWS, ARN, {"ResourceId": ""}, Why.NO_RESOURCE),
        (Provider.AWS, ARN, {"ResourceId": "reports-bucket"}, Why.NO_FUNCTION),
        (Provider.AWS, ARN, {"ResourceId": ARN.replace("word-count", "fiso-prod-orchestrator")}, Why.FISOS_OWN),
        (
            Provider.AWS,
            ARN,
            {"ResourceId": "arn:aws:dynamodb:us-east-1:1:table/fiso-endpoint-state-prod"},
            Why.FISOS_OWN,
        ),
        (Provider.AWS, ARN, {"ResourceId": "fiso-artifacts-prod-111122223333"}, Why.FISOS_OWN),
        (Provider.AWS, "fiso-like", {"ResourceId": ARN.replace("word-count", "fiso-like")}, FOUND),
        (Provider.AWS, ARN, {"ProviderName": "Amazon Web Services India Private Limited"}, FOUND),
        (Provider.AWS, ARN, {"ProviderName": "Oracle"}, Why.ANOTHER_PROVIDER),
        (Provider.AWS, ARN, {"ResourceId": "x", "Tags": '{"fiso-function": "word-count"}'}, FOUND),
        (Provider.AWS, ARN, {"Tags": '{"fiso-function": "gone"}'}, Why.BAD_TAGS),
        (Provider.AWS, ARN, {"Tags": '{"fiso-function": "word-count"}', "RegionId": "eu-west-1"}, Why.ANOTHER_REGION),
        (Provider.AZURE, "https://fn-prod.azurewebsites.net/api/w", {"ResourceId": SITE}, FOUND),
        (Provider.AZURE, "https://fn-prod.azurewebsites.net/api/w", {"ResourceId": SITE.upper()}, FOUND),
        (Provider.AZURE, "https://fn-prod-stage.azurewebsites.net", {"ResourceId": f"{SITE}/slots/stage"}, FOUND),
        (Provider.AZURE, "https://fn-prod-a1b2c3d4e5f6g7h8.eastus-01.azurewebsites.net", {"ResourceId": SITE}, FOUND),
        (Provider.AZURE, "https://fn-prod.azurewebsites.net", {"ResourceId": SITE, "RegionId": "US East"}, FOUND),
        (Provider.AZURE, "https://fn-prod.azurewebsites.net", {"ResourceId": SITE, "RegionId": "East US"}, FOUND),
        (
            Provider.AZURE,
            "https://fn-prod.azurewebsites.net",
            {"ResourceId": SITE, "RegionId": "eastus2"},
            Why.ANOTHER_REGION,
        ),
        (
            Provider.AZURE,
            "https://fn-prod.blue.eastus.azurecontainerapps.io",
            {"ResourceId": SITE.replace("web/sites", "app/containerapps")},
            FOUND,
        ),
        (
            Provider.AZURE,
            "https://fn-prod.azurewebsites.net",
            {"ResourceId": SITE.replace("web/sites", "storage/storageaccounts")},
            Why.NO_FUNCTION,
        ),
        (Provider.GCP, "https://word-count-abcdefghij-uk.a.run.app", {"ResourceId": RUN}, FOUND),
        (Provider.GCP, "https://blue---word-count-abcdefghij-uk.a.run.app", {"ResourceId": RUN}, FOUND),
        (Provider.GCP, "https://word-count-418.us-east4.run.app/x", {"ResourceId": RUN}, FOUND),
        (
            Provider.GCP,
            "https://us-east4-prod.cloudfunctions.net/Word_Count",
            {"ResourceId": RUN.replace("services/word-count", "functions/Word_Count")},
            FOUND,
        ),
        (Provider.GCP, "https://us-east4-prod.cloudfunctions.net/Word_Count", {"ResourceId": RUN}, FOUND),
        (
            Provider.GCP,
            "https://word-count-418.us-east4.run.app",
            {"ResourceId": "", "ResourceName": "word-count", "ServiceName": "Cloud Run Functions"},
            FOUND,
        ),
        (
            Provider.GCP,
            "https://word-count-418.us-east4.run.app",
            {"ResourceId": "", "ResourceName": "word-count", "ServiceName": "Compute Engine"},
            Why.NO_FUNCTION,
        ),
        (
            Provider.GCP,
            "https://word-count-418.us-east4.run.app",
            {"ResourceId": RUN.replace("us-east4", "us-east1")},
            Why.ANOTHER_REGION,
        ),
    ],
)
def test_finds_a_charges_copies(
    tmp_path: Path, provider: Provider, address: str, line: dict[str, str], expected: str
) -> None:
    region = {Provider.AWS: "us-east-1", Provider.AZURE: "eastus", Provider.GCP: "us-east4"}[provider]
    (charge,) = read(tmp_path, a_bill({"ProviderName": NAMES[provider], "RegionId": region, **line}))
    found = Resources([an_entry(an_endpoint(provider, address=address))]).of(charge)
    assert (found if isinstance(found, Why) else FOUND) == expected


def test_a_version_of_its_own_goes_before_the_function(tmp_path: Path) -> None:
    entry = an_entry(
        an_endpoint(id=EndpointId("live"), address=f"{ARN}:live"),
        an_endpoint(id=EndpointId("next"), address=f"{ARN}:next"),
    )
    charges = read(tmp_path, a_bill({"ResourceId": f"{ARN}:next"}, {}))
    found = [Resources([entry]).of(charge) for charge in charges]
    assert [[copy.endpoint for copy in copies] for copies in found if not isinstance(copies, Why)] == [
        ["next"],
        ["live", "next"],
    ]


@pytest.mark.parametrize(
    ("words", "unit", "part"),
    [
        ("AWS Lambda - Total Requests - EU (Ireland)", "Requests", Part.REQUESTS),
        ("AWS Lambda - Requests Free Tier - 1,000,000 Requests", "Requests", Part.REQUESTS),
        ("AWS Lambda - Total Compute - US West (Oregon)-Tier-1", "Seconds", Part.COMPUTE),
        ("AWS Lambda - Total Compute (Provisioned) - US West (Oregon)", "Lambda-GB-Seconds", Part.COMPUTE),
        ("AWS Lambda - Provisioned Concurrency - US West (Oregon)", "Lambda-GB-Seconds", Part.OTHER),
        ("AWS Lambda - Total Ephemeral Storage", "Lambda-GB-Seconds", Part.OTHER),
        ("$0.02 per GB - US West (Oregon) data transfer to EU (Ireland)", "GB", Part.OTHER),
        ("Standard Total Executions", "Units", Part.REQUESTS),
        ("Standard Execution Time", "GB Seconds", Part.COMPUTE),
        ("On Demand Execution Time", "GB Seconds", Part.COMPUTE),
        ("Always Ready Baseline", "GB Seconds", Part.OTHER),
        ("Compute Requests", "10s", Part.REQUESTS),
        ("Compute Duration", "GB Seconds", Part.COMPUTE),
        ("Services CPU (Request-based billing) in us-east4", "seconds", Part.COMPUTE),
        ("Services Memory (Request-based billing) in us-east4", "byte-seconds", Part.COMPUTE),
        ("Services Min Instance CPU (Request-based billing)", "seconds", Part.OTHER),
        ("Requests", "requests", Part.REQUESTS),
        ("Invocations", "count", Part.REQUESTS),
        ("Network Internet Egress Europe", "bytes", Part.OTHER),
        ("something new", "Units", Part.OTHER),
    ],
)
def test_tells_requests_from_computing_from_what_is_neither(tmp_path: Path, words: str, unit: str, part: Part) -> None:
    (charge,) = read(tmp_path, a_bill({"ChargeDescription": words, "ConsumedUnit": unit}))
    assert part_of(charge) is part
