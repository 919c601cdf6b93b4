"""What is declared for Azure, by the vendor's own types (Azure/bicep-types-az), and the check by some of ours."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.clouds.azure import steps
from fiso_cli.clouds.azure.arm import Arm
from fiso_cli.clouds.azure.names import Copy, Group
from fiso_cli.clouds.databases.azure import FlexibleServer
from fiso_cli.training.platforms import azureml
from fiso_cli.training.platforms.jobs import Job
from localcloud.azure_cloud import types
from localcloud.azure_cloud.deployments import declared, scope_of
from localcloud.azure_cloud.world import World
from tests.functional.clouds import azure_sdk

GROUP = Group(stage="prod", subscription="11111111-1111-1111-1111-111111111111")
COPY = Copy(group=GROUP, function="compress", folder=Path(), region="eastus", memory_mb=512)
WANTED = steps.Wanted(application_id="22222222-2222-2222-2222-222222222222", tenant_id="3" * 8)
SHARED = {"lockAccount": GROUP.lock_account, "insights": GROUP.insights, "tags": GROUP.tags()}


def resources(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Every resource of both templates as it goes to its provider."""
    world = World(folder=tmp_path)
    group = {"id": GROUP.id, "location": "eastus"}
    for name, kind, properties in (
        (COPY.storage_id, "s", {"primaryEndpoints": {"blob": "https://x.blob.core.windows.net/"}}),
        (COPY.app_id, "a", {"defaultHostName": f"{COPY.app}.azurewebsites.net"}),
        (GROUP.resource("Microsoft.Insights/components", GROUP.insights), "c", {"ConnectionString": "x"}),
    ):
        world.put(name, {"type": kind, "properties": properties})
    for which, given in (("stage", SHARED), ("copy", steps.parameters(COPY, WANTED))):
        body = steps.body_of(which, given)
        for resource in declared(world, group, body):
            yield scope_of(world, group, body).value(resource)


def test_every_declared_resource_fits_the_vendors_type(tmp_path: Path) -> None:
    root = types.folder()
    if root is None:
        pytest.skip("FISO_AZURE_TYPES names no folder of the vendor's types")
    found = {f"{each['type']} {each['name']}": types.problems(root, each) for each in resources(tmp_path)}
    assert len(found) == 13
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_declared_resource_of_web_and_storage_fits_the_model_of_the_vendors_sdk(tmp_path: Path) -> None:
    made = [each for each in resources(tmp_path) if each["type"] in azure_sdk.MODELS]
    assert len(made) == 11
    assert {str(each["name"]): azure_sdk.problems(each) for each in made if azure_sdk.problems(each)} == {}


@pytest.mark.parametrize(
    ("place", "value", "wrong"),
    [
        ("runtime.name", "pythn", "is 'pythn', none of RuntimeName"),
        ("runtime.other", 1, "runtime.other is unknown"),
        ("scaleAndConcurrency.instanceMemoryMB", "512", "is not int"),
        ("deployment.storage", [], "is not an object"),
    ],
)
def test_the_models_find_what_does_not_fit(tmp_path: Path, place: str, value: object, wrong: str) -> None:
    (app,) = (each for each in resources(tmp_path) if each["type"] == "Microsoft.Web/sites")
    *way, last = place.split(".")
    inner = app["properties"]["functionAppConfig"]
    for name in way:
        inner = inner[name]
    inner[last] = value
    (found,) = azure_sdk.problems(app)
    assert wrong in found


def test_what_is_declared_has_no_key_no_password_and_one_request_at_a_time(tmp_path: Path) -> None:
    made = list(resources(tmp_path))
    storage = [each["properties"] for each in made if each["type"] == "Microsoft.Storage/storageAccounts"]
    assert [(each["allowSharedKeyAccess"], each["allowBlobPublicAccess"]) for each in storage] == [(False, False)] * 2
    policies = [each["properties"] for each in made if str(each["type"]).endswith("PublishingCredentialsPolicies")]
    assert policies == [{"allow": False}] * 2
    (app,) = (each["properties"] for each in made if each["type"] == "Microsoft.Web/sites")
    assert app["functionAppConfig"]["scaleAndConcurrency"]["triggers"] == {"http": {"perInstanceConcurrency": 1}}
    assert any(each["name"] == "fiso-log-workspace" for each in made)
    assert all(each["tags"].keys() >= {"fiso-stage", "fiso-deployment"} for each in made if "location" in each)


def test_the_database_server_fits_the_model_of_the_vendors_sdk() -> None:
    secret: Any = None
    arm = Arm(client=None, subscription=GROUP.subscription)
    declared = FlexibleServer(arm=arm, stage="prod", secret=secret, region="eastus", tenant="3" * 8).declared()
    assert azure_sdk.problems({"type": "Microsoft.DBforPostgreSQL/flexibleServers", **declared}) == []


def test_a_training_job_with_its_cluster_and_environment_fits_the_models_of_the_vendors_sdk() -> None:
    arm = Arm(client=None, subscription=GROUP.subscription)
    identity = GROUP.resource(azureml.KIND, azureml.WORKSPACE)
    workspace = azureml.Workspace(arm=arm, id=identity, region="eastus", container="c", blobs=None)
    platform = azureml.AzureML(workspace=workspace)
    job = Job(name="j-1", files={}, image="image", machine=azureml.MACHINE, longest_s=60, is_spot=True)
    made = {"jobs": platform.request(job), "computes": platform.cluster(job)}
    made["environments/versions"] = azureml.environment(job)
    for kind, body in made.items():
        declared = {"type": f"{azureml.KIND}/{kind}", "apiVersion": azureml.VERSION, "name": "n", **body}
        assert azure_sdk.problems(declared) == []
        if (root := types.folder()) is not None:
            assert types.problems(root, declared) == []
    inputs: Any = made["jobs"]["properties"]["inputs"]
    inputs["training_data"]["jobInputType"] = "uri_folders"
    made["jobs"]["properties"]["computeID"] = "c"
    found = azure_sdk.problems({"type": f"{azureml.KIND}/jobs", **made["jobs"]})
    assert any("computeID is unknown" in each for each in found)
    assert any("training_data" in each for each in found)


KINDS = [
    {"$type": "StringType", "minLength": 2, "pattern": "^[a-z]+$"},
    {"$type": "IntegerType", "minValue": 1, "maxValue": 9},
    {"$type": "BooleanType"},
    {"$type": "StringLiteralType", "value": "Hot"},
    {"$type": "UnionType", "elements": [{"$ref": "#/3"}, {"$ref": "#/0"}]},
    {"$type": "ArrayType", "itemType": {"$ref": "#/1"}},
    {
        "$type": "ObjectType",
        "properties": {
            "text": {"type": {"$ref": "#/0"}, "flags": 1},
            "count": {"type": {"$ref": "#/1"}, "flags": 0},
            "is_on": {"type": {"$ref": "#/2"}, "flags": 0},
            "tier": {"type": {"$ref": "#/4"}, "flags": 0},
            "many": {"type": {"$ref": "#/5"}, "flags": 0},
            "state": {"type": {"$ref": "#/0"}, "flags": 2},
        },
    },
    {
        "$type": "ObjectType",
        "properties": {
            "name": {"type": {"$ref": "#/0"}, "flags": 9},
            "type": {"type": {"$ref": "#/8"}, "flags": 10},
            "apiVersion": {"type": {"$ref": "#/8"}, "flags": 10},
            "properties": {"type": {"$ref": "#/6"}, "flags": 0},
        },
    },
    {"$type": "AnyType"},
    {"$type": "ResourceType", "name": "Ours.Kind/things@1", "body": {"$ref": "#/7"}},
]


@pytest.mark.parametrize(
    ("properties", "wrong"),
    [
        ({"text": "ab", "count": 3, "is_on": True, "tier": "Hot", "many": [1, 2]}, ""),
        ({}, "text is missing"),
        ({"text": "ab", "other": 1}, "other is unknown"),
        ({"text": "ab", "state": "ab"}, "state is read-only"),
        ({"text": "AB"}, "text does not match"),
        ({"text": "a"}, "text is 1 characters long"),
        ({"text": 1}, "text is not text"),
        ({"text": "ab", "count": 10}, "count is 10"),
        ({"text": "ab", "count": True}, "count is not a whole number"),
        ({"text": "ab", "is_on": "true"}, "is_on is not true or false"),
        ({"text": "ab", "tier": "Cold"}, "tier is 'Cold', none of Hot"),
        ({"text": "ab", "many": [0]}, "many[0] is 0"),
        ({"text": "ab", "many": 1}, "many is not a list"),
        ([], "properties is not an object"),
    ],
)
def test_the_check_finds_what_does_not_fit(tmp_path: Path, properties: object, wrong: str) -> None:
    file = tmp_path / "ours.kind/1/types.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(KINDS))
    thing = {"type": "Ours.Kind/things", "apiVersion": "1", "name": "ab", "properties": properties}
    found = types.problems(tmp_path, thing)
    assert len(found) == bool(wrong)
    assert wrong in "".join(found)
    assert types.problems(tmp_path, {**thing, "apiVersion": "2"}) == ["no types of Ours.Kind 2"]
    assert types.problems(tmp_path, {**thing, "type": "Ours.Kind/others"}) == [
        "Ours.Kind/others is not a resource of 1"
    ]
