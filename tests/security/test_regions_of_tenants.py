"""Whose functions fail may be who calls them: does a tenant move others' requests by failing in a whole region?"""

from dataclasses import replace

import pytest

from fiso.domain.catalog import CatalogEntry
from fiso.domain.endpoint import EndpointId, FunctionName
from fiso.domain.policy import Idempotent
from fiso.testing.rig import Rig, http_event, word_count
from fiso_client.core.failures import Failure
from tests.edge import BY_IAM, signed

HONEST, OTHER = "111111111111", "222222222222"
LATENCY_MS = {"aws-us-east-1": 30.0, "azure-eastus": 90.0, "gcp-us-east4": 150.0}
BEST, SECOND_BEST = "aws-us-east-1", "gcp-us-east4"
OF_A_REGION = [Failure.BROKEN, Failure.TIMED_OUT, Failure.UNREACHABLE, Failure.PROVIDER_FAULT]


def an_own(name: str, *, of: str | None = OTHER) -> CatalogEntry:
    entry = word_count(idempotent=Idempotent.NO, tenants=frozenset({of} if of else ()))
    copies = (replace(copy, id=EndpointId(f"{name}-{copy.id}")) for copy in entry.endpoints)
    return replace(entry, name=FunctionName(name), endpoints=tuple(copies))


def a_rig(failure: Failure, *functions: CatalogEntry, beside: Rig | None = None) -> Rig:
    """Everybody's function on three clouds, and those whose copies fail in the region of its best one."""
    shared = {"stores": beside.stores, "clock": beside.clock} if beside else {}
    rig = Rig(word_count(idempotent=Idempotent.NO), *functions, settings=BY_IAM, **shared)  # type: ignore[arg-type]
    for endpoint, latency_ms in LATENCY_MS.items():
        rig.slow(endpoint, latency_ms)
    for function in functions:
        rig.fail(f"{function.name}-{BEST}", failure)
    for _ in range(12):
        called(rig, HONEST)
    assert called(rig, HONEST) == [BEST]
    return rig


def called(rig: Rig, tenant: str, function: str = "word-count", **headers: str) -> list[EndpointId]:
    before = len(rig.calls)
    rig.send(signed(http_event(path=f"/v1/invoke/{function}", **headers), tenant))
    rig.advance(0.2)
    return rig.calls[before:]


def fails(rig: Rig, tenant: str, *functions: str) -> None:
    for _ in range(6):
        for function in functions:
            called(rig, tenant, function, x_fiso_exclude="azure,gcp")


@pytest.mark.parametrize("of", [OTHER, None], ids=["its own functions", "everybody's"])
@pytest.mark.parametrize("failure", OF_A_REGION)
def test_one_tenants_failing_functions_close_no_region_to_others(failure: Failure, of: str | None) -> None:
    rig = a_rig(failure, an_own("one", of=of), an_own("two", of=of))
    elsewhere = a_rig(failure, an_own("one", of=of), an_own("two", of=of), beside=rig)
    for _ in range(3):
        fails(rig, OTHER, "one", "two")
        assert called(rig, HONEST) == called(elsewhere, HONEST) == [BEST]


def test_nor_do_they_from_two_environments() -> None:
    rig = a_rig(Failure.BROKEN, an_own("one"), an_own("two"))
    elsewhere = a_rig(Failure.BROKEN, an_own("one"), an_own("two"), beside=rig)
    for _ in range(3):
        fails(rig, OTHER, "one")
        fails(elsewhere, OTHER, "two")
        assert called(rig, HONEST) == called(elsewhere, HONEST) == [BEST]


@pytest.mark.parametrize("failure", OF_A_REGION[:1])
def test_the_tenant_itself_is_kept_away_in_all_environments(failure: Failure) -> None:
    rig = a_rig(failure, an_own("one"), an_own("two"))
    elsewhere = a_rig(failure, an_own("one"), an_own("two"), beside=rig)
    called(rig, OTHER)
    fails(rig, OTHER, "one", "two")
    called(elsewhere, HONEST)
    assert called(rig, OTHER) == called(elsewhere, OTHER) == [SECOND_BEST]


def test_what_two_tenants_functions_meet_is_the_regions_for_all() -> None:
    rig = a_rig(Failure.BROKEN, an_own("one"), an_own("two", of=HONEST))
    fails(rig, OTHER, "one")
    fails(rig, HONEST, "two")
    assert called(rig, HONEST) == called(rig, "333333333333") == [SECOND_BEST]
