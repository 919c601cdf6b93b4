"""Deployments to Google: made, made again, killed anywhere, two at once, taken back; faults; what is in the way."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fiso_cli.errors import CommandError
from localcloud.google_cloud.world import Fault, Refused, throttled
from tests.functional.clouds.google_rig import PROJECT, Killed, Rig, cloud

RUN, CREATE = "run.projects.locations.services", "run.projects.locations.services.create"
EMPTY: dict[str, object] = {"things": {}, "policies": {}}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with cloud(tmp_path) as made:
        yield made


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def later() -> datetime:
    """After the lock of a run that was killed is over."""
    return datetime.now(UTC) + timedelta(minutes=5)


def test_from_a_folder_to_running_copies_and_a_second_run_finds_nothing_to_do(rig: Rig) -> None:
    run = rig.deployment()
    assert {each.does for each in run.planned()} == {"make", "change"}
    done = run.apply(quiet)
    assert len(done.made) + len(done.changed) == len(run.planned())
    again = rig.deployment()
    assert {each.does for each in again.planned()} == {"keep"}
    assert [len(found) for found in again.endpoints().values()] == [2]
    before = rig.state()
    assert not again.apply(quiet).made
    assert rig.state() == before


def test_looking_at_a_plan_changes_nothing(rig: Rig) -> None:
    rig.deployment().planned()
    assert (rig.state(), rig.world.enabled) == (EMPTY, {PROJECT: set()})
    assert {line.split()[0] for line in rig.switch.asked} <= {"GET", "POST"}


def test_what_was_made_is_taken_back_and_nothing_is_left(rig: Rig) -> None:
    rig.deployment().apply(quiet)
    done = rig.deployment(functions=()).remove(quiet)
    assert len(done.removed) == 9
    assert rig.state() == EMPTY
    assert not rig.deployment(functions=()).remove(quiet).removed


def _killed(run: Callable[[], object], rig: Rig, at: int, *, before: bool) -> bool:
    rig.switch.set(at, before=before)
    try:
        run()
    except Killed:
        return True
    finally:
        rig.switch.set()
    return False


def _requests(folder: Path) -> int:
    with cloud(folder) as rig:
        rig.deployment().apply(quiet)
        return rig.switch.count


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_any_request_and_run_again_it_ends_the_same(tmp_path: Path, every: int) -> None:
    """A kill point before a request is sent, the next after one was carried out; in full by `make samples`."""
    kills = 0
    with cloud(tmp_path) as rig:
        rig.deployment().apply(quiet)
        wanted = rig.state()
        for at in range(1, _requests(tmp_path / "counted"), every):
            for before in [True, False] if every == 1 else [at % 2 == 0]:
                rig.deployment(functions=(), now=later).remove(quiet)
                assert rig.state() == EMPTY
                rig.world.enabled.clear()
                kills += _killed(lambda: rig.deployment().apply(quiet), rig, at, before=before)
                rig.deployment(now=later).apply(quiet)
                assert rig.state() == wanted, f"killed at request {at}"
    assert kills >= 20


def test_killed_at_any_request_of_a_removal_and_run_again_nothing_is_left(tmp_path: Path) -> None:
    with cloud(tmp_path) as rig:
        for at in range(1, 200, 7):
            rig.deployment().apply(quiet)
            is_killed = _killed(lambda: rig.deployment(functions=()).remove(quiet), rig, at, before=at % 2 == 0)
            rig.deployment(functions=(), now=later).remove(quiet)
            assert rig.state() == EMPTY
            if not is_killed:
                break
    assert at > 40


def test_of_two_at_once_one_wins_and_the_other_says_who_is_at_it(rig: Rig, tmp_path: Path) -> None:
    first, second = rig.deployment(), rig.deployment()
    with cloud(tmp_path / "none") as other:  # a second set of connections, as two processes have
        other.google.endpoint = rig.server.url
        second.google = other.google
        said: list[str] = []

        def in_the_middle(line: str) -> None:
            if "repository" in line and not said:
                with pytest.raises(CommandError) as refused:
                    second.apply(quiet)
                said.append(str(refused.value))

        first.apply(in_the_middle)
        other.google.close()
    assert "is at this stage, its lock holds until" in said[0]
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


AWAY = Refused(503, "UNAVAILABLE", "The service is currently unavailable.")
BROKEN = Refused(500, "INTERNAL", "Internal error encountered.")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="*", refused=throttled(), times=3, skip=9),
        Fault(method="*", refused=AWAY, times=2),
        Fault(method="*", dropped=True, times=2, skip=20),
        *(
            Fault(method=method, after=True, **how)
            for how in ({"refused": BROKEN}, {"dropped": True})
            for method in (
                CREATE,
                f"{RUN}.setIamPolicy",
                "storage.buckets.insert",
                "storage.objects.insert",
                "iam.projects.serviceAccounts.create",
                "artifactregistry.projects.locations.repositories.create",
                "artifactregistry.projects.locations.repositories.setIamPolicy",
                "cloudresourcemanager.projects.setIamPolicy",
                "run.projects.locations.builds.submit",
                "serviceusage.services.batchEnable",
            )
        ),
    ],
    ids=lambda fault: f"{fault.method}-{'dropped' if fault.dropped else fault.refused.code}",
)
def test_what_passes_is_waited_for_and_what_was_done_unanswered_is_not_done_twice(rig: Rig, fault: Fault) -> None:
    rig.world.faults = [fault]
    rig.deployment().apply(quiet)
    assert fault.times == 0
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


@pytest.mark.parametrize("lag", [1, 5, 9])
def test_an_api_or_an_account_that_is_not_yet_known_everywhere_is_waited_for(rig: Rig, lag: int) -> None:
    rig.world.lag = lag
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


@pytest.mark.parametrize("method", [CREATE, "run.projects.locations.builds.submit", f"{RUN}.setIamPolicy"])
def test_a_service_that_does_not_know_a_new_account_yet_is_asked_again(rig: Rig, method: str) -> None:
    unknown = Refused(400, "INVALID_ARGUMENT", "Service account fiso-prod-run@x does not exist.")
    rig.world.faults = [Fault(method=method, refused=unknown, times=4)]
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


def test_a_new_account_that_may_not_be_read_yet_is_found_in_the_list(rig: Rig) -> None:
    denied = Refused(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.get' denied on resource")
    rig.world.faults = [Fault(method="iam.projects.serviceAccounts.get", refused=denied, times=3, skip=4)]
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


def test_another_who_writes_the_same_policy_loses_nothing(rig: Rig) -> None:
    rig.deployment().apply(quiet)
    policy = rig.world.policies[f"projects/{PROJECT}"]
    hers = {"role": "roles/viewer", "members": ["user:somebody@example.com"]}
    hers["condition"] = {"title": "till May", "expression": "request.time < timestamp('2027-05-01T00:00:00Z')"}  # type: ignore[assignment]
    audited = [{"service": "allServices", "auditLogConfigs": [{"logType": "DATA_READ"}]}]
    policy.update(version=3, auditConfigs=audited, bindings=[*policy["bindings"], hers])
    rig.world.faults = [
        Fault(method="cloudresourcemanager.projects.setIamPolicy", refused=Refused(409, "ABORTED", "x"))
    ]
    rig.deployment(functions=()).remove(quiet)
    left = rig.world.policies[f"projects/{PROJECT}"]
    assert (left["bindings"], left["auditConfigs"], left["version"]) == ([hers], audited, 3)


def test_half_a_service_is_mended_by_the_next_run(rig: Rig) -> None:
    rig.world.faults = [Fault(method=CREATE, failed={"code": 13, "message": "Revision is not\nready"})]
    with pytest.raises(CommandError, match=r"service hello .*is not ready.*the same command goes on") as failed:
        rig.deployment().apply(quiet)
    assert "\n" not in str(failed.value)
    changed = [each for each in rig.deployment().planned() if each.does == "change"]
    assert [each.found.why for each in changed] == ["is not ready: Revision is not ready"]
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


def test_an_operation_that_hangs_ends_in_one_line_and_is_gone_on_with(rig: Rig) -> None:
    rig.google._clock = iter(range(0, 10**9, 60)).__next__
    rig.world.faults = [Fault(method=CREATE, hangs=True)]
    with pytest.raises(CommandError, match=r"not done after \d+ s"):
        rig.deployment().apply(quiet)
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


@pytest.mark.parametrize(
    ("permission", "role"),
    [
        ("run.services.create", "roles/run.admin"),
        ("storage.buckets.create", "roles/storage.admin"),
        ("iam.serviceAccounts.create", "roles/iam.serviceAccountAdmin"),
        ("artifactregistry.repositories.create", "roles/artifactregistry.admin"),
        ("serviceusage.services.enable", "roles/serviceusage.serviceUsageAdmin"),
        ("resourcemanager.projects.setIamPolicy", "roles/resourcemanager.projectIamAdmin"),
        ("run.builds.create", "roles/run.admin"),
    ],
)
def test_a_missing_permission_is_named_with_the_command_that_grants_it(rig: Rig, permission: str, role: str) -> None:
    rig.world.denied = {permission}
    with pytest.raises(CommandError) as failed:
        rig.deployment().apply(quiet)
    said = str(failed.value)
    assert f"{permission} is missing: gcloud projects add-iam-policy-binding {PROJECT} " in said
    assert f"--role {role}" in said
    assert "\n" not in said
    rig.world.denied = set()
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


def test_what_somebody_changed_by_hand_is_seen_and_put_right(rig: Rig) -> None:
    rig.deployment().apply(quiet)
    name = next(name for name in rig.world.things if name.startswith("run/") and "us-east4" in name)
    rig.world.things[name]["template"]["maxInstanceRequestConcurrency"] = 80
    rig.world.policies[name]["bindings"].clear()
    changed = [(each.does, each.found.why) for each in rig.deployment().planned() if each.does != "keep"]
    assert changed == [("change", "maxInstanceRequestConcurrency: 80 instead of 1"), ("make", "")]
    rig.deployment().apply(quiet)
    assert {each.does for each in rig.deployment().planned()} == {"keep"}


def _look_alikes(rig: Rig) -> None:
    """Things of FISO's own names without its labels, with half of them, and another stage's whole deployment."""
    rig.deployment(stage="test").apply(quiet)
    world, where = rig.world, f"projects/{PROJECT}/locations/us-east4"
    labels = [{}, {"fiso-stage": "prod"}, {"fiso-deployment": "functions"}, {"fiso-stage": "prods"}]
    labels += [{"fiso-stage": "prod", "fiso-deployment": "monitoring"}]
    for number, each in enumerate(labels):
        service = {"name": f"{where}/services/fiso-prod-hello-{number}", "labels": each, "template": {}}
        world.put(f"run/{service['name']}", service)
        repository = {"name": f"{where}/repositories/fiso-prod-{number}", "labels": each, "format": "DOCKER"}
        world.put(f"ar/{repository['name']}", repository)
        world.things[f"ar/{repository['name']}"].pop("etag")
    for account, described in (("fiso-prod-run", "mine"), ("fiso-prod-make", ""), ("fiso-prod-x", "fiso-stage=prod")):
        email = f"{account}@{PROJECT}.iam.gserviceaccount.com"
        name = f"projects/{PROJECT}/serviceAccounts/{email}"
        world.put(f"iam/{name}", {"name": name, "email": email, "description": described, "projectId": PROJECT})
    world.put(f"bucket/fiso-prod-{PROJECT}", {"name": f"fiso-prod-{PROJECT}", "kind": "storage#bucket"})
    world.things[f"object/fiso-prod-{PROJECT}/source/x"] = {"name": "source/x", "generation": "1"}


def test_what_only_looks_like_ours_survives_a_hundred_removals(rig: Rig) -> None:
    _look_alikes(rig)
    before = rig.state()
    for _ in range(100):
        assert not rig.deployment(functions=()).remove(quiet).removed
    assert rig.state() == before


def test_the_callers_account_is_shared_with_the_trust_and_stays_while_that_is_set_up(rig: Rig) -> None:
    email = f"fiso-prod@{PROJECT}.iam.gserviceaccount.com"
    name = f"projects/{PROJECT}/serviceAccounts/{email}"
    mark = "fiso-stage=prod fiso-deployment=trust"
    rig.world.put(f"iam/{name}", {"name": name, "email": email, "description": mark, "projectId": PROJECT})
    rig.world.policies[f"iam/{name}"] = {"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": ["x"]}]}
    rig.deployment().apply(quiet)
    rig.deployment(functions=()).remove(quiet)
    assert [*rig.state()["things"]] == [f"iam/{name}"]
    del rig.world.policies[f"iam/{name}"]
    rig.deployment().apply(quiet)
    rig.deployment(functions=()).remove(quiet)
    assert rig.state() == EMPTY


def test_what_is_in_the_way_is_named_and_nothing_is_made(rig: Rig) -> None:
    _look_alikes(rig)
    before = rig.state()
    with pytest.raises(CommandError) as refused:
        rig.deployment().planned()
    lines = str(refused.value).splitlines()
    assert [line.partition(":")[0] for line in lines[:-1]] == [
        f"bucket fiso-prod-{PROJECT}",
        "account fiso-prod-make",
        "account fiso-prod-run",
    ]
    assert rig.state() == before


def test_only_the_functions_that_are_named_go_when_some_are_named(rig: Rig) -> None:
    other = rig.deployment().functions[0].__class__(function="other", folder=rig.hello, target="hello")
    both = [*rig.deployment().functions, other]
    rig.deployment(functions=both).apply(quiet)
    rig.deployment(functions=[other]).remove(quiet)
    does = {each.step.name: each.does for each in rig.deployment(functions=both).planned()}
    assert [name for name, what in does.items() if what != "keep"] == [
        *(f"{kind} other gcp-us-east4-512" for kind in ("service", "caller of")),
        *(f"{kind} other gcp-europe-west1-512" for kind in ("service", "caller of")),
    ]


def test_a_list_of_many_pages_is_read_to_its_end(rig: Rig) -> None:
    rig.world.page = 2
    rig.deployment().apply(quiet)
    rig.deployment(functions=()).remove(quiet)
    assert rig.state() == EMPTY
