"""Functions on AWS: made, made again, killed anywhere, two at once, taken back; faults; what is in the way."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fiso_cli.clouds.aws.names import Copy, Place
from fiso_cli.clouds.aws.steps import Wanted
from fiso_cli.errors import CommandError
from tests.emulator import running_emulator
from tests.functional.clouds.aws_rig import ACCOUNT, Fault, Rig, rig
from tests.functional.clouds.google_rig import Killed


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_emulator(tmp_path_factory.mktemp("emulator")) as found:
        yield found


@pytest.fixture
def aws(url: str, tmp_path: Path) -> Iterator[Rig]:
    with rig(url, tmp_path) as made:
        yield made
        made.wire.kill_at()
        made.wire.faults = []
        made.deployment(functions={}, now=later).remove(quiet)


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def later() -> datetime:
    """After the lock of a run that was killed is over."""
    return datetime.now(UTC) + timedelta(minutes=5)


def does(run: Any) -> set[str]:
    return {each.does for each in run.planned()}


def test_from_a_package_to_copies_with_the_tag_by_which_the_stage_may_invoke_them(aws: Rig) -> None:
    run = aws.deployment()
    assert does(run) == {"make"}
    assert aws.state() == {}
    assert len(run.apply(quiet).made) == 5
    again = aws.deployment()
    assert does(again) == {"keep"}
    before = aws.state()
    assert not again.apply(quiet).made
    assert aws.state() == before
    copies = again.endpoints()["time-keeper"]
    assert [each["id"] for each in copies] == ["aws-us-east-1-512", "aws-eu-west-1-512"]
    functions = aws.client("lambda")
    tags = functions.list_tags(Resource=copies[0]["address"])["Tags"]
    functions.close()
    assert (tags["fiso-target"], tags["fiso-stage"]) == ("prod", "prod")
    assert len(aws.deployment(functions={}).remove(quiet).removed) == 5
    assert aws.state() == {}
    assert not aws.deployment(functions={}).remove(quiet).removed


@pytest.mark.parametrize("function", ["keeper", "time-keeper", "orchestrator", "x" * 38 + "-y", "a"])
@pytest.mark.parametrize("stage", ["prod", "x-keeper", "a-stage-of-twenty-is"])
def test_no_name_is_one_that_the_orchestrator_may_never_invoke_and_each_fits(stage: str, function: str) -> None:
    import fnmatch
    import re

    of = Copy(place=Place(stage=stage, account=ACCOUNT), function=function, region="us-east-1", memory_mb=10240)
    role = of.place.role(function)
    denied = Path("scripts/serverless/roles.yml").read_text(encoding="utf-8")
    patterns = re.findall(r"function:(fiso-\*-[a-z-]+\*)", denied)
    assert len(patterns) >= 6
    assert not any(fnmatch.fnmatch(of.name, pattern) for pattern in patterns)
    assert len(of.name) <= 64
    assert len(role) <= 64
    assert fnmatch.fnmatch(of.name, of.place.copies(function))
    assert all(fnmatch.fnmatch(name, "fiso-*") for name in (of.name, role))


def test_killed_at_any_request_and_run_again_it_ends_the_same(aws: Rig) -> None:
    """A kill point before a request is sent, the next after one was carried out."""
    one: Any = {"regions": ("us-east-1",)}
    aws.deployment(**one).apply(quiet)
    wanted, kills, at = aws.state(), 0, 1
    while True:
        aws.wire.kill_at()
        aws.deployment(functions={}, now=later).remove(quiet)
        aws.wire.kill_at(at, before=kills % 2 == 0)
        try:
            aws.deployment(**one).apply(quiet)
            break
        except Killed:
            kills += 1
        finally:
            aws.wire.kill_at()
        aws.deployment(**one, now=later).apply(quiet)
        assert aws.state() == wanted, f"killed at request {at}"
        at += 1
    assert kills >= 20


def test_killed_at_any_request_of_a_removal_and_run_again_nothing_is_left(aws: Rig) -> None:
    for at in range(1, 200, 6):
        aws.deployment().apply(quiet)
        aws.wire.kill_at(at, before=at % 4 == 1)
        try:
            aws.deployment(functions={}).remove(quiet)
            break
        except Killed:
            continue
        finally:
            aws.wire.kill_at()
            aws.deployment(functions={}, now=later).remove(quiet)
            assert aws.state() == {}
    assert at > 20


def test_of_two_at_once_one_wins_and_the_other_says_who_is_at_it(aws: Rig) -> None:
    said: list[str] = []

    def in_the_middle(line: str) -> None:
        if "logs" in line and not said:
            with pytest.raises(CommandError) as refused:
                aws.deployment().apply(quiet)
            said.append(str(refused.value))

    aws.deployment().apply(in_the_middle)
    assert "is at this stage, its lock holds until" in said[0]
    assert does(aws.deployment()) == {"keep"}


ROLE = "The role defined for the function cannot be assumed by Lambda."


@pytest.mark.parametrize(
    "fault",
    [
        Fault("*", 503, "ServiceUnavailable", times=1),
        Fault("CreateFunction", 429, "TooManyRequestsException", times=2),
        Fault("CreateFunction", 400, "InvalidParameterValueException", ROLE, times=3),
        Fault("CreateFunction", 500, "ServiceException", after=True),
        Fault("CreateRole", 500, "ServiceFailure", after=True),
        Fault("PutRolePolicy", 409, "ConcurrentModification"),
        Fault("CreateLogGroup", times=1),
        Fault("CreateLogGroup", 500, "InternalFailure", after=True),
        Fault("ListTags", 500, "ServiceException"),
    ],
    ids=lambda fault: f"{fault.operation}-{fault.code or 'dropped'}",
)
def test_what_passes_is_waited_for_and_what_was_done_unanswered_is_not_done_twice(aws: Rig, fault: Fault) -> None:
    aws.wire.faults = [fault]
    aws.deployment().apply(quiet)
    aws.deployment().copies()
    assert fault.times == 0
    assert does(aws.deployment()) == {"keep"}


@pytest.mark.parametrize(
    ("operation", "permission", "who", "grant"),
    [
        ("CreateFunction", "lambda:CreateFunction", "arn:aws:iam::1:user/ops/ada", "put-user-policy --user-name ada"),
        ("CreateRole", "iam:CreateRole", "arn:aws:sts::1:assumed-role/ci/run-7", "put-role-policy --role-name ci"),
        ("CreateLogGroup", "logs:CreateLogGroup", "", "put-role-policy --role-name YOURS"),
        ("PutItem", "dynamodb:PutItem", "arn:aws:iam::1:user/ada", "put-user-policy --user-name ada"),
        ("GetFunction", "lambda:GetFunction", "arn:aws:iam::1:user/ada", "put-user-policy --user-name ada"),
        ("PutRetentionPolicy", "logs:PutRetentionPolicy", "arn:aws:iam::1:user/ada", "put-user-policy"),
        ("UpdateFunctionCode", "lambda:UpdateFunctionCode", "arn:aws:iam::1:user/ada", "put-user-policy"),
    ],
)
def test_a_missing_permission_is_named_with_the_command_that_grants_it(
    aws: Rig, operation: str, permission: str, who: str, grant: str
) -> None:
    if operation == "UpdateFunctionCode":
        aws.deployment().apply(quiet)
        (aws.folder / "package.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    message = f"User: {who} is not authorized to perform: {permission} on resource: x" if who else "no"
    aws.wire.faults = [Fault(operation, 403, "AccessDeniedException", message, times=9)]
    with pytest.raises(CommandError) as refused:
        aws.deployment().apply(quiet)
    said = str(refused.value)
    assert f"the permission {permission} is missing: aws iam {grant}" in said
    assert "\n" not in said


def test_a_function_that_hangs_ends_in_one_line_and_is_gone_on_with(aws: Rig) -> None:
    def pending(operation: str, parsed: Any) -> None:
        if operation == "GetFunctionConfiguration":
            parsed["State"] = "Pending"

    aws.wire.changes = pending
    run = aws.deployment()
    run.aws = replace(aws.aws, clock=iter(range(0, 10**9, 60)).__next__)
    with pytest.raises(CommandError, match=r"AWS is still at it after \d+ s: run it again later.*goes on from there"):
        run.apply(quiet)
    aws.wire.changes = lambda operation, parsed: None
    aws.deployment().apply(quiet)
    assert does(aws.deployment()) == {"keep"}


def test_what_somebody_changed_by_hand_is_seen_and_put_right(aws: Rig) -> None:
    aws.deployment().apply(quiet)
    wanted = aws.state()
    name = aws.deployment().endpoints()["time-keeper"][0]["address"]
    functions, logs, iam = aws.client("lambda"), aws.client("logs"), aws.client("iam")
    functions.update_function_configuration(FunctionName=name, MemorySize=1024)
    functions.untag_resource(Resource=name, TagKeys=["fiso-target"])
    logs.delete_retention_policy(logGroupName="/aws/lambda/fiso-prod-fn_time_keeper-512")
    iam.delete_role_policy(RoleName="fiso-prod-fn_time_keeper", PolicyName="logs")
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    why = [each.found.why for each in aws.deployment().planned() if each.does != "keep"]
    assert why == ["may not write logs", "keeps all days", "MemorySize: 1024 instead of 512"]
    functions.update_function_configuration(FunctionName=name, MemorySize=512)
    functions.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    assert aws.deployment().planned()[2].found.why == "lacks the tag fiso-target"
    aws.deployment().apply(quiet)
    assert aws.state() == wanted
    for client in (functions, logs, iam):
        client.close()


def test_other_code_and_another_size_are_seen_and_one_region_or_size_goes_alone(aws: Rig) -> None:
    aws.deployment(memories=(512, 1024)).apply(quiet)
    (aws.folder / "package.zip").write_bytes(b"PK\x05\x06" + b"\0" * 18)
    less = aws.deployment(regions=("us-east-1",), memories=(1024,))
    assert {each.found.why for each in less.planned()} == {"", "other code"}
    going = {"time-keeper": ["aws-eu-west-1-1024", "aws-eu-west-1-512", "aws-us-east-1-512"]}
    assert {each.does for each in less.surplus(going)} == {"remove"}
    done = less.apply(quiet, going)
    assert (len(done.changed), len(done.removed)) == (1, 6)
    assert aws.deployment().copies() == {"time-keeper": ["aws-us-east-1-1024"]}
    assert does(less) == {"keep"}


def _look_alikes(aws: Rig) -> None:
    """Things of FISO's own names without its tags, with half of them, and another stage's whole deployment."""
    aws.deployment(stage="test").apply(quiet)
    functions, logs, iam = aws.client("lambda"), aws.client("logs"), aws.client("iam")
    code = {"Runtime": "python3.13", "Handler": "a.b", "Role": f"arn:aws:iam::{ACCOUNT}:role/x"}
    tags: list[dict[str, str]] = [{}, {"fiso-stage": "prod"}, {"fiso-deployment": "a.b"}, {"fiso-stage": "prods"}]
    tags += [{"fiso-stage": "prods", "fiso-deployment": "time-keeper.aws-us-east-1-512"}, {"fiso-target": "prod"}]
    package = (aws.folder / "package.zip").read_bytes()
    for number, each in enumerate(tags):
        name = f"fiso-prod-fn_{'time_keeper' if number == 1 else number}-512"
        functions.create_function(FunctionName=name, Code={"ZipFile": package}, Tags=each, **code)
        logs.create_log_group(logGroupName=f"/aws/lambda/{name}", tags=each)
        listed = [{"Key": key, "Value": value} for key, value in each.items()]
        role = name.rpartition("-")[0] if number == 1 else name
        iam.create_role(RoleName=role, Path="/fiso-functions/", AssumeRolePolicyDocument="{}", Tags=listed)
    whole = {"fiso-stage": "prod", "fiso-deployment": "mine.aws-us-east-1-512"}  # ours by tags, somebody's by name
    functions.create_function(FunctionName="orders", Code={"ZipFile": package}, Tags=whole, **code)
    for client in (functions, logs, iam):
        client.close()


def _without_look_alikes(aws: Rig) -> None:
    aws.deployment(stage="test", functions={}).remove(quiet)
    functions, logs, iam = aws.client("lambda"), aws.client("logs"), aws.client("iam")
    for each in functions.list_functions()["Functions"]:
        functions.delete_function(FunctionName=each["FunctionName"])
    for each in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=each["logGroupName"])
    for each in iam.list_roles()["Roles"]:
        iam.delete_role(RoleName=each["RoleName"])
    for client in (functions, logs, iam):
        client.close()


@pytest.mark.parametrize("removals", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_what_only_looks_like_ours_is_named_where_it_is_in_the_way_and_survives_removals(
    aws: Rig, removals: int
) -> None:
    _look_alikes(aws)
    before = aws.state()
    with pytest.raises(CommandError) as refused:
        aws.deployment().planned()
    lines = [line.partition(":")[0] for line in str(refused.value).splitlines()[:-1]]
    assert lines == [
        "role time-keeper",
        "logs time-keeper aws-us-east-1-512",
        "function time-keeper aws-us-east-1-512",
    ]
    for _ in range(removals):
        assert not aws.deployment(functions={}).remove(quiet).removed
    assert aws.state() == before
    _without_look_alikes(aws)


def test_only_the_functions_that_are_named_go_when_some_are_named(aws: Rig) -> None:
    package = aws.folder / "package.zip"
    both = aws.deployment()
    wanted = Wanted(handler="handler.lambda_handler", package=package, architecture="x86_64")
    both = aws.deployment(functions={"time-keeper": wanted, "other": wanted})
    both.apply(quiet)
    assert len(aws.deployment(functions={"other": None}).remove(quiet).removed) == 5
    assert aws.deployment(functions={}).copies() == {"time-keeper": ["aws-eu-west-1-512", "aws-us-east-1-512"]}


def test_without_a_stage_there_is_one_line(aws: Rig) -> None:
    run = aws.deployment()
    run.table = "fiso-endpoint-state-nowhere"
    with pytest.raises(CommandError, match="deploy the stage first"):
        run.apply(quiet)
    assert not run.remove(quiet).removed
