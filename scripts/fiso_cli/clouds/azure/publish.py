"""One deploy: a package to an app's own deployment service (`/api/publish` of its scm host), built there, followed to
its end, and believed only once the app lists its functions.

Facts of the interface: Azure/azure-dev#3658 (answers and statuses), #4439 (404 while the service restarts),
microsoft/azure-pipelines-tasks#22316 (202 is not success), Azure/webapps-deploy#444 (stopped by a restart).
"""

import hashlib
import re
from contextlib import suppress
from typing import Any

from fiso_cli.clouds.azure.arm import Absent, Answer, Arm, Busy, Document
from fiso_cli.clouds.azure.names import PACKAGE_TAG, Copy
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different
from fiso_cli.errors import CommandError

WEB, TAGS = "2024-11-01", "2024-11-01"
SUCCESS, CONFLICT = 4, 5
_ENDED = {-1: "was cancelled", 3: "failed", 5: "met another deployment", 6: "succeeded in part"}
TRIES, LOOKS = 5, 240
_TRANSIENT = re.compile(r"scm container restart|forbidden|authorizationpermissionmismatch|\b50[234]\b", re.IGNORECASE)
"""Of a failed deployment's text: the app was being changed, or its role is not known everywhere yet."""


def step(arm: Arm, of: Copy, package: bytes) -> Step:
    """The package in the app. The app's tag says which one it took in last, and by which deployment."""
    digest = hashlib.sha256(package).hexdigest()[:16]

    def look() -> Look:
        app = arm.find(of.app_id, WEB)
        taken = str((app or {}).get("tags", {}).get(PACKAGE_TAG, ""))
        if app is None or not taken:
            return ABSENT
        if taken.partition(".")[0] != digest:
            return different("another package is deployed")
        if _latest(arm, app) not in {taken.partition(".")[2], None}:
            return different("somebody deployed something else since")
        return AS_WANTED if functions(arm, of) else different("the app lists no function")

    def make(say: Say) -> None:
        app = arm.call("GET", of.app_id, WEB)
        deployment = _published(arm, app, package, say)
        _listed(arm, of)
        tags = {"operation": "Merge", "properties": {"tags": {PACKAGE_TAG: f"{digest}.{deployment}"}}}
        arm.call("PATCH", f"{of.app_id}/providers/Microsoft.Resources/tags/default", TAGS, tags)

    what = f"{len(package) / 1000:,.0f} kB, built there"
    return Step(name=f"package {of.function} {of.deployment}", makes=what, look=look, make=make, is_slow=True)


def functions(arm: Arm, of: Copy) -> list[Document]:
    """What the app itself says it serves: `[{name, route, level}]`."""
    found = []
    for each in arm.listed(f"{of.app_id}/functions", WEB):
        properties = each["properties"]
        bindings: list[Document] = properties.get("config", {}).get("bindings", [])
        trigger = next((binding for binding in bindings if "authLevel" in binding), {})
        name = str(each["name"]).rpartition("/")[2]
        found.append({"name": name, "route": trigger.get("route") or name, "level": trigger.get("authLevel")})
    return found


def host(app: Document) -> str:
    """Where the app answers."""
    return str(app["properties"]["defaultHostName"])


def _published(arm: Arm, app: Document, package: bytes, say: Say) -> str:
    for number in range(TRIES):
        try:
            accepted = arm.send(
                "POST",
                f"{_scm(arm, app)}/api/publish?RemoteBuild=true&Deployer=fiso",
                package,
                {"Content-Type": "application/zip"},
            )
            deployment = str(accepted.body).strip('" \n')
            _followed(arm, app, deployment)
            return deployment
        except CommandError as error:
            if number == TRIES - 1 or not _may_pass(error):
                raise
            say("  its deployment service is not ready yet: once more …")
            arm.waited(15)
    raise CommandError("never accepted")


def _may_pass(error: CommandError) -> bool:
    return isinstance(error, Busy) or _TRANSIENT.search(str(error)) is not None


def _followed(arm: Arm, app: Document, deployment: str) -> None:
    """A service that restarts knows nothing of a deployment for a while, 404, and goes on with it afterwards."""
    address = f"{_scm(arm, app)}/api/deployments/{deployment}"
    for _ in range(LOOKS):
        found: dict[str, Any] = {}
        with suppress(Absent):
            found = _object(arm.send("GET", address))
        status = found.get("status")
        if status == SUCCESS:
            return
        if status in _ENDED:
            raise CommandError(f"the deployment {_ENDED[status]}: {_why(arm, address, found)}")
        arm.waited(5)
    raise CommandError("the build has not ended: run it again later")


def _why(arm: Arm, address: str, found: Document) -> str:
    """The last line of the build's log that says something, or the deployment's own word."""
    said = str(found.get("status_text") or found.get("message") or "")
    try:
        lines = arm.send("GET", f"{address}/log").body
    except CommandError:
        return said or "no reason given"
    texts = [str(each.get("message")) for each in lines if each.get("message")] if isinstance(lines, list) else []
    return " ".join((texts[-1] if texts else said or "no reason given").split())[:300]


def _latest(arm: Arm, app: Document) -> str | None:
    try:
        return str(_object(arm.send("GET", f"{_scm(arm, app)}/api/deployments/latest")).get("id"))
    except CommandError:
        return None  # asleep: no reason to deploy again


def _listed(arm: Arm, of: Copy) -> None:
    """A package that cannot be loaded is deployed with success and serves nothing."""
    for _ in range(24):
        if functions(arm, of):
            return
        arm.waited(5)
    raise CommandError(
        "the package is there, but the app lists no function: function_app.py does not load there "
        "(see its log stream in the portal)"
    )


def _scm(arm: Arm, app: Document) -> str:
    """The deployment service's address, from the app's own words and within Azure's domains: the token goes there."""
    states = app["properties"].get("hostNameSslStates") or []
    name = next((str(each["name"]) for each in states if each.get("hostType") == "Repository"), "")
    if arm.endpoint.startswith("http://127.0.0.1:"):
        return f"{arm.endpoint}/_scm/{app['name']}"
    if not name.endswith((".scm.azurewebsites.net", ".azurewebsites.net")) or ".scm." not in name:
        raise CommandError("the app does not say where its deployment service is")
    return f"https://{name}"


def _object(answer: Answer) -> dict[str, Any]:
    return dict(answer.body) if isinstance(answer.body, dict) else {}
