"""The layers of stage prod by how it knows its callers: what checks tokens goes along with `auth: jwt` alone."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fiso_cli.packaging.template import serverless_package
from tests.architecture.test_template import FUNCTIONS, function, of_type


@pytest.fixture(scope="module")
def by_auth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The template's resources for each `auth`."""
    found = {}
    for auth in ("iam", "none", "jwt"):
        path = serverless_package("prod", tmp_path_factory.mktemp(auth), params=[f"auth={auth}"])
        found[auth] = json.loads(path.read_text())["Resources"]
    return found


def layers_of(resources: Mapping[str, Any], name: str) -> list[str]:
    """The archives of a function's layers, in its order."""
    keys = [resources[layer["Ref"]]["Properties"]["Content"]["S3Key"] for layer in function(resources, name)["Layers"]]
    return [key.rpartition("/")[2] for key in keys]


@pytest.mark.parametrize("auth", ["iam", "none"])
def test_a_stage_that_sees_no_tokens_neither_has_nor_deploys_what_checks_them(
    by_auth: dict[str, dict[str, Any]], auth: str
) -> None:
    assert layers_of(by_auth[auth], "orchestrator") == ["layer-model.zip"]
    assert set(of_type(by_auth[auth], "Lambda::LayerVersion")) == {"ModelLambdaLayer"}


def test_a_stage_for_tokens_has_both_layers_by_its_auth_alone(by_auth: dict[str, dict[str, Any]]) -> None:
    assert function(by_auth["jwt"], "orchestrator")["Environment"]["Variables"]["FISO_AUTH"] == "jwt"
    assert layers_of(by_auth["jwt"], "orchestrator") == ["layer-model.zip", "layer-access.zip"]


@pytest.mark.parametrize("auth", ["iam", "jwt"])
def test_no_other_function_has_a_layer(by_auth: dict[str, dict[str, Any]], auth: str) -> None:
    assert [name for name in FUNCTIONS if "Layers" in function(by_auth[auth], name)] == ["orchestrator"]
