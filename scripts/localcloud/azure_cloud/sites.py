"""An app's own deployment service (`/api/publish`) and what the app says of its functions."""

import ast
import io
import json
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from localcloud.azure_cloud.errors import Refused
from localcloud.azure_cloud.world import Document, World

PENDING, BUILDING, FAILED, SUCCESS = 0, 1, 3, 4
BLOB_ROLES = ("b7e6dc6d-f1e8-4753-8033-0f276bb0955b", "ba92f5b4-2d11-453d-a403-e96b0029c9fe")
"""Storage Blob Data Owner and Contributor."""


def publish(world: World, app: Document, package: bytes) -> str:
    """Take a package; its deployment goes on by itself. The number."""
    world.faults.check_permission("Microsoft.Web/sites/publish/Action", str(app["id"]))
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        raise Refused(400, "BadRequest", "The request body is not a zip file.") from None
    number = str(uuid.uuid4())
    deployments = world.published.setdefault(str(app["id"]).lower(), [])
    deployments.append({"id": number, "status": PENDING, "log": [], "package": package, "names": names})
    return number


def step(world: World) -> None:
    """Every build a step on: pending, building, done."""
    for path, deployments in world.published.items():
        app = world.resource(path)
        for each in deployments if app is not None else ():
            if each["status"] == PENDING:
                each["status"] = BUILDING
            elif each["status"] == BUILDING:
                each["status"] = _built(world, app or {}, each)


def _built(world: World, app: Document, deployment: Document) -> int:
    why = _cannot(world, app, deployment)
    if why:
        deployment["log"].append(why)
        return FAILED
    folder = world.folder / str(app["name"])
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(io.BytesIO(deployment.pop("package"))) as archive:
        archive.extractall(folder)
    app["properties"]["_functions"] = _index(world, app, folder)
    return SUCCESS


def _cannot(world: World, app: Document, deployment: Document) -> str:
    if world.faults.builds:
        return world.faults.builds.pop(0)
    principal = app.get("identity", {}).get("principalId")
    mine = [each["properties"] for each in world.assignments.values() if each["properties"]["principalId"] == principal]
    if not any(str(each["roleDefinitionId"]).endswith(BLOB_ROLES) for each in mine):
        return (
            "Failed to upload because Azure Storage responded with Forbidden : Response status code does not indicate "
            "success: 403 (This request is not authorized to perform this operation.)"
        )
    if "host.json" not in deployment["names"]:
        return "Error: host.json was not found at the root of the package."
    return ""


def _index(world: World, app: Document, folder: Path) -> list[Document]:
    """What the host finds. Where apps run, nothing unless it starts."""
    properties = app["properties"]
    asked = str(properties["_settings"].get("FISO_HTTP_AUTH_LEVEL", "FUNCTION")).lower()
    found = list(_declared(folder / "function_app.py", asked))
    if world.runs:
        auth = world.resource(f"{app['id']}/config/authsettingsV2") or {}
        named = {"WEBSITE_SITE_NAME": str(app["name"])}
        settings = {**properties["_settings"], **named, **_required(auth.get("properties", {}), world.entra_url)}
        started = world.running.start(str(app["id"]).lower(), folder, int(properties["_port"]), settings)
        found = [each for each in found if each["name"] in started]
    return found


def _required(auth: Document, entra_url: str) -> dict[str, str]:
    """What App Service Authentication asks of a call, for the host that stands in for it: audience, issuer, and where
    there is an Entra, its signature."""
    if not auth.get("globalValidation", {}).get("requireAuthentication"):
        return {}
    provider = auth["identityProviders"]["azureActiveDirectory"]
    audiences = provider["validation"]["allowedAudiences"]
    issuer = str(provider["registration"]["openIdIssuer"])
    keys = f"{entra_url}/{issuer.strip('/').rpartition('/')[2]}/discovery/v2.0/keys" if entra_url else ""
    asked = {"audiences": audiences, "issuer": issuer, "keys": keys}
    return {"FISO_LOCAL_AUTHENTICATION": json.dumps(asked)}


def _declared(file: Path, asked: str) -> Iterator[Document]:
    """The functions with an HTTP trigger, read from the source; `asked`: the level by a setting of the app's."""
    if not file.is_file():
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    source = ast.unparse(tree)
    level = asked if "FISO_HTTP_AUTH_LEVEL" in source else "anonymous" if "ANONYMOUS" in source else "function"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for each in node.decorator_list:
            if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "route":
                given = {keyword.arg: keyword.value for keyword in each.keywords}
                route = given.get("route")
                text = route.value if isinstance(route, ast.Constant) else node.name
                yield {"name": node.name, "route": text, "level": level}


def functions(app: Document) -> list[Document]:
    """As Resource Manager lists them."""
    return [
        {
            "name": f"{app['name']}/{each['name']}",
            "type": "Microsoft.Web/sites/functions",
            "properties": {
                "name": each["name"],
                "language": "python",
                "config": {"bindings": [{"type": "httpTrigger", "authLevel": each["level"], "route": each["route"]}]},
            },
        }
        for each in app["properties"].get("_functions", [])
    ]


def told(world: World, app: Document, number: str) -> Document:
    """A deployment as the service tells it; `latest` is one too. 404 while the service restarts."""
    deployments = world.published.get(str(app["id"]).lower(), [])
    found = [each for each in deployments if number in {each["id"], "latest"}]
    if world.faults.forgets_deployments and number != "latest":
        world.faults.forgets_deployments -= 1
        found = []
    if not found:
        raise Refused(404, "NotFound", f"Deployment {number} not found.")
    each = found[-1]
    text = each["log"][-1] if each["log"] else ""
    return {
        "id": each["id"],
        "status": each["status"],
        "status_text": text if each["status"] == FAILED else "",
        "complete": each["status"] in {FAILED, SUCCESS},
        "remoteBuild": True,
        "deployer": "fiso",
        "site_name": app["name"],
    }


def log(world: World, app: Document, number: str) -> list[dict[str, Any]]:
    """A deployment's log."""
    deployments = world.published.get(str(app["id"]).lower(), [])
    return [{"message": line} for each in deployments if each["id"] == number for line in each["log"]]
