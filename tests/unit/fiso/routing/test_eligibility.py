from typing import Any

import pytest

from fiso.domain.endpoint import EndpointId, Provider
from fiso.domain.policy import Mode
from fiso.routing.constraints import eligible
from tests.builders import an_entry


@pytest.mark.parametrize(
    ("policy", "candidates", "codes"),
    [
        ({}, ["aws", "azure", "gcp"], []),
        ({"denied_providers": frozenset({Provider.AWS})}, ["azure", "gcp"], ["provider_denied"]),
        ({"allowed_providers": frozenset({Provider.GCP})}, ["gcp"], ["provider_not_allowed"] * 2),
        ({"denied_regions": frozenset({"eastus"})}, ["aws", "gcp"], ["region_denied"]),
        ({"allowed_regions": frozenset({"eastus"})}, ["azure"], ["region_not_allowed"] * 2),
        ({"residency": frozenset({"europe-west1"})}, [], ["residency"] * 3),
        ({"mode": Mode.PIN, "pinned": EndpointId("azure")}, ["azure"], ["not_pinned"] * 2),
    ],
)
def test_each_rule_leaves_out_what_it_names(policy: dict[str, Any], candidates: list[str], codes: list[str]) -> None:
    found = eligible(an_entry(**policy))
    assert [endpoint.id for endpoint in found.candidates] == candidates
    assert [exclusion.code for exclusion in found.exclusions] == codes


def test_a_pin_does_not_overrule_a_denial() -> None:
    found = eligible(an_entry(mode=Mode.PIN, pinned=EndpointId("aws"), denied_providers=frozenset({Provider.AWS})))
    assert found.candidates == ()
    assert {e.endpoint: e.code for e in found.exclusions}[EndpointId("aws")] == "provider_denied"
