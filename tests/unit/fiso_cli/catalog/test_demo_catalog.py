from pathlib import Path

from fiso.domain.endpoint import Provider
from fiso.domain.policy import Idempotent
from fiso.routing.eligibility import eligible
from fiso_cli.catalog.declaration import Setting, read
from fiso_cli.stage import Stage
from localcloud import demo

FILE = Path(next(iter(demo.__path__))) / "fiso.yaml"
STAGE = Stage.named("local", {"FISO_LOCAL_PORT": "30000"})
DECLARATION = read(FILE, Setting(variables=STAGE.address_variables, is_local=True))
ENTRIES = {entry.name: entry for entry in DECLARATION.entries}


def test_holds_the_four_sample_functions_without_doubts() -> None:
    assert set(ENTRIES) == {"graph-bfs", "compress", "pixels", "word-count"}
    assert DECLARATION.warnings == ()


def test_every_function_can_fail_over_between_all_three_clouds() -> None:
    for entry in ENTRIES.values():
        assert {endpoint.provider for endpoint in eligible(entry).candidates} == set(Provider)
        assert entry.policy.idempotent is Idempotent.YES


def test_residency_keeps_the_american_copy_out() -> None:
    (exclusion,) = eligible(ENTRIES["compress"]).exclusions  # type: ignore[index]
    assert (exclusion.endpoint, exclusion.code) == ("azure-eastus", "residency")


def test_addresses_lead_to_the_local_clouds_listeners() -> None:
    by_place = {(e.provider, e.region): e.address for entry in ENTRIES.values() for e in entry.endpoints}
    sample = "arn:aws:lambda:{}:000000000000:function:fiso-local-sample-aws"
    assert by_place[Provider.AWS, "us-east-1"] == sample.format("us-east-1")
    assert by_place[Provider.AWS, "eu-west-1"] == sample.format("eu-west-1")
    assert {place: address.split("/")[2] for place, address in by_place.items() if place[0] is not Provider.AWS} == {
        (Provider.AZURE, "eastus"): "127.0.0.1:30011",
        (Provider.AZURE, "westeurope"): "127.0.0.1:30012",
        (Provider.GCP, "us-east4"): "127.0.0.1:30013",
        (Provider.GCP, "europe-west1"): "127.0.0.1:30014",
    }
