"""Refusals: what Azure says no with, as one line with the way out. Knows no client."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

NEEDS_EXTRA = "this needs Azure's own client: pip install 'fiso-cli[azure]'"
_DENIED = re.compile(r"object id '([^']+)'.*?action '([^']+)' over scope '([^']+)'", re.DOTALL)
_ROLES = (
    ("Microsoft.Authorization/roleAssignments/", "Role Based Access Control Administrator"),
    ("Microsoft.Web/sites/publish", "Website Contributor"),
    ("", "Contributor"),
)
_WAYS_OUT = {
    "SubscriptionNotFound": "name one of `az account list` by --subscription or AZURE_SUBSCRIPTION_ID",
    "InvalidAuthenticationToken": "log in again: az login",
    "ExpiredAuthenticationToken": "log in again: az login",
    "RequestDisallowedByPolicy": "a policy of your organisation forbids it: ask whoever keeps the policy",
    "LocationNotAvailableForResourceType": "choose another of --regions",
    "StorageAccountAlreadyTaken": "the name is taken by somebody else's account: use another --stage",
    "FlagMustBeSetForRestore": "an account of this name was deleted lately: wait, or purge it",
    "SubscriptionIsOverQuotaForSku": "ask for more in the portal under Quotas, or choose another of --regions",
    "ScopeLocked": "a lock forbids it: az lock list, and remove it",
    "ReadOnlyDisabledSubscription": "the subscription is disabled: see its bill in the portal",
}


def refusal(status: int, said: Mapping[str, Any], what: str) -> str:
    """A line with the innermost code, what was asked, and what helps."""
    inner = list(_inner(said))
    code = str(inner[-1].get("code") or status)
    message = " ".join(str(inner[-1].get("message") or "no reason given").split())
    denied = _DENIED.search(message)
    if denied is not None:
        return _grant(*denied.groups())
    way_out = _WAYS_OUT.get(code, "")
    return f"{what}: {code}: {message[:300]}{f' ({way_out})' if way_out else ''}"


def _grant(who: str, action: str, scope: str) -> str:
    role = next(role for prefix, role in _ROLES if action.startswith(prefix))
    return (
        f"the permission {action} is missing: "
        f"az role assignment create --assignee {who} --role '{role}' --scope {_group_of(scope)}"
    )


def _group_of(scope: str) -> str:
    """The resource group of a scope, or the subscription: roles on single resources do not survive a new deployment."""
    found = re.match(r"/subscriptions/[^/]+(?:/resourceGroups/[^/]+)?", scope, re.IGNORECASE)
    return found[0] if found else scope


def _inner(said: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """From `DeploymentFailed` in to what failed; a nested error may stand as JSON inside a message."""
    for _ in range(10):
        yield said
        details = said.get("details")
        inner = details[0] if isinstance(details, list) and details else _written(said.get("message"))
        if not isinstance(inner, Mapping):
            return
        said = inner


def _written(message: object) -> object:
    """An error as JSON in a message, as resource providers put it there (`{"status": "Failed", "error": {…}}`)."""
    if not isinstance(message, str) or not message.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(message)
    except ValueError:
        return None
    return found.get("error", found if "code" in found else None) if isinstance(found, dict) else None
