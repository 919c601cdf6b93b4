"""The local Google: what is not in the vendor's own description of an API is refused, as Google refuses it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from localcloud.google_cloud.discovery import VERSIONS, load
from localcloud.google_cloud.handlers import HANDLERS
from tests.functional.clouds.google_rig import PROJECT, Rig, cloud

HERE = f"projects/{PROJECT}/locations/us-east4"
TEMPLATE = {"containers": [{"image": "us-east4-docker.pkg.dev/p/r/i:1"}]}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with cloud(tmp_path) as made:
        made.world.enabled[PROJECT] = {f"{name}.googleapis.com" for name in VERSIONS}
        yield made


def ask(rig: Rig, method: str, path: str, body: Any = None, token: str = "any") -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    content = json.dumps(body).encode() if body is not None else b""
    answer = httpx.request(method, f"{rig.server.url}/{path}", content=content, headers=headers)
    return answer.status_code, answer.json()["error"] if answer.content and "error" in answer.json() else {}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("services?serviceId=a", {}, "Required field template is not set"),
        ("services?serviceId=a&colour=red", {"template": TEMPLATE}, "Cannot bind query parameter"),
        ("services?serviceId=a", {"template": TEMPLATE, "colour": "red"}, "Cannot find field"),
        ("services?serviceId=a", {"template": {"containers": [{}]}}, "template.containers[0].image is not set"),
        ("services?serviceId=a", {"template": TEMPLATE, "ingress": "ALL"}, "Invalid value at 'ingress'"),
        ("services?serviceId=a", {"template": {**TEMPLATE, "timeout": "5 s"}}, "Invalid value at 'template.timeout'"),
        ("services?serviceId=a", {"template": {**TEMPLATE, "maxInstanceRequestConcurrency": "1"}}, "(integer)"),
        ("services?serviceId=a", {"template": {**TEMPLATE, "maxInstanceRequestConcurrency": True}}, "(integer)"),
        ("services?serviceId=a", {"template": TEMPLATE, "labels": {"a": 1}}, "Invalid value at 'labels.a'"),
        ("services?serviceId=a", [], "not an object"),
        ("builds:submit", {"imageUri": "x"}, "Required field storageSource is not set"),
    ],
)
def test_a_request_of_another_form_is_400(rig: Rig, path: str, body: Any, said: str) -> None:
    status, error = ask(rig, "POST", f"run.googleapis.com/v2/{HERE}/{path}", body)
    assert (status, error["status"]) == (400, "INVALID_ARGUMENT")
    assert said in error["message"]
    assert not rig.world.things


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"run.googleapis.com/v2/{HERE}/services/none", 404),
        ("GET", f"run.googleapis.com/v1/{HERE}/services", 404),
        ("GET", "unknown.googleapis.com/v1/x", 404),
        ("GET", f"run.googleapis.com/v2/{HERE}/jobs", 501),
        ("GET", "run.googleapis.com/v2/projects/somebody/locations/us-east4/services", 403),
        ("GET", "storage.googleapis.com/storage/v1/b/none", 404),
    ],
)
def test_what_is_not_there_or_not_known_here(rig: Rig, method: str, path: str, status: int) -> None:
    assert ask(rig, method, path)[0] == status


def test_without_a_token_and_without_the_api_nothing_is_told(rig: Rig) -> None:
    path = f"run.googleapis.com/v2/{HERE}/services"
    assert ask(rig, "GET", path, token="")[0] == 401
    rig.world.enabled.clear()
    status, error = ask(rig, "GET", path)
    assert (status, error["details"][0]["reason"]) == (403, "SERVICE_DISABLED")


def test_every_method_that_is_answered_here_is_one_of_googles() -> None:
    spoken = [(f"{name}.googleapis.com", version) for name in VERSIONS for version in ("", "v1")]
    known = {method.id for each in spoken if (api := load(*each)) for method in api.methods}
    assert set(HANDLERS) <= known


def test_a_parameter_that_must_be_there_is_asked_for(rig: Rig) -> None:
    status, error = ask(rig, "POST", "storage.googleapis.com/storage/v1/b", {"name": "one"})
    assert (status, error["message"]) == (400, "Required parameter: project")


def test_of_two_writers_of_a_policy_and_of_an_object_the_later_is_told(rig: Rig) -> None:
    policy = f"cloudresourcemanager.googleapis.com/v3/projects/{PROJECT}:setIamPolicy"
    binding = {"role": "roles/viewer", "members": ["user:a@example.com"]}
    assert ask(rig, "POST", policy, {"policy": {"etag": "ACAB", "bindings": [binding]}})[0] == 200
    assert ask(rig, "POST", policy, {"policy": {"etag": "ACAB", "bindings": []}})[0] == 409
    bucket = "storage.googleapis.com/storage/v1/b"
    assert ask(rig, "POST", f"{bucket}?project={PROJECT}", {"name": "one"})[0] == 200
    assert ask(rig, "POST", f"{bucket}?project={PROJECT}", {"name": "one"})[0] == 409
    upload = "storage.googleapis.com/upload/storage/v1/b/one/o?uploadType=media&name=x&ifGenerationMatch=0"
    assert [ask(rig, "POST", upload)[0] for _ in range(2)] == [200, 412]
