"""Deployments to Azure: killed anywhere, two at once, refused, throttled, half failed; and taken back by tags alone."""

import io
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.clouds.azure import removal
from fiso_cli.clouds.azure.lease import ContainerLease
from fiso_cli.clouds.azure.names import Copy, Group
from fiso_cli.clouds.azure.refusals import refusal
from fiso_cli.clouds.azure.wrapper import HOST
from fiso_cli.clouds.lock import Holder
from fiso_cli.clouds.plan import remove
from fiso_cli.errors import CommandError
from localcloud.azure_cloud.faults import Fault, Faults
from tests.functional.clouds.azure_world import SUBSCRIPTION, Killed, Site, azure

NOTHING: dict[str, Any] = {"groups": {}, "resources": {}, "roles": []}


APP = "@app.route(route='compress', auth_level='ANONYMOUS')\ndef compress(req): ...\n"


def zipped(app: str = APP) -> bytes:
    """A package as small as can be, the same bytes each time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in (("host.json", HOST), ("function_app.py", app.encode())):
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with azure(tmp_path, zipped()) as found:
        yield found


def test_a_deployment_is_made_once_and_taken_back_whole(site: Site) -> None:
    first = site.deploy()
    assert [name.split()[0] for name in first.made] == ["app", "role", "package"]
    again = site.deploy()
    assert (again.made, again.changed, len(again.kept)) == ([], [], 3)
    site.destroy()
    assert site.world.snapshot() == NOTHING


def made_of(site: Site) -> object:
    """What stands there, once it is seen that another run finds nothing to do."""
    again = site.deploy()
    assert (again.made, again.changed) == ([], [])
    return site.world.snapshot()


def test_killed_at_every_other_request_and_run_again_a_deployment_comes_to_the_same_end(tmp_path: Path) -> None:
    with azure(tmp_path, zipped()) as whole:
        whole.deploy()
        expected = made_of(whole)
    kills = 0
    for dies_at in range(1, 400, 2):
        with azure(tmp_path, zipped(), known_after=3, is_registered=False) as site:
            try:
                site.mortal(dies_at, is_after=dies_at % 4 == 1).deploy()
                break
            except Killed:
                kills += 1
            site.world.forget_locks()
            site.deploy()
            assert made_of(site) == expected
    assert kills > 25


def test_killed_at_every_request_of_a_removal_and_run_again_nothing_is_left(tmp_path: Path) -> None:
    kills = 0
    for dies_at in range(1, 400):
        with azure(tmp_path, zipped()) as site:
            site.deploy()
            try:
                site.mortal(dies_at, is_after=dies_at % 2 == 1).destroy()
                break
            except Killed:
                kills += 1
            site.destroy()
            assert site.world.snapshot() == NOTHING
    assert kills > 15


def test_a_removal_right_after_a_kill_leaves_nothing_that_a_deployment_would_still_make(tmp_path: Path) -> None:
    active = 0
    for dies_at in range(1, 400, 3):
        with azure(tmp_path, zipped()) as site:
            try:
                site.mortal(dies_at, is_after=True).deploy()
                break
            except Killed:
                active += any(each.status == "Running" for each in site.world.operations.values())
            site.destroy()
            for _ in range(12):  # what is under way at Azure goes on
                list(site.arm.listed(f"{site.arm.scope}/resources", "2024-11-01"))
            assert site.world.snapshot() == NOTHING
    assert active > 3


@pytest.mark.parametrize(("stage", "function"), [("p", "f"), ("a-stage-of-20-letters"[:20], "f" * 40)])
def test_names_are_within_azures_limits_and_tell_copies_apart(stage: str, function: str) -> None:
    group = Group(stage=stage, subscription=SUBSCRIPTION)
    of = [
        Copy(group=group, function=function[:length], folder=Path(), region=region, memory_mb=size)
        for length in (1, len(function) - 1, len(function))
        for region in ("eastus", "germanywestcentral")
        for size in (512, 4096)
        if length
    ]
    apps = {(each.function, each.region, each.memory_mb): (each.app, each.storage) for each in of}
    assert len(set(apps.values())) == len(apps)
    for app, storage in apps.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]", app)
        assert re.fullmatch(r"[a-z0-9]{3,24}", storage)
    assert re.fullmatch(r"[a-z0-9]{3,24}", group.lock_account)


def test_two_at_once_and_the_second_says_who_is_at_it(site: Site) -> None:
    site.deploy()
    holder = replace(Holder.this_run(datetime.now(UTC)), host="another-machine", who="ann")
    ContainerLease(arm=site.arm, group=site.group).write(holder, None)
    with pytest.raises(CommandError, match=r"ann on another-machine .* is at this stage, its lock holds until"):
        site.deploy()
    site.world.forget_locks()
    site.deploy()


def test_of_two_that_begin_together_one_wins_and_both_leave_the_same(tmp_path: Path) -> None:
    with azure(tmp_path, zipped()) as site:
        with ThreadPoolExecutor(4) as pool:
            ends = [pool.submit(site.deploy) for _ in range(4)]
        failed = [str(end.exception()) for end in ends if end.exception()]
        assert len(failed) < 4
        assert all("holds" in line for line in failed), failed
        together = made_of(site)
    with azure(tmp_path, zipped()) as alone:
        alone.deploy()
        assert alone.world.snapshot() == together


@pytest.mark.parametrize(
    "fault",
    [
        Fault(match="PUT .*/deployments/", status=429, code="TooManyRequests", times=3, headers={"retry-after": "0"}),
        Fault(match="GET .*/sites/", status=503, code="ServiceUnavailable", times=3),
        Fault(match="PUT .*/resourceGroups/", status=500, times=2),
        Fault(match="PUT .*/deployments/", status=409, code="DeploymentActive", times=3),
        Fault(match="PUT .*/roleAssignments/", status=400, code="PrincipalNotFound", times=5),
        Fault(
            match="POST .*/api/publish", status=503, code="SiteUnavailable", message="503 Site Unavailable", times=12
        ),
        Fault(match="PATCH .*/tags/default", status=502, times=1, is_after=True),
        Fault(match="POST .*/lease", status=429, code="TooManyRequests", headers={"retry-after": "0"}),
    ],
    ids=lambda fault: f"{fault.status} {fault.match}",
)
def test_what_passes_is_waited_for(site: Site, fault: Fault) -> None:
    site.world.faults.requests.append(fault)
    site.deploy()
    assert fault.times == 0
    made_of(site)


@pytest.mark.parametrize("kind", ["Microsoft.Web/serverfarms", "Microsoft.Web/sites"])
def test_a_lock_of_app_services_own_inside_a_deployment_is_waited_for(site: Site, kind: str) -> None:
    said = "Cannot acquire exclusive lock to create, update or delete this site. Retry the request later."
    site.world.faults.resources[kind] = ("429", said, 2)
    site.deploy()
    made_of(site)


def test_a_name_that_somebody_else_has_is_said_at_once(site: Site) -> None:
    site.world.taken.add(site.copies[0].storage)
    with pytest.raises(CommandError, match=r"StorageAccountAlreadyTaken: .*use another --stage"):
        site.deploy()


def test_a_build_that_a_restart_stopped_and_a_deployment_that_is_forgotten_for_a_while_are_tried_again(
    site: Site,
) -> None:
    site.world.faults.builds.append("Deployment has been stopped due to SCM container restart.")
    site.world.faults.forgets_deployments = 3
    site.deploy()
    made_of(site)


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (
            {"denied": {"Microsoft.Resources/deployments/write"}},
            "the permission Microsoft.Resources/deployments/write is missing: az role assignment create --assignee",
        ),
        (
            {"denied": {"Microsoft.Authorization/roleAssignments/write"}},
            "--role 'Role Based Access Control Administrator'",
        ),
        ({"denied": {"Microsoft.Web/sites/publish/Action"}}, "--role 'Website Contributor'"),
        (
            {"resources": {"Microsoft.Web/serverfarms": ("SubscriptionIsOverQuotaForSku", "no more FC1 here", 1)}},
            "SubscriptionIsOverQuotaForSku: no more FC1 here (ask for more in the portal under Quotas",
        ),
        (
            {"builds": ["ERROR: Could not find a version that satisfies x==9"]},
            "failed: ERROR: Could not find a version",
        ),
        ({"hanging": {"fiso-stage"}}, "Azure is still at it after 0 s: run it again later"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_stays_is_one_line_with_the_way_out_and_the_next_run_goes_on(
    site: Site, broken: dict[str, Any], line: str
) -> None:
    for name, value in broken.items():
        setattr(site.world.faults, name, value)
    with pytest.raises(CommandError) as told:
        (site.patient(0.05) if "hanging" in broken else site).deploy()
    assert line in str(told.value)
    assert "\n" not in str(told.value)
    site.world.faults = Faults()
    for each in site.world.operations.values():
        each.hangs = False
    site.deploy()
    made_of(site)


def test_a_package_that_serves_nothing_is_no_success(tmp_path: Path) -> None:
    with azure(tmp_path, zipped("import azure.functions\n")) as site:
        with pytest.raises(CommandError, match=r"lists no function: function_app.py does not load there"):
            site.deploy()
        replace(site, package=zipped()).deploy()


def test_what_somebody_changed_by_hand_is_seen_and_mended(site: Site) -> None:
    site.deploy()
    of = site.copies[0]
    expected = site.world.snapshot()

    def properties(path: str) -> dict[str, Any]:
        found: dict[str, Any] = site.world.resources[path.lower()]["properties"]
        return found

    for change in (
        lambda: properties(of.app_id)["functionAppConfig"]["scaleAndConcurrency"].update(instanceMemoryMB=4096),
        lambda: properties(of.storage_id).update(allowSharedKeyAccess=True),
        lambda: properties(f"{of.app_id}/config/authsettingsV2")["globalValidation"].update(
            requireAuthentication=False
        ),
        lambda: site.world.drop(f"{of.storage_id}/blobServices/default/containers/packages"),
        lambda: site.world.assignments.clear(),
        lambda: site.world.drop(of.app_id),
    ):
        change()
        site.deploy()
        assert made_of(site) == expected


def test_settings_that_somebody_put_on_the_app_stay(site: Site) -> None:
    site.deploy()
    app = site.world.resources[site.copies[0].app_id.lower()]["properties"]
    app["_settings"]["DATABASE"] = "postgres://…"
    app["httpsOnly"] = False
    site.deploy()
    kept = site.world.resources[site.copies[0].app_id.lower()]["properties"]
    assert kept["httpsOnly"] is True
    assert kept["_settings"]["DATABASE"] == "postgres://…"
    assert len(kept["_settings"]) == 4


def test_of_two_functions_one_is_taken_back_alone(tmp_path: Path) -> None:
    with azure(tmp_path, zipped()) as site:
        site.deploy()
        before = site.world.snapshot()
        other = replace(site, copies=tuple(replace(of, function="other") for of in site.copies))
        other.deploy()
        remove(removal.leftovers(site.arm, site.group, ["other"]), lambda _: None)
        assert site.world.snapshot() == before
        assert removal.leftovers(site.arm, site.group, ["another"]) == []


def test_look_alikes_survive_a_hundred_removals_and_stop_a_deployment(site: Site) -> None:
    site.deploy()
    names = {"Microsoft.Web/serverfarms": "fiso-prod-x", "Microsoft.Storage/storageAccounts": "fisolock00"}
    seeded = [
        {},
        {"fiso-stage": "test", "fiso-deployment": "shared"},
        {"fiso-stage": "prod"},
        {"fiso-stage": "Prod", "fiso-deployment": "shared"},
    ]
    alike = {}
    for number, tags in enumerate(seeded):
        for kind, name in names.items():
            path = f"{site.group.resource(kind, f'{name}{number}')}"
            alike[path.lower()] = site.world.put(path, {"type": kind, "tags": tags, "properties": {}})
    other = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/fiso-prod2"
    site.world.groups["fiso-prod2"] = {
        "id": other,
        "name": "fiso-prod2",
        "location": "eastus",
        "tags": site.group.tags(),
    }
    path = f"{other}/providers/Microsoft.Web/serverfarms/fiso-prod"
    alike[path.lower()] = site.world.put(
        path, {"type": "Microsoft.Web/serverfarms", "tags": site.group.tags(), "properties": {}}
    )
    first = site.destroy()
    assert len(first.removed) == 6
    for _ in range(99):
        done = site.destroy()
        assert (done.removed, done.left) == ([], ["group fiso-prod"])
    by_azure = {key for key in site.world.resources if "smart" in key}
    assert set(site.world.resources) - by_azure == set(alike)
    assert all(site.world.resources[key] == each for key, each in alike.items())
    of = site.copies[0]
    site.world.put(of.app_id, {"type": "Microsoft.Web/sites", "tags": {"fiso-stage": "test"}, "properties": {}})
    with pytest.raises(CommandError, match="is not tagged as this deployment's"):
        site.deploy()


def test_a_workspace_is_deleted_for_good_so_that_its_name_is_free(site: Site) -> None:
    site.deploy()
    site.destroy()
    assert site.world.soft_deleted == {}


def test_a_second_copy_elsewhere_leaves_the_first_alone(tmp_path: Path) -> None:
    with azure(tmp_path, zipped(), copies=2) as two:
        replace(two, copies=two.copies[:1]).deploy()
        before = two.world.snapshot()
        assert isinstance(before, dict)
        two.deploy()
        after = two.world.snapshot()
        assert {key: after["resources"][key] for key in before["resources"]} == before["resources"]
        two.destroy()
        assert two.world.snapshot() == NOTHING


NESTED = {"code": "SkuNotAvailable", "message": "FC1 is not to be had here"}
WRITTEN = '{"status": "Failed", "error": {"code": "SkuNotAvailable", "message": "FC1 is not to be had here"}}'


@pytest.mark.parametrize(
    "said",
    [
        NESTED,
        {"code": "DeploymentFailed", "message": "At least one", "details": [NESTED]},
        {"code": "DeploymentFailed", "message": "x", "details": [{"code": "Conflict", "message": WRITTEN}]},
        {"code": "ResourceDeploymentFailure", "message": "x", "details": [{"code": "BadRequest", "details": [NESTED]}]},
    ],
)
def test_the_innermost_reason_is_said_also_where_it_is_written_into_a_message(said: dict[str, Any]) -> None:
    assert refusal(400, said, "PUT x") == "PUT x: SkuNotAvailable: FC1 is not to be had here"


@pytest.mark.parametrize("message", ["{", "{}", '{"a": 1}', "[]", '{"error": 1}', "{" * 2000])
def test_a_message_that_only_looks_like_an_error_is_said_as_it_is(message: str) -> None:
    assert message[:300] in refusal(400, {"code": "Odd", "message": message}, "PUT x")


def test_a_failed_deployment_that_says_to_list_its_operations_is_asked_for_them(site: Site) -> None:
    site.world.faults = Faults(resources={"Microsoft.Web/sites": ("BadQuota", "no more apps", 1)}, hides_details=True)
    with pytest.raises(CommandError, match=r"Microsoft.Web/sites \S+: BadQuota: no more apps"):
        site.deploy()
    site.deploy()
