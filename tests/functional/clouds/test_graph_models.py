"""What trust asks of Entra, and what the local Graph keeps of it, are the documents of Microsoft Graph's own SDK.

`msgraph-sdk` unpacks to 470 MB, so that it is no dependency: install it beside, and put its folder on PYTHONPATH.
"""

import json
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from fiso_cli.clouds.plan import apply
from tests.functional.clouds.trust_rig import trusts

pytest.importorskip("msgraph", reason="Microsoft Graph's SDK is not installed: its models check nothing here")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """Everything that the trust made, by the name of its model."""
    with trusts(tmp_path_factory.mktemp("trust")) as here:
        apply(here.azure(), lambda _: None, sleep=lambda _: None)
        directory = here.directory
        made = [("Application", each) for each in directory.applications.values()]
        made += [("ServicePrincipal", each) for each in directory.principals.values()]
        made += [("FederatedIdentityCredential", each) for of in directory.credentials.values() for each in of.values()]
        made += [("AppRoleAssignment", each) for of in directory.assignments.values() for each in of]
        plain: list[tuple[str, dict[str, Any]]] = json.loads(json.dumps(made))
        return plain


def test_each_document_of_the_trust_is_one_of_the_vendors_model(kept: list[tuple[str, dict[str, Any]]]) -> None:
    assert {name for name, _ in kept} == {
        "Application",
        "ServicePrincipal",
        "FederatedIdentityCredential",
        "AppRoleAssignment",
    }
    for name, document in kept:
        assert list(unknown(parsed(name, document))) == [], name
        assert _without_empty(written(parsed(name, document))) == _without_empty(document)


@pytest.mark.parametrize("wrong", [{"identifierUri": ["x"]}, {"api": {"accessTokenVersion": 1}}])
def test_a_property_that_the_vendor_does_not_know_is_found(wrong: dict[str, Any]) -> None:
    assert list(unknown(parsed("Application", wrong)))


def parsed(name: str, document: dict[str, Any]) -> Any:
    module = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
    model = getattr(import_module(f"msgraph.generated.models.{module}"), name)
    node = own("parse_node_factory", "JsonParseNodeFactory").get_root_parse_node(
        "application/json", json.dumps(document).encode()
    )
    return node.get_object_value(model)


def own(module: str, name: str) -> Any:
    """By name: nothing here knows its types."""
    return getattr(import_module(f"kiota_serialization_json.json_{module}"), name)()


def written(model: Any) -> dict[str, Any]:
    writer = own("serialization_writer", "JsonSerializationWriter")
    model.serialize(writer)
    whole: dict[str, Any] = json.loads(writer.get_serialized_content())
    return whole


def unknown(model: Any, at: str = "") -> Iterator[str]:
    """Properties that the model has no field for, and values that it read as nothing, at any depth."""
    yield from (f"{at}{name}" for name in getattr(model, "additional_data", {}))
    for name, value in vars(model).items():
        for each in value if isinstance(value, list) else [value]:
            if hasattr(each, "additional_data"):
                yield from unknown(each, f"{at}{name}.")


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_empty(each)
            for name, each in value.items()
            if each not in (None, [], {}) and name != "@odata.type"
        }
    return [_without_empty(each) for each in value] if isinstance(value, list) else value
