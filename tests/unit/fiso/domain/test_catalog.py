from dataclasses import replace

import pytest

from fiso.domain.catalog import CatalogEntry, stamped
from fiso.domain.endpoint import Endpoint, EndpointId, FunctionName, Provider
from fiso.domain.errors import InvalidCatalog
from fiso.domain.policy import Policy

AWS = Endpoint(id=EndpointId("aws"), provider=Provider.AWS, region="us-east-1", memory_mb=512, address="fn")
BFS = CatalogEntry(name=FunctionName("bfs"), function_type="graph", endpoints=(AWS,), policy=Policy(version=0))
OLD = {BFS.name: replace(BFS, policy=Policy(version=4))}


def test_a_new_function_gets_the_new_version() -> None:
    assert stamped([BFS], replaced={}, version=5)[BFS.name].policy.version == 5


def test_an_unchanged_policy_keeps_its_version_though_endpoints_change() -> None:
    moved = replace(BFS, endpoints=(replace(AWS, memory_mb=1024),))
    assert stamped([moved], replaced=OLD, version=5)[BFS.name].policy.version == 4


def test_a_changed_policy_gets_the_new_version() -> None:
    patient = replace(BFS, policy=Policy(version=4, timeout_ms=1000))
    assert stamped([patient], replaced=OLD, version=5)[BFS.name].policy.version == 5


def test_a_function_may_stand_there_once() -> None:
    with pytest.raises(InvalidCatalog, match="'bfs' stands in the catalog twice"):
        stamped([BFS, BFS], replaced={}, version=1)
