"""What checks of Azure and Google share: which copies are there, whether they can be reached, what time it is there."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fiso.domain.endpoint import Endpoint, Provider
from fiso_cli.clouds.plan import State, Step, look_at
from fiso_cli.doctor.finding import Finding, ok, unknown, warning, wrong
from fiso_cli.doctor.site import Site, listed

if TYPE_CHECKING:
    from fiso_cli.clouds.trust.rest import Rest

SKEW_S = 60.0
"""Tokens bear five minutes as a rule; leases are written in seconds."""
CONNECT_S = 3.0
MOST_ASKED = 40


def copies(site: Site, provider: Provider) -> list[Endpoint]:
    """One for each address of a provider's that the published catalog names; none where there is no catalog."""
    entries = site.catalog.functions.values() if site.stack is not None and site.catalog is not None else ()
    return list(
        {
            each.address: each for entry in entries for each in site.own_copies(entry) if each.provider is provider
        }.values()
    )


def clock(rest: "Rest | None", cloud: str) -> Iterator[Finding]:
    """This machine's clock by a cloud's own."""
    try:
        off = (datetime.now(UTC) - parsedate_to_datetime(str(rest and rest.dated))).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        yield unknown(f"{cloud} did not say what time it is")
        return
    if abs(off) > SKEW_S:
        said = f"this clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} {cloud}'s"
        yield wrong(said, why="tokens are refused before they begin or after they end", fix="sudo chronyc makestep")
    else:
        yield ok(f"this clock is {cloud}'s to within a minute")


def reach(site: Site, provider: Provider) -> Iterator[Finding]:
    """Whether each copy's host lets a connection in, by TLS. No function is called."""
    asked = copies(site, provider)[:MOST_ASKED]
    away = {each.id: problem for each in asked if (problem := unreachable(each.address))}
    for id, problem in away.items():
        yield wrong(
            f"{id}: {problem}", why="each call of it fails", fix="deploy it, or correct its address in fiso.yaml"
        )
    if not away:
        yield ok(f"{len(asked)} copies can be reached from here")


def unreachable(address: str) -> str:
    """Why no connection by TLS comes about with the host of a URL; empty when one does."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as plain:
            if parts.scheme == "https":
                with ssl.create_default_context().wrap_socket(plain, server_hostname=host):
                    pass
    except ssl.SSLError as error:
        return f"{host} shows no certificate that holds: {error.reason}"
    except OSError as error:
        return f"{host} cannot be reached: {error.strerror or error}"
    return ""


def settings(site: Site, names: Sequence[str], fix: str) -> Iterator[Finding]:
    """Whether the catalog, or the orchestrator's deployment, says who FISO is there."""
    if missing := [name for name in names if not site.identities[name]]:
        yield wrong(
            f"nothing says {listed(missing)}",
            why="copies that ask who FISO is are not called",
            fix=f"{fix} && fiso apply --stage {site.name}",
        )


def trust(steps: Sequence[Step], fix: str) -> Iterator[Finding]:
    """What `fiso trust` would still do."""
    open_steps = [each for each in look_at(steps) if each.found.state is not State.AS_WANTED]
    for each in open_steps:
        said = f"{each.step.name}: {each.found.why or each.found.state}"
        if each.found.state is State.NOT_OURS:
            yield wrong(said, why="FISO touches nothing that it did not make", fix="rename or remove it, then " + fix)
        else:
            yield wrong(said, why="calls of copies there are refused", fix=fix)
    if not open_steps:
        yield ok(f"{len(steps)} parts of the trust are as they should be")


def lacking(what: Sequence[str], has: str, lacks: str, fix: str) -> Finding:
    """One finding for a list of things of which none should be missing."""
    if not what:
        return ok(has)
    return warning(f"{lacks}: {listed(list(what))}", why="a deployment there stops half-way", fix=fix)
