"""Trust is set up from nothing, from anything half made, beside anything of somebody else's, and taken back whole."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.clouds.plan import Done, State, Step, apply, is_finished, look_at, remove
from fiso_cli.errors import CommandError
from localcloud.entra.graph import Fault as GraphFault
from localcloud.entra.graph import GraphError
from localcloud.google_cloud.world import Fault, Refused, throttled
from tests.functional.clouds.trust_rig import (
    HOSTS,
    ISSUER,
    PROJECT,
    ROLE,
    STAGE,
    TENANT,
    Change,
    Killed,
    Trusts,
    trusts,
)

CLOUDS = ("azure", "google")
POOL = f"iam/projects/{PROJECT}/locations/global/workloadIdentityPools/fiso-prod"
ACCOUNT = f"iam/projects/{PROJECT}/serviceAccounts/fiso-prod@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Trusts]:
    with trusts(tmp_path) as made:
        yield made


def make(here: Trusts, cloud: str) -> Done:
    return apply(here.steps(cloud), lambda _: None, sleep=lambda _: None)


def take_back(here: Trusts, cloud: str) -> Done:
    return remove(here.steps(cloud), lambda _: None)


def application(here: Trusts, name: str) -> Any:
    return next(each for each in here.directory.applications.values() if each["displayName"] == name)


def test_entra_believes_the_role_and_gives_tokens_for_each_host_alone(here: Trusts) -> None:
    assert [each.does for each in look_at(here.azure())] == ["make"] * 7 + ["change"]
    make(here, "azure")
    caller, called = application(here, "fiso-prod"), application(here, "fiso-prod-functions")
    (trusted,) = here.directory.credentials[caller["id"]].values()
    assert trusted["issuer"] == ISSUER
    assert trusted["subject"] == f"arn:aws:iam::123456789012:role/{ROLE}"
    assert trusted["audiences"] == ["api://AzureADTokenExchange"]
    assert called["identifierUris"] == [f"api://{TENANT}/{host}" for host in HOSTS]
    assert called["api"] == {"requestedAccessTokenVersion": 1}
    assert {each["signInAudience"] for each in (caller, called)} == {"AzureADMyOrg"}
    required = {each["appId"]: each["appRoleAssignmentRequired"] for each in here.directory.principals.values()}
    assert required == {caller["appId"]: False, called["appId"]: True}
    (given,) = [each for each in here.directory.assignments.values() if each]
    assert [each["appRoleId"] for each in given] == [called["appRoles"][0]["id"]]
    assert here.is_federated


def test_google_believes_the_role_and_nobody_else_of_the_account(here: Trusts) -> None:
    assert [each.does for each in look_at(here.google())] == ["change", "keep", "make", "make", "make", "make"]
    make(here, "google")
    provider = here.world.things[f"{POOL}/providers/fiso-prod"]
    assert provider["aws"] == {"accountId": "123456789012"}
    assert provider["attributeCondition"] == f"attribute.aws_role in ['{ROLE}']"
    pool = f"projects/123456789012/{POOL.partition(f'{PROJECT}/')[2]}"
    member = f"principalSet://iam.googleapis.com/{pool}/attribute.aws_role/{ROLE}"
    assert here.world.policies[ACCOUNT]["bindings"] == [{"role": "roles/iam.workloadIdentityUser", "members": [member]}]
    assert here.world.enabled[PROJECT] >= {
        f"{api}.googleapis.com" for api in ("iam", "sts", "iamcredentials", "cloudresourcemanager")
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_second_run_changes_nothing(here: Trusts, cloud: str) -> None:
    make(here, cloud)
    before = deepcopy(here.state())
    assert is_finished(look_at(here.steps(cloud)))
    done = make(here, cloud)
    assert (done.made, done.changed) == ([], [])
    assert here.state() == before


@pytest.mark.parametrize("cloud", CLOUDS)
def test_killed_before_any_request_the_next_run_ends_the_same(tmp_path: Path, cloud: str) -> None:
    with trusts(tmp_path) as whole:
        make(whole, cloud)
        wanted, requests = whole.state(), whole.count
    assert requests > 25
    for at in range(1, requests + 1, max(1, requests // 25)):
        with trusts(tmp_path) as here:
            here.kill_at = at
            with pytest.raises(Killed):
                make(here, cloud)
            here.kill_at = None
            make(here, cloud)
            assert here.state() == wanted, f"killed before request {at}"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_taken_back_nothing_is_left_also_when_killed_in_between_and_it_can_be_made_again(
    here: Trusts, cloud: str
) -> None:
    make(here, cloud)
    wanted = here.state()
    for after in range(1, 12, 2):
        here.count, here.kill_at = 0, after
        with suppress(Killed):
            take_back(here, cloud)
        here.kill_at = None
        if after % 5:
            take_back(here, cloud)
            states = {each.found.state for each in look_at(here.steps(cloud))[1:]}
            assert State.AS_WANTED not in states or cloud == "google"
            assert here.directory.is_empty
            assert ACCOUNT not in here.world.things
            assert here.world.things.get(POOL, {}).get("state") in (None, "DELETED")
        make(here, cloud)
        assert here.state() == wanted


def lookalikes(here: Trusts) -> None:
    """The same names, without this stage's marks; things of another stage; and what nobody gave a mark."""
    make(here, "azure")
    make(here, "google")
    for each in here.directory.applications.values():
        each["tags"] = ["fiso-stage:prod2"]
    for name in (POOL, f"{POOL}/providers/fiso-prod", ACCOUNT):
        here.world.things[name]["description"] = "somebody's"


def test_what_others_made_is_refused_and_survives_a_hundred_removals(here: Trusts) -> None:
    lookalikes(here)
    before = deepcopy(here.state())
    for cloud in CLOUDS:
        with pytest.raises(CommandError, match="not made by this stage of FISO"):
            make(here, cloud)
        steps = here.steps(cloud)
        for _ in range(100):
            remove(steps, lambda _: None)
        assert here.state() == before


UNSEEN = Refused(400, "INVALID_ARGUMENT", "Identity Pool does not exist (x).")
FAULTS: list[tuple[str, Any]] = [
    ("azure", {"match": "^(PATCH|POST)", "refused": GraphError(429, "TooManyRequests", "slow", retry_after="1")}),
    ("azure", {"match": "^(PATCH|POST)", "refused": GraphError(503, "ServiceUnavailable", "no"), "after": True}),
    ("azure", {"match": "^(PATCH|POST)", "after": True}),
    ("azure", {"match": "^GET", "refused": GraphError(500, "InternalServerError", "no")}),
    ("google", {"method": "*", "refused": throttled()}),
    ("google", {"method": "iam.projects.locations.workloadIdentityPools.create", "dropped": True, "after": True}),
    ("google", {"method": "iam.projects.serviceAccounts.create", "dropped": True, "after": True}),
    ("google", {"method": "iam.projects.serviceAccounts.setIamPolicy", "dropped": True, "after": True}),
    ("google", {"method": "iam.projects.serviceAccounts.setIamPolicy", "refused": UNSEEN}),
]


@pytest.mark.parametrize(("cloud", "fault"), FAULTS)
def test_what_is_busy_away_or_lost_on_the_way_is_asked_again(here: Trusts, cloud: str, fault: Any) -> None:
    if cloud == "azure":
        here.directory.faults.append(GraphFault(times=3, **fault))
    else:
        here.world.faults.append(Fault(times=3, **fault))
    make(here, cloud)
    assert is_finished(look_at(here.steps(cloud)))
    assert len(here.directory.applications) in (0, 2)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_was_just_made_need_not_be_seen_at_once(here: Trusts, cloud: str) -> None:
    here.directory.lag, here.world.lag, here.world.takes = 3, 3, 3
    make(here, cloud)
    here.directory.lag = here.world.lag = 0
    assert is_finished(look_at(here.steps(cloud)))
    assert len(here.directory.principals) in (0, 2)


def test_an_operation_that_hangs_or_fails_is_one_line_and_the_next_run_goes_on(here: Trusts) -> None:
    pool = "iam.projects.locations.workloadIdentityPools.create"
    here.world.faults.append(Fault(method=pool, hangs=True))
    with pytest.raises(CommandError, match="still at it"):
        make(here, "google")
    here.world.faults.append(Fault(method=pool, failed={"code": 13, "message": "internal"}))
    with pytest.raises(CommandError, match="Google: internal"):
        make(here, "google")
    make(here, "google")
    assert is_finished(look_at(here.google()))


def _credential(here: Trusts) -> Any:
    return here.directory.credentials[application(here, "fiso-prod")["id"]]["aws-us-east-1"]


def _principal(here: Trusts, name: str) -> Any:
    id = application(here, name)["appId"]
    return next(each for each in here.directory.principals.values() if each["appId"] == id)


AZURE_DRIFT: dict[str, Change] = {
    "another issuer": lambda here: _credential(here).update(issuer="https://evil.example"),
    "another role": lambda here: _credential(here).update(subject="arn:aws:iam::123456789012:role/another"),
    "another audience": lambda here: _credential(here).update(audiences=["api://x"]),
    "no credential": lambda here: here.directory.credentials.clear(),
    "tokens of version 2": lambda here: application(here, "fiso-prod-functions").update(
        api={"requestedAccessTokenVersion": 2}
    ),
    "any tenant's": lambda here: application(here, "fiso-prod").update(signInAudience="AzureADMultipleOrgs"),
    "everybody let in": lambda here: _principal(here, "fiso-prod-functions").update(appRoleAssignmentRequired=False),
    "switched off": lambda here: _principal(here, "fiso-prod").update(accountEnabled=False),
    "no role": lambda here: application(here, "fiso-prod-functions").update(appRoles=[]),
    "not assigned": lambda here: here.directory.assignments.clear(),
    "a host gone": lambda here: application(here, "fiso-prod-functions").update(identifierUris=[]),
    "no principal": lambda here: [each.clear() for each in (here.directory.principals, here.directory.assignments)],
}
GOOGLE_DRIFT: dict[str, Change] = {
    "API off": lambda here: here.world.enabled[PROJECT].discard("sts.googleapis.com"),
    "pool off": lambda here: here.world.things[POOL].update(disabled=True),
    "provider off": lambda here: here.world.things[f"{POOL}/providers/fiso-prod"].update(disabled=True),
    "another account": lambda here: here.world.things[f"{POOL}/providers/fiso-prod"].update(
        aws={"accountId": "9" * 12}
    ),
    "any role": lambda here: here.world.things[f"{POOL}/providers/fiso-prod"].pop("attributeCondition"),
    "another mapping": lambda here: here.world.things[f"{POOL}/providers/fiso-prod"].update(
        attributeMapping={"google.subject": "'x'"}
    ),
    "pool deleted": lambda here: here.world.things[POOL].update(state="DELETED"),
    "account off": lambda here: here.world.things[ACCOUNT].update(disabled=True),
    "no binding": lambda here: here.world.policies.clear(),
    "everybody bound": lambda here: here.world.policies[ACCOUNT].update(
        bindings=[{"role": "roles/iam.workloadIdentityUser", "members": ["allUsers"]}]
    ),
}


@pytest.mark.parametrize(
    ("cloud", "change"),
    [*(("azure", each) for each in AZURE_DRIFT.values()), *(("google", each) for each in GOOGLE_DRIFT.values())],
    ids=[*AZURE_DRIFT, *GOOGLE_DRIFT],
)
def test_what_was_changed_since_is_found_and_set_right(here: Trusts, cloud: str, change: Change) -> None:
    make(here, cloud)
    wanted = deepcopy(here.state())
    change(here)
    assert not is_finished(look_at(here.steps(cloud)))
    make(here, cloud)
    assert here.state() == wanted


def test_a_run_that_knows_of_fewer_hosts_takes_none_out(here: Trusts) -> None:
    make(here, "azure")
    apply(here.azure(hosts=("new.azurewebsites.net",)), lambda _: None, sleep=lambda _: None)
    assert len(application(here, "fiso-prod-functions")["identifierUris"]) == 3


def test_two_stages_stand_beside_each_other(here: Trusts) -> None:
    for stage in (STAGE, "dev"):
        for cloud in CLOUDS:
            hosts = (f"{stage}.azurewebsites.net",)
            steps: list[Step] = here.azure(stage, hosts) if cloud == "azure" else here.google(stage)
            apply(steps, lambda _: None, sleep=lambda _: None)
    for cloud in CLOUDS:
        remove(here.steps(cloud, "dev"), lambda _: None)
    assert {each["displayName"] for each in here.directory.applications.values()} == {
        "fiso-prod",
        "fiso-prod-functions",
    }
    assert is_finished(look_at(here.google()))


def test_what_is_missing_is_told_with_the_way_to_get_it(here: Trusts) -> None:
    here.denied = {"EnableOutboundWebIdentityFederation"}
    with pytest.raises(CommandError, match=r"permission iam:EnableOutboundWebIdentityFederation is missing: aws iam"):
        make(here, "azure")
    here.denied = set()
    here.directory.faults.append(
        GraphFault(match="^PATCH", refused=GraphError(403, "Authorization_RequestDenied", "no"))
    )
    with pytest.raises(CommandError, match="403 Authorization_RequestDenied"):
        make(here, "azure")
    here.world.denied = {"iam.workloadIdentityPools.create"}
    with pytest.raises(CommandError, match=r"iam.workloadIdentityPools.create"):
        make(here, "google")


def test_an_organisation_that_lets_no_account_in_is_told_before_anything_is_made(here: Trusts) -> None:
    rules = [{"values": {"allowedValues": ["999999999999"]}}]
    here.world.things["orgpolicy/iam.workloadIdentityPoolAwsAccounts"] = {"rules": rules}
    here.world.enabled[PROJECT] = {"orgpolicy.googleapis.com"}
    with pytest.raises(CommandError, match=r"does not let AWS account 123456789012 in: gcloud resource-manager"):
        make(here, "google")
    assert not [name for name in here.world.things if name.startswith("iam/")]
