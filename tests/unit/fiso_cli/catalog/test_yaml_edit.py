"""Endpoints put into a catalog file's text: what was there stays, byte by byte, but what was asked for."""

import pytest
import yaml

from fiso_cli.catalog.yaml_edit import with_endpoints, with_identities, without_endpoints, without_identities

NEW: dict[str, str | int] = {
    "id": "azure-eastus-512",
    "provider": "azure",
    "memory_mb": 512,
    "address": "https://x/api/f",
}
BLOCK = """version: 1
defaults:  # of all
  policy: {idempotent: yes}

functions:
  f:  # ours
    type: text
    endpoints:  # two clouds
      - id: aws-use1
        address: "arn:aws:x"  # old
      - {id: gcp, address: 'https://y'}  # flow
      # more to come
    policy: {home: aws-use1}
  g: {endpoints: [{id: a, address: b}]}
# the end
"""


def endpoints(text: str, function: str = "f") -> list[dict[str, object]]:
    found: list[dict[str, object]] = yaml.safe_load(text)["functions"][function]["endpoints"]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# mine\nversion: 1\n",
        "version: 1\nfunctions:\n",
        "version: 1\nfunctions: {}\n",
        BLOCK,
        BLOCK.rstrip("\n"),
        BLOCK.replace("# the end\n", ""),
        "version: 1\nfunctions:\n    other:\n        endpoints:\n        - id: a\n          address: b",
    ],
)
@pytest.mark.parametrize("function", ["f", "new-one"])
def test_an_endpoint_is_added_once_and_taken_out_again(text: str, function: str) -> None:
    once = with_endpoints(text, function, [NEW])
    assert endpoints(once, function)[-1] == NEW
    assert with_endpoints(once, function, [NEW]) == once
    kept = [line.removesuffix(" {}") for line in text.splitlines() if line.strip()]
    assert [line for line in once.splitlines() if line in kept] == kept
    back = without_endpoints(once, function, ["azure-eastus-512", "no-such"])
    assert [line for line in back.splitlines() if line in kept] == kept
    assert len([line for line in back.splitlines() if line.strip()]) <= max(len(kept), 2) + 1
    again = with_endpoints(back, function, [NEW])
    assert yaml.safe_load(again) == yaml.safe_load(once)
    assert without_endpoints(again, function, ["azure-eastus-512"]) == back


def test_an_endpoint_that_is_there_is_changed_where_it_stands() -> None:
    changed = with_endpoints(
        BLOCK, "f", [{"id": "aws-use1", "address": "arn:aws:z", "region": "us-east-1"}, {"id": "gcp", "memory_mb": 512}]
    )
    assert changed == BLOCK.replace('"arn:aws:x"', '"arn:aws:z"\n        region: us-east-1').replace(
        "'https://y'}", "'https://y', memory_mb: 512}"
    )


@pytest.mark.parametrize("text", ["[]", "version: 1\nfunctions: [a]\n", "a: b: c", "version: 1\nversion: 2\n"])
def test_what_is_no_catalog_file_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        with_endpoints(text, "f", [NEW])


def test_a_function_that_has_more_than_its_last_endpoint_stays() -> None:
    text = with_endpoints("", "f", [NEW]) + "    policy: {home: azure-eastus-512}\n"
    with pytest.raises(ValueError, match="take it out by hand"):
        without_endpoints(text, "f", ["azure-eastus-512"])


def test_endpoints_in_one_line_are_said_to_be_in_the_way() -> None:
    with pytest.raises(ValueError, match="must be a list with a line for each"):
        with_endpoints(BLOCK, "g", [NEW])


WHO = {"azure_tenant": "7a", "google_provider": "projects/1/x"}


@pytest.mark.parametrize("text", ["", "version: 1\nfunctions:\n", BLOCK, BLOCK.rstrip("\n"), "# mine\nversion: 1\n"])
def test_who_fiso_is_goes_in_once_beside_what_is_there_and_out_again(text: str) -> None:
    once = with_identities(text, {"azure_tenant": "7b"})
    whole = with_identities(with_identities(once, WHO), WHO)
    assert yaml.safe_load(whole)["identities"] == WHO
    assert [line for line in text.splitlines() if line not in whole.splitlines()] == []
    half = without_identities(whole, ["google_provider", "azure_client"])
    assert yaml.safe_load(half)["identities"] == {"azure_tenant": "7a"}
    back = without_identities(half, ["azure_tenant"])
    assert back.strip() == (text or "version: 1\n\nfunctions:").strip()
    assert without_identities(back, ["azure_tenant"]) == back


def test_identities_in_one_line_are_said_to_be_in_the_way() -> None:
    with pytest.raises(ValueError, match="by hand"):
        without_identities("version: 1\nidentities: {azure_tenant: x}\nfunctions:\n", ["azure_tenant"])
