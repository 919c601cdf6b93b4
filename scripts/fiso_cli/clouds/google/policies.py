"""Policies: who may do what with one thing of Google's, read whole and written only over what was read."""

from collections.abc import Callable
from typing import Any

from fiso_cli.clouds.google.client import Document, Google, Refused
from fiso_cli.clouds.google.names import Names
from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step

POLICY_TRIES, POLICY_VERSION = 8, 3


class Policy:
    """Who may do what with one thing: read, and written only over what was read."""

    def __init__(self, google: Google, name: str) -> None:
        self.google, self.name = google, name

    def read(self) -> Document | None:
        """None where the thing itself is not there."""
        return self.google.find(self.api, self._get)

    def write(self, policy: Document) -> None:
        """`Refused` 409 or 412 where another wrote since it was read."""
        self.google.call(self.api, lambda api: self._set(api, policy))

    api = ""

    def _get(self, api: Any) -> Any:
        # read in an older form a policy loses its conditions, and the next write would lose them for good
        return self._things(api).getIamPolicy(resource=self.name, options_requestedPolicyVersion=POLICY_VERSION)

    def _set(self, api: Any, policy: Document) -> Any:
        return self._things(api).setIamPolicy(resource=self.name, body={"policy": policy})

    def _things(self, api: Any) -> Any:
        raise NotImplementedError


class ServicePolicy(Policy):
    """Of a Cloud Run service."""

    api = "run"

    def _things(self, api: Any) -> Any:
        return api.projects().locations().services()


class ProjectPolicy(Policy):
    """Of the project."""

    api = "cloudresourcemanager"

    def __init__(self, google: Google, project: str) -> None:
        super().__init__(google, f"projects/{project}")

    def _get(self, api: Any) -> Any:
        body = {"options": {"requestedPolicyVersion": POLICY_VERSION}}
        return api.projects().getIamPolicy(resource=self.name, body=body)

    def _things(self, api: Any) -> Any:
        return api.projects()


class RepositoryPolicy(Policy):
    api = "artifactregistry"

    def __init__(self, google: Google, names: Names) -> None:
        super().__init__(google, names.repository)

    def _things(self, api: Any) -> Any:
        return api.projects().locations().repositories()


class BucketPolicy(Policy):
    api = "storage"

    def _get(self, api: Any) -> Any:
        return api.buckets().getIamPolicy(bucket=self.name, optionsRequestedPolicyVersion=POLICY_VERSION)

    def _set(self, api: Any, policy: Document) -> Any:
        return api.buckets().setIamPolicy(bucket=self.name, body=policy)


def bound(google: Google, name: str, policy: Policy, role: str, member: str) -> Step:
    """That a member has a role on a thing; all other bindings stay as they are."""

    def look() -> Look:
        found = policy.read()
        return AS_WANTED if found is not None and has(found, role, member) else ABSENT

    def make(say: Say) -> None:
        changed(google, policy, lambda found: with_member(found, role, member))

    short = member.partition("@")[0].rpartition(":")[2]
    return Step(name=name, makes=f"{role} for {short}", look=look, make=make)


def has(policy: Document, role: str, member: str) -> bool:
    """Whether a member has a role, whatever the hour: a binding with a condition does not count."""
    return any(
        each["role"] == role and "condition" not in each and member in each.get("members", [])
        for each in policy.get("bindings", [])
    )


def with_member(policy: Document, role: str, member: str) -> Document:
    """A policy with a member more in the unconditional binding of a role."""
    bindings = [dict(each) for each in policy.get("bindings", [])]
    own = next((each for each in bindings if each["role"] == role and "condition" not in each), None)
    if own is None:
        own = {"role": role, "members": []}
        bindings.append(own)
    own["members"] = [*own.get("members", []), *([member] if member not in own.get("members", []) else [])]
    return {**policy, "bindings": bindings}


def without_member(policy: Document, role: str, member: str) -> Document:
    """A policy with a member less; a binding that nobody is left in goes."""
    bindings = []
    for each in policy.get("bindings", []):
        members = each.get("members", [])
        if each["role"] == role and "condition" not in each:
            members = [other for other in members if other != member]
        if members:
            bindings.append({**each, "members": members})
    return {**policy, "bindings": bindings}


def changed(google: Google, policy: Policy, change: Callable[[Document], Document]) -> None:
    """Read, modify, write, until nobody wrote in between; a member that was just made is not known everywhere yet."""
    pause = 0.5
    for attempt in range(1, POLICY_TRIES + 1):
        try:
            policy.write(change(policy.read() or {}))
            return
        except Refused as refused:
            if attempt == POLICY_TRIES or not (refused.code in (409, 412) or is_unknown(refused)):
                raise
            google.pause(pause)
            pause = min(pause * 2, 10.0)


def is_unknown(refused: Refused) -> bool:
    """Whether it is about an account that was made just now: not all of Google knows of it for a minute."""
    words = str(refused)
    return refused.code in (400, 403, 404) and ("does not exist" in words or "iam.serviceaccounts.actAs" in words)


def known(google: Google, method: Callable[[], Document]) -> Document:
    """The answer of a method that names an account which was made just now."""
    pause = 0.5
    for _ in range(POLICY_TRIES):
        try:
            return method()
        except Refused as refused:
            if not is_unknown(refused):
                raise
        google.pause(pause)
        pause = min(pause * 2, 10.0)
    return method()
