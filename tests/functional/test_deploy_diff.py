"""`fiso deploy-diff`: what a deployment would change, told of the genuine template with one thing changed in it."""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner, Result

from fiso_cli.deploy_diff.command import AT_RISK, TITLES
from fiso_cli.main import app
from fiso_cli.packaging.template import make_template
from tests.aws_wire import Refusal, wired

Template = dict[str, Any]


class Case(NamedTuple):
    """What is changed in the template, and what is said of it under which weight."""

    name: str
    change: Callable[[Template], object]
    weight: str
    says: str


def put(*path: Any) -> Callable[[Template], object]:
    """A value at a path, which comes last; None takes it away."""

    def change(template: Template) -> None:
        *steps, last, value = path
        node: Any = template["Resources"]
        for step in steps:
            node = node[step]
        if value is None:
            del node[last]
        else:
            node[last] = value

    return change


def allow_more(template: Template) -> None:
    policy = template["Resources"]["KeeperRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    policy["Statement"].append({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})


def rename_function(template: Template) -> None:
    template["Resources"]["KeeperLambdaFunction"]["Properties"]["PackageType"] = "Image"


def without_table(template: Template) -> None:
    del template["Resources"]["Idempotency"]


TABLE = ("InvocationLog", "Properties")
ABSENT = Refusal(code="ValidationError", message="fiso-prod does not exist")
CASES = (
    Case("another name for a table", put(*TABLE, "TableName", "x"), "risk",
         "because TableName changes: the old one stays beside it, and the new one is empty"),
    Case("another key", put(*TABLE, "KeySchema", [{"AttributeName": "invocation_id", "KeyType": "HASH"}]), "risk",
         "may be replaced, because KeySchema changes"),
    Case("a key of another type", put("EndpointState", "Properties", "AttributeDefinitions", 0,
                                       "AttributeType", "N"), "risk",
         "because AttributeDefinitions changes; CloudFormation refuses that while TableName stays the same"),
    Case("a table without policy, renamed", put("EndpointState", "Properties", "TableName", "x"), "risk",
         "the old one is deleted with its items"),
    Case("a table leaves", without_table, "risk", "is deleted with its items"),
    Case("a kept table leaves", put("InvocationLog", None), "replaced", "leaves the stack and stays"),
    Case("the log is no longer kept", put("InvocationLog", "DeletionPolicy", "Delete"), "risk",
         "from now on it is deleted with the stack"),
    Case("no copies", put(*TABLE, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled", False), "risk",
         "its point-in-time copies are deleted"),
    Case("no stream", put(*TABLE, "StreamSpecification", None), "risk", "what is not consumed yet is lost"),
    Case("another view", put(*TABLE, "StreamSpecification", "StreamViewType", "KEYS_ONLY"), "risk", "a new one"),
    Case("not protected", put(*TABLE, "DeletionProtectionEnabled", False), "risk", "deleted by one command"),
    Case("shorter logs", put("ApiLogs", "Properties", "RetentionInDays", 7), "risk", "older than 7 days are deleted"),
    Case("no versions", put("Artifacts", "Properties", "VersioningConfiguration", "Status", "Suspended"), "risk",
         "what is overwritten is gone"),
    Case("another kind", put("ApiLogs", "Type", "AWS::SNS::Topic"), "risk", "becomes a topic"),
    Case("a role's name", put("KeeperRole", "Properties", "RoleName", "x"), "replaced", "because RoleName changes"),
    Case("a function of another package", rename_function, "replaced", "refuses that while FunctionName"),
    Case("more permissions", allow_more, "permission", "may from now on s3:* on *"),
    Case("fewer", put("KeeperRole", "Properties", "Policies", []), "permission", "may no more"),
    Case("memory", put("KeeperLambdaFunction", "Properties", "MemorySize", 512), "setting", "MemorySize"),
    Case("quotas are emptied", put("OrchestratorLambdaFunction", "Properties", "Environment", "Variables",
                                   "FISO_QUOTAS", ""), "setting", "FISO_QUOTAS 500/1000 -> nothing (it is emptied)"),
    Case("a key is not shown", put("ConsoleLambdaFunction", "Properties", "Environment", "Variables",
                                   "FISO_CATALOG_KEYS", "s3cret"), "setting", "FISO_CATALOG_KEYS changes"),
    Case("an alarm", put("LogSpillAlarm", "Properties", "Threshold", 5), "other", "changes in Threshold"),
    Case("a new thing", put("Another", {"Type": "AWS::SNS::Topic", "Properties": {}}), "other", "new"),
)  # fmt: skip


@pytest.fixture(scope="module")
def template() -> Template:
    found: Template = json.loads(make_template("prod").read_text())
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, template: object, **bills: object) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "cloudformation-template.json").write_text(json.dumps(template))
        for package, bill in bills.items():
            (made / f"{package}.cdx.json").write_text(json.dumps(bill))
        return made

    return make


def run(*arguments: object, environ: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["deploy-diff", *map(str, arguments)], env=environ)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_change_is_told_in_words(case: Case, template: Template, folder: Callable[..., Path]) -> None:
    changed = copy.deepcopy(template)
    case.change(changed)
    result = run(folder("before", template), folder("after", changed), "--json")
    document = json.loads(result.stdout)
    found = [each for each in document["changes"] if each["weight"] == case.weight and case.says in each["says"]]
    assert found, document["changes"]
    assert "s3cret" not in result.stdout
    is_risky = any(each["weight"] == "risk" for each in document["changes"])
    assert (document["is_data_at_risk"], result.exit_code) == (is_risky, AT_RISK if is_risky else 0)


def test_the_same_twice_is_nothing_and_so_is_another_time_of_packaging(
    template: Template, folder: Callable[..., Path]
) -> None:
    later = copy.deepcopy(template)
    for resource in later["Resources"].values():
        place = resource.get("Properties", {}).get("Code") or resource.get("Properties", {}).get("Content")
        if isinstance(place, dict):
            place["S3Key"] = "another/time.zip"
    result = run(folder("before", template), folder("after", later))
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "nothing changes")


def test_risks_stand_first_within_80_columns(template: Template, folder: Callable[..., Path]) -> None:
    changed = copy.deepcopy(template)
    for case in CASES[:8]:
        case.change(changed) if case.name != "a kept table leaves" else None
        changed["Resources"].setdefault("InvocationLog", copy.deepcopy(template["Resources"]["InvocationLog"]))
    allow_more(changed)
    result = run(folder("before", template), folder("after", changed))
    lines = result.stdout.splitlines()
    titles = [line for line in lines if line in TITLES]
    assert titles[0] == "Data at risk"
    assert "Permissions" in titles
    assert max(len(line) for line in lines[lines.index(titles[0]) :]) <= 80


def library(name: str, version: str) -> dict[str, Any]:
    return {"type": "library", "name": name, "version": version, "components": []}


def own(digest: str) -> dict[str, Any]:
    return {"type": "application", "components": [{"name": "a.py", "hashes": [{"content": digest}]}]}


def test_libraries_are_told_by_the_bills(template: Template, folder: Callable[..., Path]) -> None:
    old = [library("boto3", "1.44.5"), library("six", "1"), own("a")]
    new = [library("boto3", "1.45.0"), library("pg8000", "2"), own("b")]
    before = folder("before", template, keeper={"components": old})
    after = folder("after", template, keeper={"components": new})
    says = [each["says"] for each in json.loads(run(before, after, "--json").stdout)["changes"]]
    assert says == [
        "boto3 1.44.5 -> 1.45.0",
        "pg8000 not there -> 2",
        "six 1 -> gone",
        "1 files of FISO's own change",
    ]


def test_beside_what_is_deployed(
    template: Template, folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = copy.deepcopy(template)
    without_table(changed)
    (tmp_path / "build").mkdir()
    folder("build/prod", changed)
    monkeypatch.chdir(tmp_path)
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    with wired("http://127.0.0.1:9") as wire:
        environ = keys | {"AWS_ENDPOINT_URL": wire.url}
        wire.answers["cloudformation", "GetTemplate"] = {"TemplateBody": json.dumps(template)}
        told = run("--stage", "prod", environ=environ)
        wire.answers["cloudformation", "GetTemplate"] = ABSENT
        first = run("--stage", "prod", environ=environ)
    assert told.exit_code == AT_RISK
    assert "Idempotency (table fiso-idempotency-prod)" in told.stdout
    assert first.exit_code == 0
    assert "is not deployed" in first.stdout


@pytest.mark.parametrize(
    "arguments", [(), ("one",), ("no", "where"), ("a", "b", "--stage", "prod"), ("--stage", "Prod_EU")]
)
def test_bad_usage_is_one_line(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code > 0, result.stdout, result.stderr.count("\n")) == (True, "", 1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Resources": 1}'])
def test_what_is_no_template_is_one_line(text: str, template: Template, folder: Callable[..., Path]) -> None:
    broken = folder("broken", template)
    (broken / "cloudformation-template.json").write_text(text)
    result = run(folder("before", template), broken)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
