"""Advice: what to do about a finding, in one or two sentences."""

from collections.abc import Mapping

from fiso.domain.endpoint import Authentication, Endpoint, Provider
from fiso_client.core.failures import Fault

_PERMISSION: Mapping[Provider, str] = {
    Provider.AWS: "let FISO's role invoke it (lambda:InvokeFunction, or lambda:InvokeFunctionUrl for a URL)",
    Provider.AZURE: "check the function key that secret_ref names, and the app's access restrictions",
    Provider.GCP: "give FISO's service account roles/run.invoker on the service, and check the token's audience",
}
_TRUST: Mapping[Authentication, str] = {
    Authentication.ENTRA: "`fiso trust azure --check` says what of the trust is missing, `fiso trust azure` mends it",
    Authentication.ID_TOKEN: "`fiso trust gcp --check` says what of the trust is missing, `fiso trust gcp` mends it",
}
"""Where FISO has no key of the copy's, but is somebody there."""
_LIMIT: Mapping[Provider, str] = {
    Provider.AWS: "raise the function's reserved concurrency or the account's limit",
    Provider.AZURE: "raise the app's maximum scale-out",
    Provider.GCP: "raise the service's maximum number of instances",
}
_STATUS_PAGE: Mapping[Provider, str] = {
    Provider.AWS: "health.aws.amazon.com",
    Provider.AZURE: "azure.status.microsoft",
    Provider.GCP: "status.cloud.google.com",
}
SLOW = "slow"
_COPY: Mapping[str, str] = {
    "timed out": "It gives no answer in time: look at its log and at what it waits for.",
    "broken": "The connection ends before the answer does: look at its log for crashes, memory and time limits.",
    "refused": "The provider says that nothing is there to call: check that it is deployed, and its address.",
    "not started": "The provider cannot start it: look at its deployment (package, memory, runtime).",
    SLOW: "Compare memory, region and what it calls with its siblings'. Its latency is learnt: traffic goes elsewhere.",
}
"""By how it failed (`history.Call.oddity`)."""


def _permission(copy: Endpoint) -> str:
    return _TRUST.get(copy.authentication, _PERMISSION[copy.provider])


def for_copy(what: str, copy: Endpoint, function: str) -> str:
    """One copy is at fault: its siblings do well."""
    if what == "refused" and copy.authentication in _TRUST:
        return f"{_COPY[what]} Where it is there, it does not let FISO in: {_permission(copy)}."
    if what in _COPY:
        return _COPY[what]
    status = what.removeprefix("status ")[:3]
    if " is usual" in what:
        return (
            f"It answers with another kind of body than its siblings: deploy the version that they run; "
            f"`fiso compare {function}` shows the difference."
        )
    if status.startswith("3"):
        return "It sends callers elsewhere, as to a login: let FISO in without one, and check its address."
    if status in ("404", "410", "421"):
        page = " with a page" if "html" in what else ""
        return f"The address answers{page} that nothing is there: check that the function exists, and its path."
    if status in ("401", "403", "407"):
        return f"It lets nobody in: {_permission(copy)}."
    if status == "429":
        return f"It takes no more calls: {_LIMIT[copy.provider]}."
    return (
        "Its siblings answer the same well: look at this copy's log for a broken deployment or a missing secret, and "
        "deploy what they run."
    )


def for_place(copy: Endpoint) -> str:
    """The provider is at fault in a region."""
    return (
        f"See {_STATUS_PAGE[copy.provider]}. FISO routes elsewhere; while it lasts, "
        f"`deny: {{regions: [{copy.region}]}}` in the policy, or `fiso policy pin`, keeps even probes away."
    )


def for_verdict(verdict: Fault, copy: Endpoint | None, what: str, tenant: str | None) -> str:
    """By whose fault it is, where more is not known."""
    if copy is not None and verdict is Fault.CONFIGURATION:
        return f"The call is refused before the function: {_permission(copy)}."
    if copy is not None and verdict is Fault.THROTTLE:
        return f"Too much at once: {_LIMIT[copy.provider]}, or lower its concurrency_limit or share in the policy."
    if copy is not None and verdict is Fault.PROVIDER:
        return for_place(copy)
    sender = f"tenant {tenant}" if tenant else "its callers"
    return {
        Fault.CALLER: f"Nothing to mend in the clouds: ask {sender} what is sent; the example shows the answer.",
        Fault.FUNCTION: "All copies do alike: look at the function's own log, and at what it depends on.",
        Fault.NETWORK: "Check its address, DNS and certificate; if all copies are unreachable, FISO's own way out.",
        Fault.CONFIGURATION: "The calls are refused before the function: check addresses, permissions and secrets.",
        Fault.THROTTLE: "Too much at once: raise the concurrency limits, or slow the callers down with quotas.",
        Fault.PROVIDER: "See the providers' status pages.",
        Fault.COPY: "Look at the copy's own log.",
        Fault.FISO: "FISO's own fault: look at the orchestrator's log for this invocation, and report it.",
    }.get(verdict, f"Newer code says {verdict}: what to do about it, that code knows.")
