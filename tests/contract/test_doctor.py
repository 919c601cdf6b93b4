"""`fiso doctor` as typed: a stage that is well, the same with everything that can be wrong with one, and stages of
which there is nothing yet."""

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner, Result

from fiso.adapters.aws.s3 import S3RetrainingRuns
from fiso.adapters.postgres.catalog import connect_from_url
from fiso.domain.model import RetrainingRun
from fiso_cli.doctor.checks import CHECKS, NAMES
from fiso_cli.doctor.finding import Verdict
from fiso_cli.doctor.rounds import parts_of
from fiso_cli.doctor.run import examine
from fiso_cli.doctor.site import Site
from fiso_cli.keeper_database import make, role_of
from fiso_cli.local_stage import CHECKOUT, DATABASE
from fiso_cli.main import app
from fiso_cli.migrations.runner import migrate
from fiso_cli.packaging.template import make_template
from fiso_cli.stage import Stage
from tests.aws_wire import Refusal
from tests.contract import postgres_server
from tests.doctor_site import OTHER_CODE, STAGE, Deployed, counted, deployed, publish, simulated
from tests.iam.policy import values

RECORDS, STATES, KEYS = (f"fiso-{name}-{STAGE}" for name in ("invocation-logs", "endpoint-state", "idempotency"))


class Seed(NamedTuple):
    """What somebody did, the check that finds it, words of the finding, and words of what mends it."""

    name: str
    check: str
    says: str
    mends: str
    seed: Callable[[Deployed], object]


def setting(function: str, **values: Any) -> Callable[[Deployed], object]:
    return lambda made: made.aws("lambda").update_function_configuration(
        FunctionName=f"fiso-{STAGE}-{function}", **values
    )


def variable(function: str, **values: str) -> Callable[[Deployed], object]:
    def turn(made: Deployed) -> None:
        setting(function, Environment={"Variables": made.variables(function) | values})(made)

    return turn


def asked(service: str, operation: str, **values: Any) -> Callable[[Deployed], object]:
    return lambda made: getattr(made.aws(service), operation)(**values)


def answered(service: str, operation: str, answer: object) -> Callable[[Deployed], object]:
    return lambda made: made.wire.answers.update({(service, operation): answer})


def in_bucket(operation: str, **values: Any) -> Callable[[Deployed], object]:
    return lambda made: getattr(made.aws("s3"), operation)(Bucket=made.bucket, **values)


def of_code(made: Deployed) -> None:
    made.aws("s3").put_object(Bucket="code", Key="other.zip", Body=OTHER_CODE)
    made.aws("lambda").update_function_code(FunctionName=f"fiso-{STAGE}-console", S3Bucket="code", S3Key="other.zip")


def of_layer(made: Deployed) -> None:
    arn = made.aws("lambda").get_function_configuration(FunctionName=f"fiso-{STAGE}-orchestrator")["Layers"][0]["Arn"]
    *_, name, version = arn.split(":")
    made.aws("lambda").delete_layer_version(LayerName=name, VersionNumber=int(version))


def of_mapping(made: Deployed) -> None:
    listed = made.aws("lambda").list_event_source_mappings(FunctionName=f"fiso-{STAGE}-stream-consumer")
    mapping = listed["EventSourceMappings"][0]
    made.aws("lambda").update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


def of_key(made: Deployed) -> None:
    key = made.aws("kms").describe_key(KeyId=f"alias/fiso-{STAGE}-models")["KeyMetadata"]["KeyId"]
    made.aws("kms").disable_key(KeyId=key)


def of_runs(made: Deployed) -> None:
    objects = made.aws("s3").list_objects_v2(Bucket=made.bucket, Prefix="retraining/runs/")["Contents"]
    for each in objects:
        made.aws("s3").delete_object(Bucket=made.bucket, Key=each["Key"])
    at = datetime.now(UTC) - timedelta(days=9)
    run = RetrainingRun(started_at=at, trigger="schedule", rows=1, promoted=False, reason="-", champion_version="1")
    S3RetrainingRuns(made.aws("s3"), made.bucket).append(run)


def of_alarm(made: Deployed) -> None:
    found = made.aws("cloudwatch").describe_alarms(AlarmNames=[f"fiso-{STAGE}-log-spill"])["MetricAlarms"][0]
    kept = ("AlarmName", "Namespace", "MetricName", "Dimensions", "Statistic", "Period", "Threshold")
    named = {name: found[name] for name in (*kept, "EvaluationPeriods", "ComparisonOperator")}
    made.aws("cloudwatch").put_metric_alarm(**named, AlarmActions=[])


PENDING = {
    "SubscriptionArn": "PendingConfirmation",
    "Owner": "000000000000",
    "Protocol": "email",
    "Endpoint": "ada@example.com",
    "TopicArn": "arn:aws:sns:us-east-1:000000000000:fiso-alarms",
}
FEW = {"TotalCodeSize": 1, "CodeSizeUnzipped": 1, "CodeSizeZipped": 1, "ConcurrentExecutions": 10}
REFUSED = {
    "orchestrator": "lambda:InvokeFunction",
    "keeper": "dynamodb:Query",
    "user/": "cloudformation:CreateC",
}


def refusing(asked: Mapping[str, Any]) -> dict[str, Any]:
    action = next((each for of, each in REFUSED.items() if of in asked["PolicySourceArn"]), "nothing")
    return simulated(action)(asked)


def of_health(made: Deployed) -> None:
    part = {"is": "missing", "reason": "none could be read, or published"}
    made.wire.pages["/healthz"] = {"status": "unavailable", "code_version": "0.0.1", "parts": {"snapshot": part}}


REDEPLOY = f"serverless deploy --stage {STAGE}"
SEEDS = (
    Seed("memory changed", "settings", "keeper is not as it was deployed: MemorySize", "serverless.yml",
         setting("keeper", MemorySize=1024)),
    Seed("variable changed", "settings", "FISO_MINIMUM_ROWS", REDEPLOY, variable("retrainer", FISO_MINIMUM_ROWS="1")),
    Seed("variable added", "settings", "FISO_ENDPOINT_HOSTS", REDEPLOY,
         variable("orchestrator", FISO_ENDPOINT_HOSTS="a.example.com", FISO_CATALOG_KEYS="")),
    Seed("other code", "versions", "console runs other code", REDEPLOY, of_code),
    Seed("layer deleted", "layers", "is deleted", REDEPLOY, of_layer),
    Seed("no expiry", "tables", f"{RECORDS} never forgets", f"update-time-to-live --table-name {RECORDS}",
         asked("dynamodb", "update_time_to_live", TableName=RECORDS,
               TimeToLiveSpecification={"Enabled": False, "AttributeName": "expires_at"})),
    Seed("no copies", "tables", f"{STATES} has no point-in-time", "PointInTimeRecoveryEnabled=true",
         asked("dynamodb", "update_continuous_backups", TableName=STATES,
               PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False})),
    Seed("table deleted", "tables", f"{KEYS} is gone", "restore-table-to-point-in-time",
         asked("dynamodb", "delete_table", TableName=KEYS)),
    Seed("stream off", "stream", "the stream is Disabl", "update-event-source-mapping", of_mapping),
    Seed("no versions", "bucket", "keeps no old versions", "put-bucket-versioning",
         in_bucket("put_bucket_versioning", VersioningConfiguration={"Status": "Suspended"})),
    Seed("public", "bucket", "may be opened to the public", "put-public-access-block",
         in_bucket("delete_public_access_block")),
    Seed("no rules", "bucket", "forgets nothing", REDEPLOY, in_bucket("delete_bucket_lifecycle")),
    Seed("no TLS", "bucket", "takes requests without TLS", REDEPLOY, in_bucket("delete_bucket_policy")),
    Seed("no URL", "secret", "holds no database's URL", f"fiso keeper-database --stage {STAGE}",
         asked("secretsmanager", "create_secret", Name=f"fiso/{STAGE}/keeper-database", SecretString="hunter2")),
    Seed("key disabled", "signing", "models is Disabled", "aws kms enable-key", of_key),
    Seed("key not trusted", "signing", "orchestrator does not trust alias/fiso-prod-catalog",
         f"fiso setup --stage {STAGE}", lambda made: None),
    Seed("no lease key", "keys", "there is no parameter /fiso/prod/lease-keys", f"fiso lease-key --stage {STAGE}",
         asked("ssm", "delete_parameter", Name=f"/fiso/{STAGE}/lease-keys")),
    Seed("other word", "gateway", "console does not know the word", f"fiso gateway-key --stage {STAGE}",
         variable("console", FISO_GATEWAY_HASHES="0" * 64)),
    Seed("catalog refused", "catalog", "the published catalog is refused", "fiso apply", lambda made: None),
    Seed("function missing", "targets", "gone: there is no function nobody in us-east-1", "correct its address",
         lambda made: publish(made, version=2, gone="nobody")),
    Seed("function refused", "targets", "the orchestrator may not invoke thumbnails", "fiso-target=prod",
         answered("iam", "SimulatePrincipalPolicy", refusing)),
    Seed("role cut", "roles", "may not dynamodb:Query", REDEPLOY, lambda made: None),
    Seed("deployer", "deployer", "not cloudformation:CreateChangeSet", "deployer-policy.json", lambda made: None),
    Seed("mute alarm", "alarms", "1 of", "alarm", of_alarm),
    Seed("nobody confirmed", "alarms", "waits for its receiver's confirmation", "confirm by the mail's link",
         answered("sns", "ListSubscriptionsByTopic", {"Subscriptions": [PENDING]})),
    Seed("actions off", "alarms", "their actions are off: fiso-prod-dead-letters", "enable-alarm-actions",
         asked("cloudwatch", "disable_alarm_actions", AlarmNames=[f"fiso-{STAGE}-dead-letters"])),
    Seed("alarm deleted", "alarms", "alarms are gone: fiso-prod-stale-catalog", REDEPLOY,
         asked("cloudwatch", "delete_alarms", AlarmNames=[f"fiso-{STAGE}-stale-catalog"])),
    Seed("ringing", "alarms", "ringing: fiso-prod-faults", "describe-alarms",
         asked("cloudwatch", "set_alarm_state", AlarmName=f"fiso-{STAGE}-faults", StateValue="ALARM", StateReason="-")),
    Seed("schedule off", "schedules", "fiso-prod-keeper is disabled", "aws events enable-rule --name fiso-prod-keeper",
         asked("events", "disable_rule", Name=f"fiso-{STAGE}-keeper")),
    Seed("keeper fails", "keeper", "failed in 15 of its last 15 rounds", "aws logs tail",
         answered("cloudwatch", "GetMetricStatistics", counted(Invocations=15.0, Errors=15.0))),
    Seed("no retraining", "retrainer", "last ran 9 days ago", f"fiso retrain --stage {STAGE}", of_runs),
    Seed("ten at once", "quotas", "10 functions of this account", "L-B99A9384",
         answered("lambda", "GetAccountSettings", {"AccountLimit": FEW | {"UnreservedConcurrentExecutions": 10}})),
    Seed("API's rate", "quotas", "routes let 2,000 requests", "--desired-value 2000",
         answered("service-quotas", "GetServiceQuota", {"Quota": {"Value": 1000.0}})),
    Seed("table's rate", "quotas", "a table may take 4,000", "L-F98FE922",
         answered("dynamodb", "DescribeLimits", {"TableMaxWriteCapacityUnits": 4000})),
    Seed("serves nobody", "api", "serves nobody: snapshot missing", "fiso apply", of_health),
    Seed("other version", "api", "the stage is version 0.0.1", REDEPLOY, lambda made: None),
)  # fmt: skip
"""Where there is nothing to do, another seed did it: one fault may be seen in two places."""


def run(environ: Mapping[str, str], *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", *arguments], env=dict(environ))


def found_by(result: Result) -> list[dict[str, str]]:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    findings: list[dict[str, str]] = json.loads(result.stdout)["findings"]
    return findings


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    with deployed(tmp_path_factory.mktemp("doctor"), make_template(STAGE)) as stage:
        yield stage


@pytest.fixture(scope="module")
def before(made: Deployed) -> list[dict[str, str]]:
    return found_by(run(made.environ, "--stage", STAGE, "--json"))


@pytest.fixture(scope="module")
def after(made: Deployed, before: list[dict[str, str]]) -> list[dict[str, str]]:
    for seed in SEEDS:
        seed.seed(made)
    return found_by(run(made.environ, "--stage", STAGE, "--json"))


def bad(findings: list[dict[str, str]]) -> list[str]:
    return [f"{each['check']}: {each['what']}" for each in findings if each["verdict"] in ("wrong", "unknown")]


def test_a_stage_that_is_well_lacks_only_what_no_emulator_has(before: list[dict[str, str]]) -> None:
    assert bad(before) == [f"secret: there is no secret fiso/{STAGE}/keeper-database"]
    assert {each["check"] for each in before} == set(NAMES)


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_it_finds_what_is_wrong_and_names_what_mends_it(
    seed: Seed, before: list[dict[str, str]], after: list[dict[str, str]]
) -> None:
    def seen(findings: list[dict[str, str]]) -> list[dict[str, str]]:
        return [each for each in findings if each["check"] == seed.check and seed.says in each["what"]]

    assert seen(before) == [], "not before it was so"
    (finding,) = seen(after)
    assert finding["verdict"] in ("wrong", "warning")
    assert finding["why"]
    assert seed.mends in finding["fix"]


def test_nothing_else_is_found_wrong_and_no_secret_is_shown(after: list[dict[str, str]]) -> None:
    said = json.dumps(after)
    explained = [seed.says for seed in SEEDS] + ["orchestrator may not lambda:InvokeFunction"]
    assert [line for line in bad(after) if not any(says in line for says in explained)] == []
    assert not any(secret in said for secret in ("hunter2", "k1:aaaa", "a.example.com"))


@pytest.mark.usefixtures("after")
def test_the_command_fits_80_columns_and_its_commands_may_be_copied(made: Deployed) -> None:
    result = run(made.environ, "--stage", STAGE, "--only", "quotas", "--only", "tables")
    assert result.exit_code == 1
    assert max(map(len, result.stdout.splitlines())) <= 80
    copied = result.stdout.replace(" \\\n        ", " ")
    assert f"aws dynamodb update-time-to-live --table-name {RECORDS} --time-to-live-specification" in copied
    assert "alarms" not in result.stdout


@pytest.mark.usefixtures("after")
def test_a_cloud_alone_is_not_well_without_a_catalog_that_names_its_copies(made: Deployed) -> None:
    result = run(made.environ, "--stage", STAGE, "--cloud", "gcp", "--json")
    found = found_by(result)
    assert [each["what"] for each in found if each["check"] == "catalog" and each["verdict"] == "wrong"]
    assert {each["check"].partition("-")[0] for each in found} - {"stack", "identity"} == {"catalog", "gcp"}
    assert result.exit_code == 1


def test_warnings_alone_are_no_failure(made: Deployed) -> None:
    result = run(made.environ, "--stage", STAGE, "--only", "schedules", "--only", "database", "--json")
    wrong = {each["check"] for each in found_by(result) if each["verdict"] == "wrong"}
    assert (result.exit_code, wrong - {"schedules"}) == (1, set())
    made.aws("events").enable_rule(Name=f"fiso-{STAGE}-keeper")
    assert run(made.environ, "--stage", STAGE, "--only", "schedules", "--only", "database").exit_code == 0


def test_what_alarms_are_composed_of_need_tell_nobody() -> None:
    resources = json.loads(make_template(STAGE).read_text())["Resources"]
    parts = parts_of({"Resources": resources})
    silent = {name for name, each in resources.items() if "AlarmName" in each.get("Properties", {})}
    assert parts == {name for name in silent if not resources[name]["Properties"].get("AlarmActions")}
    assert parts


NOBODY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
AWAY = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true"}
STACKS = ("cloudformation", "DescribeStacks")


def stack(status: str) -> dict[str, Any]:
    one = {"StackName": f"fiso-{STAGE}", "CreationTime": datetime.now(UTC), "StackStatus": status}
    return {"Stacks": [one | {"StackId": f"arn:aws:cloudformation:us-east-1:000000000000:stack/fiso-{STAGE}/1"}]}


@pytest.mark.parametrize(
    ("answer", "says", "mends"),
    [
        (stack("ROLLBACK_COMPLETE"), "its first deployment failed", "aws cloudformation delete-stack"),
        (stack("UPDATE_ROLLBACK_FAILED"), "is UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        (stack("UPDATE_ROLLBACK_COMPLETE"), "the last deployment was taken back", "describe-stack-events"),
        (stack("UPDATE_IN_PROGRESS"), "is UPDATE_IN_PROGRESS", "describe-stack-events"),
        (Refusal(code="ValidationError", message="Stack with id fiso-prod does not exist"), "there is no", REDEPLOY),
        (Refusal(code="AccessDenied", status=403), "you may not ask for it (DescribeStacks)", "deployer-policy.json"),
    ],
    ids=["first failed", "stuck", "taken back", "under way", "no stack", "not allowed"],
)
def test_a_stack_that_does_not_stand(made: Deployed, answer: object, says: str, mends: str) -> None:
    made.wire.answers[STACKS] = answer
    try:
        findings = found_by(run(made.environ, "--stage", STAGE, "--only", "stack", "--json"))
    finally:
        del made.wire.answers[STACKS]
    (finding,) = (each for each in findings if each["check"] == "stack" and says in each["what"])
    assert mends in finding["fix"]


@pytest.mark.parametrize(("seconds", "verdict"), [(0, "ok"), (30, "warning"), (-400, "wrong")])
def test_a_clock_that_is_off(made: Deployed, seconds: int, verdict: str) -> None:
    made.wire.headers["Date"] = format_datetime(datetime.now(UTC) - timedelta(seconds=seconds), usegmt=True)
    try:
        findings = found_by(run(made.environ, "--stage", STAGE, "--only", "clock", "--json"))
    finally:
        made.wire.headers.clear()
    assert [each["verdict"] for each in findings if each["check"] == "clock"] == [verdict]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (NOBODY | AWAY, "there are no AWS credentials"),
        ({"AWS_PROFILE": "nonesuch"} | AWAY, "nonesuch"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "AWS does not answer"),
    ],
    ids=["no credentials", "no such profile", "no network"],
)
def test_half_configured_it_says_so_and_goes_on(made: Deployed, environ: Mapping[str, str], says: str) -> None:
    result = run({**made.environ, **environ}, "--stage", STAGE, "--json")
    findings = found_by(result)
    assert result.exit_code == 1
    assert any(says in each["what"] for each in findings if each["check"] == "identity")
    skipped = {each["check"] for each in findings if each["verdict"] == "skipped"}
    assert {"prices", "database"} & skipped == set()
    assert {"stack", "tables", "alarms"} <= skipped


def test_who_acts_by_a_role_is_simulated_as_that_role(made: Deployed) -> None:
    """IAM simulates users and roles, not sessions; a role may have a path, which its sessions' names have not."""
    session = "arn:aws:sts::000000000000:assumed-role/deployer/ada"
    seen: list[str] = []

    def simulate(asked: Mapping[str, Any]) -> dict[str, Any]:
        seen.append(asked["PolicySourceArn"])
        return simulated("nothing")(asked)

    before = dict(made.wire.answers)
    made.aws("iam").create_role(RoleName="deployer", Path="/people/", AssumeRolePolicyDocument="{}")
    made.wire.answers["sts", "GetCallerIdentity"] = {"UserId": "A", "Account": "000000000000", "Arn": session}
    made.wire.answers["iam", "SimulatePrincipalPolicy"] = simulate
    try:
        findings = found_by(run(made.environ, "--stage", STAGE, "--only", "deployer", "--json"))
    finally:
        made.wire.answers = before
    assert [each["verdict"] for each in findings if each["check"] == "deployer"] == ["ok"]
    assert set(seen) == {"arn:aws:iam::000000000000:role/people/deployer"}


def test_a_service_that_stands_still_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        for name, value in (keys | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}).items():
            monkeypatch.setenv(name, value)
        site = Site(stage=Stage.named("prod"))
        findings = {each.check: each for each in examine(site, CHECKS, within_s=0.5)}
    assert findings["identity"].verdict is Verdict.WRONG
    assert "who you are within 0.5 s" in findings["identity"].what
    assert findings["tables"].verdict is Verdict.SKIPPED
    assert findings["prices"].verdict is Verdict.OK


def test_what_is_asked_for_wrongly_is_one_line(made: Deployed) -> None:
    for arguments in (("--stage", "Prod_EU"), ("--stage", STAGE, "--only", "tablets")):
        result = run(made.environ, *arguments)
        assert (result.exit_code > 0, result.stdout, result.stderr.count("\n")) == (True, "", 1)


def test_the_local_database_is_looked_at_without_a_cloud(server: str, tmp_path: Path) -> None:
    url = postgres_server.new_database(server, DATABASE)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "password").write_text("any")
    environ = {"FISO_LOCAL_DIR": str(tmp_path), "FISO_LOCAL_PORT": str((urlsplit(url).port or 0) - 6)}

    def says() -> list[str]:
        findings = found_by(run(environ, "--only", "database", "--json"))
        return [each["what"] for each in findings if each["check"] == "database"]

    behind, role = says()
    assert "migrations behind: 0001_catalog" in behind
    assert role == f"there is no role {role_of('local')}"
    connect = connect_from_url(url, is_local=True)
    migrate(connect)
    make(connect, role_of("local"), "pw")
    assert says() == ["the schema is the newest", f"role {role_of('local')} may log in"]


ACTIONS = {
    "apigatewayv2:GetIntegrations": "apigateway:GET",
    "lambda:Invoke": "lambda:InvokeFunction",
    "lambda:GetLayerVersionByArn": "lambda:GetLayerVersion",
    "s3:GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3:GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "service-quotas:GetServiceQuota": "servicequotas:GetServiceQuota",
}
"""Operations whose action has another name (Service Authorization Reference)."""


@pytest.mark.usefixtures("before")
def test_an_operator_may_ask_whatever_doctor_asks_and_it_changes_nothing(made: Deployed) -> None:
    operations = {f"{service}:{operation}" for service, operation in made.wire.asked}
    policy = json.loads((CHECKOUT / "scripts/serverless/operator-policy.json").read_text())["Statement"]
    allowed = {action for statement in policy for action in values(statement["Action"])}
    assert {ACTIONS.get(each, each) for each in operations} - allowed == set()
    assert len(operations) > 30
    verbs = re.compile(r":(Describe|Get|Head|List|Invoke$|Simulate)")
    assert [each for each in operations if not verbs.search(each)] == []


def test_the_page_names_each_check() -> None:
    page = (CHECKOUT / "docs/doctor.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE) == list(NAMES)
