"""Azure Machine Learning: command jobs, one look further each time, and the trainer run when one is under way.

A workspace's storage account is in `World.blobs`; there a job's input is downloaded from, and its output and log are
uploaded to, as the platform does.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from localcloud import training_container
from localcloud.azure_cloud import types
from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.world import Document, World

if TYPE_CHECKING:
    from localcloud.azure_cloud.app import Answer, Request

KIND = "Microsoft.MachineLearningServices/workspaces"
NEXT = {"NotStarted": "Preparing", "Preparing": "Queued", "Queued": "Running"}
OVER = frozenset({"Completed", "Failed", "Canceled"})
STORE, LOGS = "azureml-blobstore-local", "azureml"
_PATHS = "azureml://datastores/workspaceblobstore/paths/"


def workspace(world: World, path: str, before: Document | None, body: Document) -> Document:
    """With the datastore that each has from the beginning."""
    for name in ("storageAccount", "keyVault"):
        if not body["properties"].get(name):
            raise Refused(400, "ValidationError", f"Missing dependent resources in workspace json: {name}")
    store = {"datastoreType": "AzureBlob", "accountName": "fisoml", "containerName": STORE, "isDefault": True}
    store |= {"protocol": "https", "endpoint": "core.windows.net", "credentials": {"credentialsType": "None"}}
    world.put(f"{path}/datastores/workspaceblobstore", {"type": f"{KIND}/datastores", "properties": store})
    return body


def compute(world: World, path: str, before: Document | None, body: Document) -> Document:
    """learn.microsoft.com: 2 to 32 characters; of a cluster only its scale changes later."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{1,31}", path.rpartition("/")[2]):
        raise Refused(400, "BadRequest", "The compute's name is not valid.")
    kept = (before or {}).get("properties", {}).get("properties", body["properties"]["properties"])
    if any(kept[name] != body["properties"]["properties"][name] for name in ("vmSize", "vmPriority")):
        raise Refused(400, "BadRequest", "Only scale settings of a cluster can be changed.")
    return body


def put_job(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    from localcloud.azure_cloud.app import Answer

    world.faults.check_permission(f"{KIND}/jobs/write", request.path)
    if world.resource(request.path) is not None:
        raise Refused(400, "UserError", f"A job with this name already exists: {match['name']}.")
    body = request.document
    root = types.folder()
    named = {"type": f"{KIND}/jobs", "apiVersion": request.query["api-version"], "name": match["name"]}
    if root and (wrong := types.problems(root, {**named, **body})):
        raise Refused(400, "UserError", "; ".join(wrong))
    given = body["properties"]
    for part in ("computeId", "environmentId"):
        if world.resource(given[part]) is None:
            raise Refused(400, "UserError", f"{part}: {given[part].rpartition('/')[2]} is not found in the workspace.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}", match["name"]):
        raise Refused(400, "UserError", "The job's name is not valid.")
    made = world.put(request.path, {"type": f"{KIND}/jobs", "properties": {**given, "status": "NotStarted"}})
    return Answer(status=201, body=made)


def put_environment(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    """A version; the environment that it is of comes with it."""
    from localcloud.azure_cloud.app import Answer

    before, body = world.resource(request.path), request.document
    root = types.folder()
    named = {"type": f"{KIND}/environments/versions", "apiVersion": request.query["api-version"], "name": "1"}
    if root and (wrong := types.problems(root, {**named, **body})):
        raise Refused(400, "UserError", "; ".join(wrong))
    if before is not None and before["properties"]["image"] != body["properties"]["image"]:
        raise Refused(400, "UserError", "A version of an environment cannot be changed.")
    return Answer(status=200 if before else 201, body=world.put(request.path, {"type": named["type"], **body}))


def get_job(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    from localcloud.azure_cloud.app import Answer

    job = _job(world, request.path, match)
    state = job["properties"]["status"]
    if state == "Running":
        _run(world, job)
    elif state == "CancelRequested":
        job["properties"]["status"] = "Canceled"
    else:
        job["properties"]["status"] = NEXT.get(state, state)
    return Answer(body=job)


def cancel(world: World, request: "Request", match: "re.Match[str]") -> "Answer":
    from localcloud.azure_cloud.app import Answer

    job = _job(world, request.path.rpartition("/")[0], match)
    if job["properties"]["status"] in OVER:
        raise Refused(400, "UserError", f"The job is in state {job['properties']['status']}.")
    job["properties"]["status"] = "CancelRequested"
    return Answer(status=200)


def _job(world: World, path: str, match: "re.Match[str]") -> Document:
    found = world.resource(path)
    if found is None:
        raise Refused(404, "UserError", f"Job {match['name']} not found.")
    return found


def _run(world: World, job: Document) -> None:
    given = job["properties"]
    cluster = world.resources[given["computeId"].lower()]["properties"]["properties"]
    if cluster["vmPriority"] == "LowPriority" and world.preempted:
        world.preempted -= 1
        given["status"] = "Queued"
        return
    root = world.folder / "machine-learning" / job["name"]
    words = given["command"]
    for name, each in given["inputs"].items():
        _download(world, each["uri"], root / name)
        words = words.replace(f"${{{{inputs.{name}}}}}", str(root / name))
    for name in given["outputs"]:
        words = words.replace(f"${{{{outputs.{name}}}}}", str(root / name))
    prefix = "python -m functions.trainer "
    assert words.startswith(prefix), words  # nosec B101  no other program is in the trainer's image
    longest_s = float(given["limits"]["timeout"].removeprefix("PT").removesuffix("S"))
    environ = {"AZUREML_RUN_ID": job["name"], **given.get("environmentVariables", {})}
    ended = training_container.run(words.removeprefix(prefix).split(), environ, longest_s=longest_s)
    log = ("\n".join(ended.lines) + "\n").encode()
    _write(world, (LOGS, f"ExperimentRun/dcid.{job['name']}/user_logs/std_log.txt"), log)
    if ended.code:
        given["status"] = "Failed"
        return
    for name, each in given["outputs"].items():
        for path in (root / name).rglob("*"):
            if path.is_file():
                _write(
                    world,
                    (STORE, each["uri"].removeprefix(_PATHS) + str(path.relative_to(root / name))),
                    path.read_bytes(),
                )
    given["status"] = "Completed"


def _download(world: World, uri: str, folder: Path) -> None:
    prefix = uri.removeprefix(_PATHS)
    for (container, name), (content, _) in list(world.blobs.stored.items()):
        if container == STORE and name.startswith(prefix):
            path = folder / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _write(world: World, place: tuple[str, str], content: bytes) -> None:
    world.blobs.put(place, content, absent=False, generation=None)
