"""Smoke tests: whether a stage that was just deployed answers, refuses strangers, decides, and calls."""

from collections.abc import Callable, Iterator

from fiso import __version__
from fiso_cli.errors import CommandError
from fiso_cli.traffic.calls import Call, send
from fiso_cli.traffic.gateway import Gateway, refuse_errors, reported

REFUSED = (401, 403)


Steps = list[tuple[str, Callable[[], str]]]


def steps_of(gateway: Gateway, function: str, body: bytes, *, is_open: bool, calls: bool) -> Steps:
    named = function

    def endpoints() -> str:
        nonlocal named
        listed = gateway.get("v1", "endpoints").get("endpoints")
        copies = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        names = sorted({str(each.get("function")) for each in copies})
        if not names:
            raise CommandError("no function is routed to: fiso apply -f fiso.yaml")
        if named and named not in names:
            raise CommandError(f"there is no function {named}; there are {', '.join(names[:5])}")
        named = named or names[0]
        return f"{len(copies)} copies of {len(names)} functions"

    def decision() -> str:
        document = gateway.post("v1", "explain", named, body=body, headers={"content-type": "application/octet-stream"})
        return f"{named}: {document.get('chosen') or document.get('reason') or 'decided'}"

    def answer() -> str:
        sample, told = send(gateway, Call(function=named, body=body, content_type="application/octet-stream"))
        refuse_errors(told)
        who = told.headers.get("x-fiso-provider", "?")
        return f"{named}: status {told.status_code} in {sample.latency_ms:.0f} ms by {who}"

    steps: Steps = [("health", lambda: _health(gateway))]
    steps += [] if is_open else [("strangers", lambda: _strangers(gateway))]
    steps += [("endpoints", endpoints), ("decision", decision)]
    return [*steps, ("answer", answer)] if calls else steps


def run(steps: Steps) -> Iterator[tuple[str, str | None, str | None]]:
    """Each step with what it says, or what is wrong; those after a failure are not asked."""
    for name, step in steps:
        try:
            yield name, step(), None
        except CommandError as error:
            yield name, None, str(error)
            return


def _health(gateway: Gateway) -> str:
    document = gateway.get("healthz")
    if document.get("code_version") != __version__:
        raise CommandError(f"version {document.get('code_version')} answers, {__version__} was to be deployed")
    if document.get("snapshot_version") is None:
        raise CommandError("no catalog is read: fiso doctor --only catalog")
    return f"{document.get('status')}, version {__version__}, catalog {document.get('snapshot_version')}"


def _strangers(gateway: Gateway) -> str:
    """Nobody signs."""
    with Gateway(url=gateway.url).client() as client, reported(gateway.url):
        status = client.get(gateway.address("v1", "endpoints")).status_code
    if status not in REFUSED:
        raise CommandError(f"whoever shows nothing of themselves is answered {status}, not 401 or 403")
    return f"refused with {status}"
