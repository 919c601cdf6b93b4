"""docs/prices.md against the code that it describes."""

import re

from fiso.billing import tariff
from fiso.domain.endpoint import PLANS, Plan, Provider
from fiso_cli.catalog.declaration import Setting, parse
from fiso_cli.local_stage import CHECKOUT

PAGE = (CHECKOUT / "docs/prices.md").read_text(encoding="utf-8")


def test_the_example_is_read_and_nothing_in_it_is_doubtful() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    declared = parse(example, Setting(variables={}, is_local=False))
    assert declared.warnings == ()
    (entry,) = declared.entries
    terms = entry.prices
    assert terms is not None
    assert (terms.account(Provider.AWS).discount, terms.account(Provider.AZURE).discount) == (0.12, 0.05)
    assert terms.account(Provider.GCP).free_tier
    priced = tariff.current().under(terms)
    assert [priced.cost_usd(endpoint, 100) for endpoint in entry.endpoints if endpoint.provider is Provider.GCP] == [0]


def test_every_plan_has_its_row() -> None:
    rows = re.findall(r"^\| (aws|azure|gcp) `(\w+)`", PAGE, re.MULTILINE)
    assert {(Provider(provider), Plan(plan)) for provider, plan in rows} == {
        (provider, plan) for provider, plans in PLANS.items() for plan in plans
    }


def test_how_many_regions_are_estimated_is_what_the_page_says() -> None:
    lists = tariff.current().lists
    azure, google = lists[Provider.AZURE], lists[Provider.GCP]
    said = re.search(r"of Azure all but (\d+), of Google (\w+)\.", PAGE)
    assert said is not None
    assert (int(said[1]), said[2]) == (len(azure.areas) - len(azure.unlisted), {2: "two"}[len(google.unlisted)])
