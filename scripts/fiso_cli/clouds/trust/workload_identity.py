"""Workload identity: Google believes AWS's word on the orchestrator's role, and lets it act as one service account
(docs/decisions/0016-who-fiso-is-to-google.md). IAM v1, Service Usage v1, Organization Policy v2, Resource Manager v3.

Pools and accounts have no labels: what stands in their description says whose they are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fiso_cli.clouds.plan import ABSENT, AS_WANTED, Look, Say, Step, different, not_ours
from fiso_cli.clouds.trust.rest import Document, GoogleApis, Refused
from fiso_cli.errors import CommandError

APIS = tuple(f"{name}.googleapis.com" for name in ("iam", "sts", "iamcredentials", "cloudresourcemanager"))
ROLE_OF = "assertion.arn.extract('assumed-role/{role}/')"
USER = "roles/iam.workloadIdentityUser"
CONSTRAINT = "iam.workloadIdentityPoolAwsAccounts"
TRIES, WAITS = 5, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What trust a stage asks for. `roles` are the names of its orchestrator's roles, `account` AWS's."""

    stage: str
    project: str
    account: str
    roles: Sequence[str]

    @property
    def pool(self) -> str:
        """An id has 4 to 32 characters and never begins with gcp-."""
        return f"fiso-{self.stage}"

    @property
    def email(self) -> str:
        return f"{self.account_id}@{self.project}.iam.gserviceaccount.com"

    @property
    def account_id(self) -> str:
        """6 to 30 characters."""
        return f"fiso-{self.stage}".ljust(6, "0")

    @property
    def mark(self) -> str:
        return f"fiso-stage={self.stage} fiso-deployment=trust"

    @property
    def provider(self) -> Document:
        quoted = ", ".join(f"'{role}'" for role in self.roles)
        return {
            "aws": {"accountId": self.account},
            "attributeMapping": {
                "google.subject": ROLE_OF,  # at most 127 bytes, which the whole ARN of a long stage's role is beyond
                "attribute.aws_role": ROLE_OF,
            },
            "attributeCondition": f"attribute.aws_role in [{quoted}]",
        }


class WorkloadIdentity:
    """The trust of one stage in one project."""

    def __init__(self, google: GoogleApis, wanted: Wanted) -> None:
        self._google, self._wanted = google, wanted
        self._pools = f"projects/{wanted.project}/locations/global/workloadIdentityPools"

    def steps(self) -> Iterator[Step]:
        """In the order in which they are made."""
        yield Step(
            name="Google: APIs",
            makes=f"enables {', '.join(each.partition('.')[0] for each in APIS)} (they stay on)",
            look=self._look_at_apis,
            make=self._enable,
            is_slow=True,
        )
        yield Step(
            name=f"Google: organisation policy {CONSTRAINT}",
            makes=f"must let AWS account {self._wanted.account} in",
            look=self._look_at_policy,
            make=self._refuse_policy,
        )
        pool = f"{self._pools}/{self._wanted.pool}"
        yield self._part(pool, self._pools, "workloadIdentityPoolId", "who comes from AWS to this stage", {})
        provider = f"AWS account {self._wanted.account}, the orchestrator's role alone"
        yield self._part(
            f"{pool}/providers/{self._wanted.pool}",
            f"{pool}/providers",
            "workloadIdentityPoolProviderId",
            provider,
            self._wanted.provider,
        )
        yield self._service_account()
        yield self._binding()

    def provider_name(self) -> str:
        """As the stage's setting `googleProvider` has it: with the project's number."""
        pool = self._wanted.pool
        return f"projects/{self.number()}/locations/global/workloadIdentityPools/{pool}/providers/{pool}"

    def number(self) -> str:
        found = self._google["cloudresourcemanager"].call("GET", f"/v3/projects/{self._wanted.project}")
        return str(found["name"]).partition("/")[2]

    def _look_at_apis(self) -> Look:
        names = "&".join(f"names=projects/{self._wanted.project}/services/{api}" for api in APIS)
        path = f"/v1/projects/{self._wanted.project}/services:batchGet?{names}"
        found = self._google["serviceusage"].call("GET", path).get("services", [])
        on = {each["name"].rpartition("/")[2] for each in found if each.get("state") == "ENABLED"}
        missing = [each.partition(".")[0] for each in APIS if each not in on]
        return different(f"enable {', '.join(missing)}") if missing else AS_WANTED

    def _enable(self, _: Say) -> None:
        path = f"/v1/projects/{self._wanted.project}/services:batchEnable"
        self._waited("serviceusage", self._google["serviceusage"].call("POST", path, {"serviceIds": [*APIS]}))

    def _look_at_policy(self) -> Look:
        path = f"/v2/projects/{self._wanted.project}/policies/{CONSTRAINT}:getEffectivePolicy"
        try:
            rules = self._google["orgpolicy"].call("GET", path).get("spec", {}).get("rules", [])
        except Refused as refused:
            if refused.status in (403, 404):  # most projects are in no organisation, or one may not read its policies
                return AS_WANTED
            raise
        return AS_WANTED if all(_lets_in(rule, self._wanted.account) for rule in rules) else different("it does not")

    def _refuse_policy(self, _: Say) -> None:
        raise CommandError(
            f"the organisation does not let AWS account {self._wanted.account} in: gcloud resource-manager "
            f"org-policies allow {CONSTRAINT} {self._wanted.account} --project {self._wanted.project}"
        )

    def _part(self, name: str, parent: str, id_parameter: str, makes: str, wanted: Document) -> Step:
        """The pool, or its provider. Deleted ones stand for thirty days under their names, and can be had back."""
        iam, short = self._google["iam"], name.rpartition("workloadIdentityPools/")[2]

        def look() -> Look:
            found = iam.find(f"/v1/{name}")
            if found is None or found.get("state") == "DELETED":
                return ABSENT
            if found.get("description") != self._wanted.mark:
                return not_ours(f"{short} is described as {str(found.get('description'))[:60]!r}")
            wrong = [key for key, value in wanted.items() if found.get(key) != value]
            wrong += ["disabled"] if found.get("disabled") else []
            return different(f"{', '.join(wrong)} as FISO needs them") if wrong else AS_WANTED

        def make(_: Say) -> None:
            body = {"displayName": self._wanted.pool, "description": self._wanted.mark, "disabled": False, **wanted}
            found = iam.find(f"/v1/{name}")
            if found is None:
                made = _made(iam, f"/v1/{parent}?{id_parameter}={name.rpartition('/')[2]}", body)
                self._waited("iam", made)
                return
            if found.get("state") == "DELETED":
                if found.get("description") != self._wanted.mark:
                    raise CommandError(f"a deleted {short} of somebody else's holds the name for thirty days")
                self._waited("iam", iam.call("POST", f"/v1/{name}:undelete", {}))
            mask = ",".join(body)
            self._waited("iam", iam.call("PATCH", f"/v1/{name}?updateMask={mask}", body))

        def undo(_: Say) -> None:
            self._waited("iam", iam.call("DELETE", f"/v1/{name}"))

        return Step(name=f"Google: {short}", makes=makes, look=look, make=make, undo=undo)

    def _service_account(self) -> Step:
        iam, email = self._google["iam"], self._wanted.email
        accounts = f"/v1/projects/{self._wanted.project}/serviceAccounts"

        def look() -> Look:
            found = iam.find(f"{accounts}/{email}")
            if found is None:
                return ABSENT
            if found.get("description") != self._wanted.mark:
                return not_ours(f"{email} is described as {str(found.get('description'))[:60]!r}")
            return different("enable it") if found.get("disabled") else AS_WANTED

        def make(_: Say) -> None:
            if iam.find(f"{accounts}/{email}") is not None:
                iam.call("POST", f"{accounts}/{email}:enable", {})
                return
            about = {"displayName": f"FISO, stage {self._wanted.stage}", "description": self._wanted.mark}
            _made(iam, accounts, {"accountId": self._wanted.account_id, "serviceAccount": about})

        def undo(_: Say) -> None:
            iam.call("DELETE", f"{accounts}/{email}")

        said = "whom functions let in; it has no key"
        return Step(
            name=f"Google: service account {self._wanted.account_id}", makes=said, look=look, make=make, undo=undo
        )

    def _binding(self) -> Step:
        resource = f"/v1/projects/{self._wanted.project}/serviceAccounts/{self._wanted.email}"
        iam = self._google["iam"]

        def members() -> list[str]:
            pool = f"projects/{self.number()}/locations/global/workloadIdentityPools/{self._wanted.pool}"
            return [
                f"principalSet://iam.googleapis.com/{pool}/attribute.aws_role/{each}" for each in self._wanted.roles
            ]

        def look() -> Look:
            if iam.find(resource) is None:
                return ABSENT
            policy = iam.call("POST", f"{resource}:getIamPolicy", {})
            given = {each for bound in policy.get("bindings", []) if bound["role"] == USER for each in bound["members"]}
            wanted = set(members())
            if wanted == given:
                return AS_WANTED
            return ABSENT if not given else different("for this stage's roles and nobody else")

        def make(_: Say) -> None:
            for attempt in range(TRIES):
                policy = iam.call("POST", f"{resource}:getIamPolicy", {})
                others = [each for each in policy.get("bindings", []) if each["role"] != USER]
                whole: Any = {**policy, "bindings": [*others, {"role": USER, "members": members()}]}
                try:
                    iam.call("POST", f"{resource}:setIamPolicy", {"policy": whole})
                    return
                except Refused as refused:
                    # somebody wrote since, or the pool is not yet seen by who is asked now
                    is_passing = refused.status == 409 or "does not exist" in str(refused)
                    if not is_passing or attempt + 1 == TRIES:
                        raise
                    iam.pause(attempt)

        return Step(
            name=f"Google: {USER.partition('.')[2]}",
            makes="the orchestrator's role may act as the service account",
            look=look,
            make=make,
            undo=lambda _: None,  # it goes with the account
        )

    def _waited(self, api: str, operation: Document) -> None:
        """Until a long-running operation is over."""
        for attempt in range(WAITS):
            if "error" in operation:
                raise CommandError(f"Google: {str(operation['error'].get('message'))[:200]}")
            if operation.get("done", True) or not operation.get("name"):
                return
            self._google[api].pause(attempt)
            operation = self._google[api].call("GET", f"/v1/{operation['name']}")
        raise CommandError("Google is still at it: run it again later")


def _lets_in(rule: Document, account: str) -> bool:
    if rule.get("denyAll"):
        return False
    values = rule.get("values", {})
    allowed = values.get("allowedValues")
    return account not in values.get("deniedValues", []) and (not allowed or account in allowed)


def _made(iam: Any, path: str, body: Document) -> Document:
    """A first try whose answer was lost may have made it: then it exists."""
    try:
        return dict(iam.call("POST", path, body))
    except Refused as refused:
        if refused.status != 409:
            raise
        return {}
