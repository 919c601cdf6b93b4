"""Vertex AI: models, endpoints, deployments, and questions to what is deployed: the trainer's image, started as
Vertex AI starts a container that serves.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from localcloud import training_container
from localcloud.google_cloud import training
from localcloud.google_cloud.handlers import Call, answers, operation
from localcloud.google_cloud.world import Document, Refused, not_found

_AT = "aiplatform.projects.locations"
MACHINES = ("n1-standard-2", "n1-standard-4", "n1-standard-8", "e2-standard-2")


def _operated(call: Call, parent: str, finish: Callable[[], Document]) -> Document:
    return call.world.operate(parent, finish, call.fault)


@answers(f"{_AT}.models.upload", "aiplatform.models.upload")
def upload(call: Call) -> Document:
    given, name = call.body["model"], f"{call.name('parent')}/models/{call.body['modelId']}"
    if f"prediction/{name}" in call.world.things:
        raise Refused(409, "ALREADY_EXISTS", f"Model {name} already exists.")

    def finish() -> Document:
        prefix = f"object/{given['artifactUri'].removeprefix('gs://')}/"
        if not any(key.startswith(prefix) for key in call.world.objects):
            raise Refused(400, "FAILED_PRECONDITION", "artifactUri has no files.")
        call.world.put(f"prediction/{name}", {**given, "name": name, "versionId": "1"})
        return {"model": name, "modelVersionId": "1"}

    return _operated(call, name, finish)


@answers(f"{_AT}.models.get", "aiplatform.models.get")
@answers(f"{_AT}.endpoints.get", "aiplatform.endpoints.get")
def get(call: Call) -> Document:
    return _thing(call, call.name())


@answers(f"{_AT}.models.delete", "aiplatform.models.delete")
def delete_model(call: Call) -> Document:
    _thing(call, call.name())
    endpoints = [each for each in call.world.things.values() if each.get("deployedModels")]
    if any(one["model"] == call.name() for each in endpoints for one in each["deployedModels"]):
        raise Refused(400, "FAILED_PRECONDITION", "The model is deployed: undeploy it first.")
    return _operated(call, call.name(), lambda: _dropped(call))


@answers(f"{_AT}.endpoints.delete", "aiplatform.endpoints.delete")
def delete_endpoint(call: Call) -> Document:
    if _thing(call, call.name()).get("deployedModels"):
        raise Refused(400, "FAILED_PRECONDITION", "The endpoint has deployed models.")
    return _operated(call, call.name(), lambda: _dropped(call))


@answers(f"{_AT}.endpoints.create", "aiplatform.endpoints.create")
def create(call: Call) -> Document:
    name = f"{call.name('parent')}/endpoints/{call.query['endpointId']}"
    if f"prediction/{name}" in call.world.things:
        raise Refused(409, "ALREADY_EXISTS", f"Endpoint {name} already exists.")

    def finish() -> Document:
        return call.world.put(f"prediction/{name}", {**call.body, "name": name})

    return _operated(call, name, finish)


@answers(f"{_AT}.endpoints.deployModel", "aiplatform.endpoints.deploy")
def deploy(call: Call) -> Document:
    endpoint, given = _thing(call, call.name("endpoint")), call.body["deployedModel"]
    model, resources = _thing(call, given["model"]), given["dedicatedResources"]
    if resources["machineSpec"]["machineType"] not in MACHINES:
        raise Refused(400, "INVALID_ARGUMENT", "The machine type is not supported for prediction.")
    if not 1 <= resources["minReplicaCount"] <= resources["maxReplicaCount"]:
        raise Refused(400, "INVALID_ARGUMENT", "minReplicaCount must be from 1 to maxReplicaCount.")

    def finish() -> Document:
        number = str(next(call.world.numbers))
        root = call.world.folder / "gcs"
        training.mount(call.world, root)
        spec = model["containerSpec"]
        environ = {"FISO_GCS": str(root), "AIP_STORAGE_URI": model["artifactUri"], "AIP_HTTP_PORT": "0"}
        environ |= {"AIP_HEALTH_ROUTE": spec["healthRoute"], "AIP_PREDICT_ROUTE": spec["predictRoute"]}
        try:
            started = training_container.start(spec["args"], environ)
        except training_container.NotStarted as error:
            raise Refused(400, "FAILED_PRECONDITION", f"Model server exited unexpectedly: {error}") from error
        call.world.serving[number] = started
        now = call.world.things[f"prediction/{endpoint['name']}"]
        deployed = {**given, "id": number}
        kept = {**now, "deployedModels": [*now.get("deployedModels", []), deployed], "trafficSplit": {number: 100}}
        call.world.put(f"prediction/{endpoint['name']}", kept)
        return {"deployedModel": deployed}

    return _operated(call, endpoint["name"], finish)


@answers(f"{_AT}.endpoints.undeployModel", "aiplatform.endpoints.undeploy")
def undeploy(call: Call) -> Document:
    endpoint, number = _thing(call, call.name("endpoint")), call.body["deployedModelId"]
    if number not in [each["id"] for each in endpoint.get("deployedModels", [])]:
        raise Refused(404, "NOT_FOUND", f"Deployed model {number} is not found.")
    if endpoint["trafficSplit"].get(number) and len(endpoint["deployedModels"]) > 1:
        raise Refused(400, "FAILED_PRECONDITION", "The traffic split is not empty for the deployed model.")

    def finish() -> Document:
        now = call.world.things[f"prediction/{endpoint['name']}"]
        left = [each for each in now["deployedModels"] if each["id"] != number]
        split = {each: share for each, share in now["trafficSplit"].items() if each != number}
        call.world.put(f"prediction/{endpoint['name']}", {**now, "deployedModels": left, "trafficSplit": split})
        if (container := call.world.serving.pop(number, None)) is not None:
            container.end()
        return {}

    return _operated(call, endpoint["name"], finish)


@answers(f"{_AT}.endpoints.predict", "aiplatform.endpoints.predict")
def predict(call: Call) -> Document:
    endpoint = _thing(call, call.name("endpoint"))
    split = endpoint.get("trafficSplit", {})
    deployed = next((each for each in endpoint.get("deployedModels", []) if split.get(each["id"])), None)
    if deployed is None:
        raise Refused(400, "FAILED_PRECONDITION", "The endpoint has no deployed model.")
    route = _thing(call, deployed["model"])["containerSpec"]["predictRoute"]
    address = f"http://127.0.0.1:{call.world.serving[deployed['id']].port}{route}"
    asked = Request(address, data=json.dumps(call.body).encode(), headers={"content-type": "application/json"})
    try:
        with urlopen(asked, timeout=30) as answer:  # nosec B310
            found: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        raise Refused(error.code, "INVALID_ARGUMENT", error.read().decode(errors="replace")) from error
    return {"predictions": found["predictions"], "deployedModelId": deployed["id"], "model": deployed["model"]}


for _kind in ("models", "endpoints"):
    answers(f"{_AT}.{_kind}.operations.get")(operation)


def _thing(call: Call, name: str) -> Document:
    if f"prediction/{name}" not in call.world.things:
        raise not_found(name)
    return call.world.things[f"prediction/{name}"]


def _dropped(call: Call) -> Document:
    call.world.drop(f"prediction/{call.name()}")
    return {}
