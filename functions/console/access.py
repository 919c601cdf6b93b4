"""Access: who looks at the console, and which records that person may see. Before any page is asked for.

A program shows a token or the gateway's signature, as at the API; a person has a session, when this stage has a login.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import Flask, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from fiso.domain.access import Claims, Scope
from fiso.domain.catalog import Snapshot
from fiso.domain.errors import NotAuthenticated
from fiso.domain.record import InvocationRecord, OpenRecord, Trouble
from fiso.domain.request import InvocationId, TenantId
from fiso.services.identity.access import GATEWAY_WORD, Access, CallerCredentials
from functions.console.login import LOGIN, LOGOUT, BrowserLogin
from functions.console.sources import Records, Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """How this stage's console knows who comes. Without `login`, a person is treated like a program."""

    access: Access
    login: BrowserLogin | None = None


def register(app: Flask, entrance: Entrance) -> None:
    """Ask everybody, and let the login's own pages be seen by anybody."""
    if entrance.login is not None:
        entrance.login.register(app)

    @app.before_request
    def _admit() -> AnyResponse | None:
        login = entrance.login
        if login is not None and login.is_open(request.path):
            return None
        try:
            g.caller = _caller(entrance)
        except NotAuthenticated:
            if login is not None and _is_person():
                return redirect(login.address(LOGIN, to=_wanted()))
            raise
        g.caller.require(Scope.READ)
        g.redeem = lambda token: entrance.access.caller(
            CallerCredentials(authorization=f"Bearer {token}", iam=None, gateway_word=None)
        )
        return None

    @app.context_processor
    def _person() -> dict[str, object]:
        return {"person": g.get("person"), "has_login": entrance.login is not None}


def challenge_of(entrance: Entrance | None) -> str | None:
    """The `WWW-Authenticate` of a 401 here."""
    return None if entrance is None else entrance.access.challenge


def forms_of(entrance: Entrance | None) -> frozenset[str]:
    """The paths to which a form may be sent."""
    return frozenset() if entrance is None or entrance.login is None else frozenset({LOGOUT})


def _caller(entrance: Entrance) -> Claims:
    """The session's person, unless the request shows something of its own."""
    authorization = request.headers.get("Authorization")
    if authorization is None and entrance.login is not None and (person := entrance.login.person()):
        g.person = person
        return person.claims
    event: Mapping[str, Any] = request.environ.get("serverless.event") or {}
    # Of the event, since WSGI cannot tell one spelling of a header from another.
    word = (event.get("headers") or {}).get(GATEWAY_WORD)
    shown = CallerCredentials(authorization=authorization, iam=_signed(event), gateway_word=word)
    return entrance.access.caller(shown)


def _signed(event: Mapping[str, Any]) -> object:
    """What the gateway verified of a signature; it stands in the event, where no header can put it."""
    authorizer = (event.get("requestContext") or {}).get("authorizer")
    return authorizer.get("iam") if isinstance(authorizer, Mapping) else None


def _is_person() -> bool:
    """Whether a browser wants to show a page. A script's own request could not follow to another site."""
    is_page = request.path == "/console" or request.path.startswith("/console/")
    mode = request.headers.get("Sec-Fetch-Mode", "navigate")
    return is_page and mode == "navigate" and "Authorization" not in request.headers


def _wanted() -> str:
    query = request.query_string.decode("latin-1")
    return request.path + (f"?{query}" if query else "")


class OwnRecords:
    """The log as the present caller may see it: its own tenant's records, or all of them with `fiso:admin`."""

    def __init__(self, log: Records) -> None:
        self._log = log

    def find(self, invocation_id: InvocationId) -> InvocationRecord | OpenRecord | None:
        """One record by its id; None for another tenant's."""
        record = self._log.find(invocation_id)
        return record if record is not None and _may_see(record) else None

    def latest(
        self, limit: int, *, after: datetime | None = None, tenant: TenantId | None = None
    ) -> Sequence[InvocationRecord]:
        """The newest of the caller's own. Asked for as such: among the newest of all, those of a tenant that calls much
        more would leave others none."""
        caller: Claims = g.caller
        own = tenant if caller.may(Scope.ADMIN) else caller.tenant
        return [record for record in self._log.latest(limit, after=after, tenant=own) if _may_see(record)]

    def troubled(
        self,
        limit: int,
        *,
        after: datetime | None = None,
        tenant: TenantId | None = None,
        admits: Callable[[Trouble], bool] = lambda _: True,
    ) -> Sequence[InvocationRecord]:
        """Of the caller's own, as `latest`."""
        caller: Claims = g.caller
        own = tenant if caller.may(Scope.ADMIN) else caller.tenant
        found = self._log.troubled(limit, after=after, tenant=own, admits=admits)
        return [record for record in found if _may_see(record)]


class OwnFunctions:
    """The catalog as the present caller may see it: without functions of other tenants, unless with `fiso:admin`."""

    def __init__(self, snapshots: Versions) -> None:
        self._snapshots = snapshots

    def current(self, *, unless_version: int | None = None) -> Snapshot | None:
        return self._own(self._snapshots.current(unless_version=unless_version))

    def of_version(self, version: int) -> Snapshot | None:
        return self._own(self._snapshots.of_version(version))

    @staticmethod
    def _own(snapshot: Snapshot | None) -> Snapshot | None:
        caller: Claims = g.caller
        if snapshot is None or caller.may(Scope.ADMIN):
            return snapshot
        own = {name: entry for name, entry in snapshot.functions.items() if entry.policy.admits(caller.tenant)}
        return replace(snapshot, functions=own)

    def attested(self) -> int | None:
        return self._snapshots.attested()

    def publish(self, snapshot: Snapshot) -> None:
        """The console writes nothing."""
        raise NotImplementedError


def _may_see(record: InvocationRecord | OpenRecord) -> bool:
    caller: Claims = g.caller
    return caller.may(Scope.ADMIN) or record.request.tenant == caller.tenant
