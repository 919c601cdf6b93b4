"""`fiso tariffs` against servers that speak the vendors' formats, with pages and faults."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner, Result

from fiso.billing import tariff
from fiso.billing.price_list import Row
from fiso.billing.tariff import Tariff
from fiso.domain.endpoint import Provider
from fiso_cli.main import app
from fiso_cli.tariffs import commands, vendors

TODAY = datetime.now(UTC).date().isoformat()
PRICES = tariff.current()
KEY = "a-key-that-nobody-may-see"
Answers = dict[str, Any]
"""By path: a document, or the bytes or the status to answer with."""


class Packed(bytes):
    """A body that is sent with gzip's encoding."""


class Files(ThreadingHTTPServer):
    """Price files by path and query as they were asked for; `asked` says in which order, with whose key."""

    daemon_threads = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.asked, self.keys = answers, list[str](), set[str | None]()
        self.busy = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        path = unquote(self.path)
        self.server.asked.append(path)
        self.server.keys.add(self.headers.get("x-goog-api-key"))
        found = next(
            (a for known, a in self.server.answers.items() if path == known or path.startswith(f"{known}?")), 404
        )
        if self.server.busy > 0:
            self.server.busy, found = self.server.busy - 1, 429
        status = found if isinstance(found, int) else 200
        body = found if isinstance(found, bytes) else json.dumps(found).encode() if status == 200 else b""
        self.send_response(status)
        if isinstance(body, Packed):
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextmanager
def serving(answers: Answers) -> Iterator[Files]:
    with Files(answers) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


SHORT = {"us-east-1": "", "eu-west-1": "EU-", "af-south-1": "AFS1-", "mx-central-1": "MXC1-"}
"""What stands before a usage type in a region."""


def bands(row: Row) -> list[tuple[float, float, float]]:
    """From, to and price, without the free tier."""
    begins = [0.0, *(begin for begin, _ in row.then)]
    prices = [row.usd, *(usd for _, usd in row.then)]
    return list(zip(begins, [*begins[1:], float("inf")], prices, strict=True))


def aws_files(prices: Tariff = PRICES, currency: str = "USD", without: str = "") -> Answers:
    """Two listed regions, one with prices of its own, and one that FISO had none of."""
    listed = prices.lists[Provider.AWS]
    index = {
        region: {"regionCode": region, "currentVersionUrl": f"/offers/v1.0/aws/AWSLambda/20261101/{region}/index.json"}
        for region in SHORT
    }
    answers: Answers = {
        "/offers/v1.0/aws/AWSLambda/current/region_index.json": {
            "publicationDate": "2026-11-01T00:00:00Z",
            "regions": index,
        }
    }
    for region, short in SHORT.items():
        products: dict[str, Any] = {"FREE": {"attributes": {"usagetype": "Global-Request"}}}
        terms: dict[str, Any] = {
            "FREE": {"FREE.T": {"priceDimensions": {"a": {"beginRange": "0", "pricePerUnit": {"USD": "0.0"}}}}}
        }
        for usage, meter in vendors.AWS_METERS.items():
            found = listed.found(meter, region)
            assert found is not None
            if usage == without:
                continue
            sku = f"{region}-{meter}"
            products[sku] = {"productFamily": "Serverless", "attributes": {"usagetype": f"{short}{usage}"}}
            dimensions = {
                f"{sku}.T.{n}": {
                    "unit": "Lambda-GB-Second",
                    "beginRange": f"{begin:.0f}",
                    "endRange": "Inf" if end == float("inf") else f"{end:.0f}",
                    "pricePerUnit": {currency: f"{usd:.10f}"},
                }
                for n, (begin, end, usd) in enumerate(bands(found.row))
            }
            terms[sku] = {f"{sku}.T": {"offerTermCode": "T", "priceDimensions": dimensions}}
        products["OTHER"] = {"attributes": {"usagetype": f"{short}Lambda-Edge-Request"}}
        answers[index[region]["currentVersionUrl"]] = {"products": products, "terms": {"OnDemand": terms}}
    return answers


def azure_files(prices: Tariff = PRICES, currency: str = "USD") -> Answers:
    """Two pages; what is free is a band of its own, executions are sold by ten."""
    listed, items = prices.lists[Provider.AZURE], list[dict[str, Any]]()
    for region in ("eastus", "brazilsouth"):
        for (product, name), meter in vendors.AZURE_METERS.items():
            found = listed.found(meter, region)
            assert found is not None
            units, unit = (10, "10") if "Executions" in name else (1, "1 GB Second")
            row = found.row
            starts = [(0.0, 0.0)] if row.free else []
            starts += [(row.free + begin, usd) for begin, _, usd in bands(row)]
            items += [
                {
                    "currencyCode": currency,
                    "tierMinimumUnits": begin / units,
                    "retailPrice": usd * units,
                    "armRegionName": region,
                    "meterName": name,
                    "productName": product,
                    "unitOfMeasure": unit,
                    "type": "Consumption",
                }
                for begin, usd in starts
            ]
    path = "/api/retail/prices"
    half = len(items) // 2
    return {
        "/second": {"Items": items[half:], "NextPageLink": None},
        path: {"BillingCurrency": currency, "Items": items[:half], "NextPageLink": "/second"},
    }


def google_files(prices: Tariff = PRICES, currency: str = "USD") -> Answers:
    listed, skus = prices.lists[Provider.GCP], list[dict[str, Any]]()
    names = {
        "request": "Services Requests (Request-based billing)",
        "vcpu_second": "Services CPU (Request-based billing)",
        "gib_second": "Services Memory (Request-based billing)",
        "idle_vcpu_second": "Services Min Instance CPU (Request-based billing)",
        "idle_gib_second": "Services Min Instance Memory (Request-based billing)",
    }
    for meter, name in names.items():
        for region in ("us-central1", "europe-west3"):
            found = listed.found(meter, region)
            assert found is not None
            rates = [(0.0, 0.0)] if found.row.free else []
            rates += [(found.row.free, found.row.usd)]
            skus.append(
                {
                    "description": f"{name} in {region}",
                    "category": {"usageType": "OnDemand"},
                    "serviceRegions": [region],
                    "pricingInfo": [
                        {
                            "pricingExpression": {
                                "tieredRates": [
                                    {
                                        "startUsageAmount": begin,
                                        "unitPrice": {
                                            "currencyCode": currency,
                                            "units": "0",
                                            "nanos": round(usd * 1e9),
                                        },
                                    }
                                    for begin, usd in rates
                                ]
                            }
                        }
                    ],
                }
            )
    skus.append({"description": "Jobs CPU in us-central1", "serviceRegions": ["us-central1"], "pricingInfo": []})
    path = f"/v1/services/{vendors.GOOGLE_SERVICE}/skus"
    return {
        f"{path}?currencyCode=USD&pageSize=5000&pageToken=to be continued": {"skus": skus[5:]},
        path: {"skus": skus[:5], "nextPageToken": "to be continued"},
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tariffs.json"
    path.write_bytes(tariff.FILE.read_bytes())
    return path


def update(file: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
    environ = {"COLUMNS": "200", commands.GOOGLE_KEY: "", **(env or {})}
    return CliRunner().invoke(app, ["tariffs", "update", "--file", str(file), *arguments], env=environ)


def from_all(answers: Answers) -> Iterator[tuple[Files, tuple[str, ...]]]:
    with serving(answers) as server:
        yield server, tuple(word for provider in Provider for word in ("--from", f"{provider}={server.base}"))


def test_prices_that_have_not_changed_are_dated_anew_and_nothing_else(file: Path) -> None:
    for server, sources in from_all(aws_files() | azure_files() | google_files()):
        shown = update(file, *sources, "--yes", env={commands.GOOGLE_KEY: KEY})
        assert shown.exit_code == 0, shown.output
        assert "mx-central-1" in shown.output  # it has prices of its own now
        assert KEY not in shown.output
        assert server.keys == {None, KEY}
    prices = tariff.read(json.loads(file.read_text()))
    assert (prices.as_of, prices.lists[Provider.AWS].as_of) == (TODAY, "2026-11-01")
    for provider in Provider:
        before, after = PRICES.lists[provider], prices.lists[provider]
        assert after.areas == before.areas
        assert after.unlisted == before.unlisted - {"mx-central-1"}
        for meter in before.meters:
            for region in before.areas:
                if before.own(meter, region) is not None:
                    assert same(before.own(meter, region), after.own(meter, region)), (provider, meter, region)
        assert after.own("internet_gb", "mx-central-1") is None  # nobody said
    again = json.loads(file.read_text())
    for _, sources in from_all(aws_files() | azure_files() | google_files()):
        assert "no price has changed" in update(file, *sources, env={commands.GOOGLE_KEY: KEY}).output
    assert json.loads(file.read_text()) == again


def same(one: Row | None, other: Row | None) -> bool:
    if one is None or other is None:
        return one is other
    flat = [[row.usd, row.free, *(part for band in row.then for part in band)] for row in (one, other)]
    return flat[0] == pytest.approx(flat[1])


def dearer(by: float) -> Tariff:
    """AWS's requests, by so many times."""
    document = json.loads(tariff.FILE.read_text())
    for row in document["aws"]["meters"]["request"]:
        row["usd"] *= by
    return tariff.read(document)


def test_a_changed_price_is_shown_dated_and_written(file: Path) -> None:
    for _, sources in from_all(aws_files(dearer(1.25))):
        dry = update(file, *sources, "--provider", "aws", "--dry-run", "--json")
        assert json.loads(dry.output)["written"] is False
        assert file.read_bytes() == tariff.FILE.read_bytes()
        assert update(file, *sources, "--provider", "aws").exit_code == 1  # nobody to ask
        shown = update(file, *sources, "--provider", "aws", "--yes")
    assert shown.exit_code == 0, shown.output
    assert "us-east-1" in shown.output
    prices = tariff.read(json.loads(file.read_text()))
    assert prices.version.startswith(TODAY)
    own = {region: prices.lists[Provider.AWS].own("request", region) for region in (*SHORT, "us-west-2")}
    assert {region: row and round(row.usd * 1e9) for region, row in own.items()} == {
        "us-east-1": 250,
        "eu-west-1": 250,
        "af-south-1": 331,
        "mx-central-1": 250,
        "us-west-2": 200,  # not in these files: it stays
    }


def test_who_is_busy_is_asked_again(file: Path) -> None:
    for server, sources in from_all(azure_files()):
        server.busy = 3
        assert update(file, *sources, "--provider", "azure", "--yes").exit_code == 0
        assert len(server.asked) == 5


def _cut(answers: Answers) -> None:
    last = [*answers][-1]
    answers[last] = json.dumps(answers[last]).encode()[: len(json.dumps(answers[last])) // 2]


def _without_baseline(answers: Answers) -> None:
    for path, page in answers.items():
        kept = [item for item in page["Items"] if item["meterName"] != "Always Ready Baseline"]
        answers[path] = {**page, "Items": kept}


def _twice(answers: Answers) -> None:
    offer = answers[IN_IRELAND]
    offer["products"]["again"] = {"attributes": {"usagetype": "EU-Request"}}
    dear = {"beginRange": "0", "pricePerUnit": {"USD": "0.000001"}}
    offer["terms"]["OnDemand"]["again"] = {"T": {"priceDimensions": {"a": dear}}}


def _again(answers: Answers) -> None:
    items = answers["/second"]["Items"]
    items.append({**items[-1], "retailPrice": 9e-5})


IN_IRELAND = "/offers/v1.0/aws/AWSLambda/20261101/eu-west-1/index.json"
REGIONS = "/offers/v1.0/aws/AWSLambda/current/region_index.json"
SKUS = f"/v1/services/{vendors.GOOGLE_SERVICE}/skus"
AWAY = "https://elsewhere.example/x"
BARE = {"productName": "Functions", "meterName": "Standard Execution Time"}


def _set(path: str, value: object) -> Callable[[Answers], None]:
    return lambda answers: answers.update({path: value})


@pytest.mark.parametrize(
    ("provider", "answers", "damage", "said"),
    [
        ("aws", aws_files(), _cut, "no whole JSON document"),
        ("azure", azure_files(), _cut, "no whole JSON document"),
        ("gcp", google_files(), _cut, "no whole JSON document"),
        ("aws", aws_files(currency="CNY"), None, "prices are in CNY, not in USD"),
        ("azure", azure_files(currency="EUR"), None, "prices are in EUR, not in USD"),
        ("gcp", google_files(currency="EUR"), None, "prices are in EUR, not in USD"),
        ("aws", aws_files(without="Lambda-GB-Second-ARM"), None, "no price for gb_second_arm64: its SKU is missing"),
        ("azure", azure_files(), _without_baseline, "no price for ready_capacity_gb_second: its SKU is missing"),
        ("aws", aws_files(dearer(2.5)), None, "hardly what they were"),
        ("aws", aws_files(dearer(0.0)), None, "hardly what they were"),
        ("aws", aws_files(dearer(1.25)), _set(IN_IRELAND, 429), "answered 429"),
        ("aws", aws_files(), _set(IN_IRELAND, 403), "answered 403"),
        ("aws", aws_files(), _set(REGIONS, {"formatVersion": "v2"}), "has no regions"),
        ("aws", {}, None, "answered 404"),
        ("azure", azure_files(), _set("/second", {"Items": [], "NextPageLink": "/second"}), "pages do not end"),
        ("azure", azure_files(), _set("/second", {"Items": [], "NextPageLink": AWAY}), "another host"),
        ("azure", azure_files(), _set("/second", {"Items": [BARE]}), "no price file that FISO knows"),
        ("azure", azure_files(), _set("/second", ["Items"]), "no JSON object"),
        ("gcp", google_files(), _set(SKUS, {"skus": [{"description": "CPU", "pricingInfo": []}]}), "no price is in"),
        ("aws", aws_files(), _twice, "two prices for request eu-west-1: 2e-07 and 1e-06"),
        ("azure", azure_files(), _again, "two prices from"),
    ],
)
def test_a_faulty_file_is_one_line_and_changes_nothing(
    file: Path, provider: str, answers: Answers, damage: Callable[[Answers], None] | None, said: str
) -> None:
    answers = deepcopy(answers)
    if damage:
        damage(answers)
    for _, sources in from_all(answers):
        shown = update(file, *sources, "--provider", provider, "--yes", "--json", env={commands.GOOGLE_KEY: KEY})
    assert shown.exit_code == 2
    (line,) = shown.output.strip().splitlines()
    assert said in line
    assert KEY not in line
    assert file.read_bytes() == tariff.FILE.read_bytes()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def _aws_versions(answers: Answers) -> None:
    """A term of before and one that is announced, beside the one in force (docs: `effectiveDate` of a term)."""
    for path, answer in answers.items():
        for sku, terms in answer.get("terms", {}).get("OnDemand", {}).items() if path != REGIONS else ():
            (code,) = terms
            other = {"d": {"beginRange": "0", "pricePerUnit": {"USD": "0.5"}}}
            terms[code]["effectiveDate"] = "2026-11-01T00:00:00Z"
            terms[f"{sku}.OLD"] = {"effectiveDate": "2019-01-01T00:00:00Z", "priceDimensions": other}
            terms[f"{sku}.NEXT"] = {"effectiveDate": "2999-01-01T00:00:00Z", "priceDimensions": other}


def _azure_rows(answers: Answers) -> None:
    """The rows that the Retail Prices API has beside those of use today: of meters that are not primary, reserved, for
    development, over and announced."""
    page = answers["/second"]
    usual = [
        item | {"effectiveStartDate": "2024-11-01T00:00:00Z", "isPrimaryMeterRegion": True} for item in page["Items"]
    ]
    beside = [
        {"isPrimaryMeterRegion": False},
        {"type": "Reservation", "reservationTerm": "1 Year", "retailPrice": 300.0},
        {"type": "DevTestConsumption", "retailPrice": 0.5},
        {"effectiveEndDate": "2024-11-01T00:00:00Z", "retailPrice": 0.5},
        {"effectiveStartDate": "2999-01-01T00:00:00Z", "retailPrice": 0.5},
    ]
    page["Items"] = usual + [item | other for item in usual for other in beside]


def _google_timeline(answers: Answers) -> None:
    """`pricingInfo` is a timeline in the order of time, with nanoseconds."""
    for page in answers.values():
        for sku in page["skus"]:
            for known in list(sku["pricingInfo"]):
                rate = {"startUsageAmount": 0, "unitPrice": {"currencyCode": "USD", "units": "1", "nanos": 0}}
                other = {"pricingExpression": {"tieredRates": [rate]}}
                sku["pricingInfo"] = [
                    other | {"effectiveTime": "2020-01-01T00:00:00.123456789Z"},
                    known | {"effectiveTime": "2026-11-20T08:00:00.000000001Z"},
                    other | {"effectiveTime": "2999-01-01T00:00:00Z"},
                ]


@pytest.mark.parametrize(
    ("provider", "answers", "beside"),
    [
        ("aws", aws_files(), _aws_versions),
        ("azure", azure_files(), _azure_rows),
        ("gcp", google_files(), _google_timeline),
    ],
)
def test_of_a_prices_versions_the_one_in_force_counts(
    file: Path, provider: str, answers: Answers, beside: Callable[[Answers], None]
) -> None:
    answers = deepcopy(answers)
    beside(answers)
    for _, sources in from_all(answers):
        shown = update(file, *sources, "--provider", provider, "--yes", env={commands.GOOGLE_KEY: KEY})
        assert shown.exit_code == 0, shown.output
    kept, before = tariff.read(json.loads(file.read_text())), PRICES
    (known,) = (each for each in Provider if each.value == provider)
    for meter in ("request",) if known is not Provider.AZURE else ("flex_request", "flex_gb_second"):
        region = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}[provider]
        ours, was = kept.lists[known].found(meter, region), before.lists[known].found(meter, region)
        assert ours is not None
        assert was is not None
        assert ours.row.usd == pytest.approx(was.row.usd)


def test_a_price_that_is_announced_only_is_none(file: Path) -> None:
    answers = aws_files()
    for path, answer in answers.items():
        for terms in answer.get("terms", {}).get("OnDemand", {}).values() if path != REGIONS else ():
            for term in terms.values():
                term["effectiveDate"] = "2999-01-01T00:00:00Z"
    for _, sources in from_all(answers):
        shown = update(file, *sources, "--provider", "aws", "--yes")
    assert shown.exit_code == 2
    assert "no price is in force" in shown.output
    assert file.read_bytes() == tariff.FILE.read_bytes()


def test_files_may_come_packed(file: Path) -> None:
    packed = {path: Packed(gzip.compress(json.dumps(answer).encode())) for path, answer in azure_files().items()}
    for _, sources in from_all(packed):
        assert update(file, *sources, "--provider", "azure", "--yes").exit_code == 0


def test_an_accepted_jump_is_written(file: Path) -> None:
    for _, sources in from_all(aws_files(dearer(2.5))):
        assert update(file, *sources, "--provider", "aws", "--yes", "--accept").exit_code == 0
    row = tariff.read(json.loads(file.read_text())).lists[Provider.AWS].own("request", "us-east-1")
    assert row is not None
    assert row.usd == pytest.approx(5e-7)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"{", "Expecting"), (b"{}", "no tariffs"), (b'{"currency": "EUR"}', "not in USD"), (None, "No such file")],
)
def test_a_file_that_holds_no_tariffs_is_one_line(file: Path, content: bytes | None, said: str) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    for shown in (
        update(file, "--provider", "azure"),
        CliRunner().invoke(app, ["tariffs", "show", "--file", str(file)]),
    ):
        assert shown.exit_code == 2
        assert said in shown.output


@pytest.mark.parametrize(
    "word", ["aws", "ibm=https://x.example", "aws=http://prices.example", "aws=file:///etc/passwd"]
)
def test_a_mirror_is_read_over_https_only(file: Path, word: str) -> None:
    shown = update(file, "--provider", "aws", "--from", word)
    assert shown.exit_code == 2
    assert len(shown.output.strip().splitlines()) == 1
