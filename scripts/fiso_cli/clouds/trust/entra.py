"""Entra: two applications of a stage. `fiso-STAGE` calls, by AWS's word; `fiso-STAGE-functions` is what is called, host
by host (docs/decisions/0029-who-fiso-is-to-azure.md). Microsoft Graph, v1.0.

An application is found by its `uniqueName`, an alternate key, so that two runs never make two; its `tags` say whether
it is this stage's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import NAMESPACE_URL, uuid5

from fiso.domain.identity import ENTRAS, entra_audience
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours
from fiso_cli.clouds.trust.rest import Document, Refused, Rest
from fiso_cli.errors import CommandError

ROLE = "fiso.invoke"
UNSEEN_TRIES = 8
_UNSEEN = ("does not reference a valid application object", "does not exist", "not found")
_TYPE = "microsoft.graph.application"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What trust a stage asks for. `roles` are ARNs of its orchestrator, by region; `hosts` those of its functions."""

    stage: str
    tenant: str
    roles: Mapping[str, str]
    hosts: Sequence[str] = ()
    cloud: str = "public"
    issuer: Callable[[], str | None] = field(default=lambda: None)

    @property
    def audience(self) -> str:
        """Whom AWS's word is for."""
        return ENTRAS[self.cloud][1]

    @property
    def caller(self) -> str:
        return f"fiso-{self.stage}"

    @property
    def called(self) -> str:
        return f"fiso-{self.stage}-functions"

    @property
    def tags(self) -> list[str]:
        """What `fiso-stage` and `fiso-deployment` are elsewhere; an application's tags are plain words."""
        return [f"fiso-stage:{self.stage}", "fiso-deployment:trust"]

    @property
    def uris(self) -> list[str]:
        return sorted({entra_audience(self.tenant, f"https://{host}") for host in self.hosts})

    @property
    def app_role(self) -> Document:
        return {
            "id": str(uuid5(NAMESPACE_URL, f"{self.called}/{ROLE}")),
            "allowedMemberTypes": ["Application"],
            "value": ROLE,
            "displayName": "Invoke functions",
            "description": "May call the functions that FISO routes to",
            "isEnabled": True,
        }


class Entra:
    """The applications of one stage, and what hangs on them."""

    def __init__(self, graph: Rest, wanted: Wanted) -> None:
        self._graph, self._wanted = graph, wanted

    def steps(self) -> Iterator[Step]:
        """In the order in which they are made."""
        caller, called = self._wanted.caller, self._wanted.called
        yield self._application(caller, "FISO's own identity in Entra", {})
        yield self._principal(caller, is_assignment_required=False)
        for region, arn in self._wanted.roles.items():
            yield self._credential(f"aws-{region}", arn)
        wanted = {"api": {"requestedAccessTokenVersion": 1}, "appRoles": [self._wanted.app_role]}
        yield self._application(called, "what tokens are for: the stage's functions", wanted)
        yield self._principal(called, is_assignment_required=True)
        yield self._assignment()
        yield self._hosts()

    def client(self) -> str | None:
        """The caller's application id."""
        found = self._found(self._wanted.caller)
        return None if found is None else str(found["appId"])

    def resource(self) -> str | None:
        """The functions' application id."""
        found = self._found(self._wanted.called)
        return None if found is None else str(found["appId"])

    def _found(self, name: str) -> Document | None:
        return self._graph.find(f"/applications(uniqueName='{name}')")

    def _needed(self, name: str) -> Document:
        found = self._found(name)
        if found is None:
            raise CommandError(f"application {name} does not show yet: run it again")
        return found

    def _is_ours(self, found: Document) -> bool:
        return f"fiso-stage:{self._wanted.stage}" in found.get("tags", [])

    def _application(self, name: str, makes: str, wanted: Document) -> Step:
        def look() -> Look:
            found = self._found(name)
            if found is None:
                return ABSENT
            if not self._is_ours(found):
                return not_ours(f"an application {name} that carries no tag of this stage")
            wrong = [key for key, value in wanted.items() if not _holds(found.get(key), value)]
            if found.get("signInAudience") != "AzureADMyOrg":
                wrong.append("signInAudience")
            return different(f"{', '.join(wrong)} as FISO needs them") if wrong else AS_WANTED

        def make(_: Say) -> None:
            self._purge(name)
            whole = {"displayName": name, "signInAudience": "AzureADMyOrg", "tags": self._wanted.tags, **wanted}
            path = f"/applications(uniqueName='{name}')"
            if self._found(name) is None:
                self._graph.call("PATCH", path, whole, prefer="create-if-missing")
            else:
                self._graph.call("PATCH", path, whole)

        def undo(_: Say) -> None:
            found = self._found(name)
            if found is not None:
                self._graph.call("DELETE", f"/applications/{found['id']}")
            self._purge(name)

        return Step(name=f"Entra: application {name}", makes=makes, look=look, make=make, undo=undo)

    def _purge(self, name: str) -> None:
        """A deleted application holds its unique name and its identifier URIs for thirty days."""
        path = f"/directory/deletedItems/{_TYPE}?$filter=displayName eq '{name}'"
        for each in list(self._graph.listed(path)):
            if each.get("displayName") == name and self._is_ours(each):
                _gone(self._graph, f"/directory/deletedItems/{each['id']}")

    def _principal(self, name: str, *, is_assignment_required: bool) -> Step:
        wanted = {"appRoleAssignmentRequired": is_assignment_required}

        def look() -> Look:
            found = self._service_principal(name)
            if found is None:
                return ABSENT
            is_right = found.get("appRoleAssignmentRequired", False) is is_assignment_required
            is_on = found.get("accountEnabled", True)
            if is_right and is_on:
                return AS_WANTED
            return different("enable it" if not is_on else "let in only who is assigned")

        def make(_: Say) -> None:
            application = self._needed(name)
            if self._service_principal(name) is None:
                body = {"appId": application["appId"], "tags": self._wanted.tags, **wanted}
                _made(self._graph, "/servicePrincipals", body)
            else:
                path = f"/servicePrincipals(appId='{application['appId']}')"
                self._graph.call("PATCH", path, {"accountEnabled": True, **wanted})

        said = "lets in only who is assigned" if is_assignment_required else "the identity itself, in this tenant"
        # It goes with its application.
        return Step(name=f"Entra: service principal {name}", makes=said, look=look, make=make, undo=lambda _: None)

    def _service_principal(self, name: str) -> Document | None:
        application = self._found(name)
        if application is None:
            return None
        return self._graph.find(f"/servicePrincipals(appId='{application['appId']}')")

    def _credential(self, name: str, arn: str) -> Step:
        def wanted() -> Document:
            return {"issuer": self._wanted.issuer(), "subject": arn, "audiences": [self._wanted.audience]}

        def look() -> Look:
            application = self._found(self._wanted.caller)
            path = f"/applications/{application['id']}/federatedIdentityCredentials" if application else ""
            found = self._graph.find(f"{path}/{name}") if path else None
            if found is None:
                return ABSENT
            wrong = [key for key, value in wanted().items() if found.get(key) != value]
            return different(f"{', '.join(wrong)} of {arn.rpartition('/')[2]}") if wrong else AS_WANTED

        def make(_: Say) -> None:
            if (issuer := self._wanted.issuer()) is None:
                raise CommandError("AWS names no issuer: outbound identity federation is off")
            body = {**wanted(), "issuer": issuer, "description": f"the orchestrator of stage {self._wanted.stage}"}
            path = f"/applications/{self._needed(self._wanted.caller)['id']}/federatedIdentityCredentials"
            if self._graph.find(f"{path}/{name}") is None:
                _made(self._graph, path, {"name": name, **body})
            else:
                self._graph.call("PATCH", f"{path}/{name}", body)

        said = f"it believes AWS's word on {arn.rpartition('/')[2]}"
        # It goes with its application.
        return Step(name=f"Entra: federated credential {name}", makes=said, look=look, make=make, undo=lambda _: None)

    def _assignment(self) -> Step:
        role = self._wanted.app_role["id"]

        def assigned() -> Document | None:
            called = self._service_principal(self._wanted.called)
            caller = self._service_principal(self._wanted.caller)
            if called is None or caller is None:
                return None
            given = self._graph.listed(f"/servicePrincipals/{called['id']}/appRoleAssignedTo")
            return next(
                (each for each in given if (each["principalId"], each["appRoleId"]) == (caller["id"], role)), None
            )

        def make(_: Say) -> None:
            called = self._service_principal(self._wanted.called)
            caller = self._service_principal(self._wanted.caller)
            if called is None or caller is None:
                raise CommandError("a service principal does not show yet: run it again")
            if assigned() is None:
                body = {"principalId": caller["id"], "resourceId": called["id"], "appRoleId": role}
                _made(self._graph, f"/servicePrincipals/{called['id']}/appRoleAssignedTo", body)

        return Step(
            name=f"Entra: {ROLE} for {self._wanted.caller}",
            makes="and for nobody else, until you assign them",
            look=lambda: ABSENT if assigned() is None else AS_WANTED,
            make=make,
            undo=lambda _: None,
        )

    def _hosts(self) -> Step:
        """Those that are entered are never taken out but with the application: another run may know of more."""
        uris = self._wanted.uris

        def look() -> Look:
            found = self._found(self._wanted.called)
            missing = set(uris) - set(found.get("identifierUris", [])) if found else set(uris)
            if not missing:
                return AS_WANTED
            return different(f"enter {', '.join(each.rpartition('/')[2] for each in sorted(missing))}")

        def make(_: Say) -> None:
            found = self._needed(self._wanted.called)
            whole = sorted({*found.get("identifierUris", []), *uris})
            self._graph.call("PATCH", f"/applications/{found['id']}", {"identifierUris": whole})

        return Step(
            name="Entra: hosts of functions",
            makes=f"tokens for {len(uris)} hosts, each for itself",
            look=look,
            make=make,
            undo=lambda _: None,
        )


def _holds(found: object, wanted: object) -> bool:
    """Whether all that is wanted stands there; what Entra adds of its own does not matter."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and all(any(_holds(each, value) for each in found) for value in wanted)
    return found == wanted


def _made(graph: Rest, path: str, body: Document) -> None:
    """A first try whose answer was lost may have made it: then it exists. What was made a moment ago may not be seen by
    who is asked now."""
    for attempt in range(UNSEEN_TRIES):
        try:
            graph.call("POST", path, body)
            return
        except Refused as refused:
            if refused.status == 409 or "already exist" in str(refused):
                return
            is_unseen = refused.status == 404 or any(word in str(refused) for word in _UNSEEN)
            if not is_unseen or attempt + 1 == UNSEEN_TRIES:
                raise
        graph.pause(attempt)


def _gone(graph: Rest, path: str) -> None:
    try:
        graph.call("DELETE", path)
    except Refused as refused:
        if refused.status != 404:
            raise
