"""The CloudFormation template of stage prod, packaged without an account: roles, routes, tables, settings."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cfnlint.api import ManualArgs, lint

from fiso.adapters.aws.dynamodb import closed_item, open_item
from fiso.console_settings import ConsoleSettings
from fiso.retrainer_settings import RetrainerSettings
from fiso.services.identity.access import GATEWAY_WORD
from fiso.services.identity.quotas import in_words
from fiso.services.log.spill import MARK
from fiso.settings import (
    BadSetting,
    KeeperSettings,
    OrchestratorSettings,
    StreamConsumerSettings,
)
from fiso_cli.local_stage import project_file
from fiso_cli.packaging.template import make_template, serverless_package
from fiso_cli.setup import signing_keys
from fiso_cli.setup.settings import FIRST
from localcloud.stream_pump.mapping import from_document
from tests.builders import a_record, an_open_record

FUNCTIONS = {"orchestrator", "stream-consumer", "archiver", "retrainer", "keeper", "console"}


@pytest.fixture(scope="module")
def path() -> Path:
    return make_template("prod")


@pytest.fixture(scope="module")
def resources(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())["Resources"]
    assert isinstance(found, dict)
    return found


def of_type(resources: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {name: value["Properties"] for name, value in resources.items() if value["Type"] == f"AWS::{kind}"}


def function(resources: Mapping[str, Any], name: str) -> Any:
    every = of_type(resources, "Lambda::Function").values()
    (found,) = [properties for properties in every if properties["FunctionName"] == f"fiso-prod-{name}"]
    return found


def statements(resources: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for role in of_type(resources, "IAM::Role").values():
        for policy in role["Policies"]:
            yield from policy["PolicyDocument"]["Statement"]


def test_the_sample_is_on_stages_to_look_at_and_asks_aws_for_nothing_but_its_log(tmp_path: Path) -> None:
    resources = json.loads(serverless_package("dev", tmp_path).read_text())["Resources"]
    names = {properties["FunctionName"] for properties in of_type(resources, "Lambda::Function").values()}
    assert names == {f"fiso-dev-{name}" for name in (*FUNCTIONS, "sample-aws")}
    (policy,) = resources["SampleAwsRole"]["Properties"]["Policies"]
    (only,) = policy["PolicyDocument"]["Statement"]
    assert only["Resource"] == {"Fn::GetAtt": ["SampleAwsLogs", "Arn"]}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_cfn_lint_is_content(path: Path) -> None:
    linter = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([str(linter), str(path)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def test_every_function_has_a_role_of_its_own(resources: dict[str, Any]) -> None:
    every = of_type(resources, "Lambda::Function").values()
    assert {properties["FunctionName"] for properties in every} == {f"fiso-prod-{name}" for name in FUNCTIONS}
    roles = {properties["Role"]["Fn::GetAtt"][0] for properties in every}
    assert len(roles) == len(FUNCTIONS)
    assert roles == set(of_type(resources, "IAM::Role")) - {"CanaryRole"}


def test_nothing_but_its_role_lets_a_function_do_anything(resources: dict[str, Any]) -> None:
    """What grants beside it is known: the models' key, which `tests/contract/test_roles.py` counts with the roles."""
    kinds = {value["Type"] for value in resources.values()}
    assert {kind for kind in kinds if "::IAM::" in kind or kind.endswith("Policy")} == {
        "AWS::IAM::Role",
        "AWS::S3::BucketPolicy",
    }
    for policy in of_type(resources, "S3::BucketPolicy").values():
        assert {one["Effect"] for one in policy["PolicyDocument"]["Statement"]} == {"Deny"}
    for role in of_type(resources, "IAM::Role").values():
        assert set(role) - {"ManagedPolicyArns"} == {"RoleName", "AssumeRolePolicyDocument", "Policies"}
        assert role.get("ManagedPolicyArns", []) == []
    assert not [table for table in of_type(resources, "DynamoDB::Table").values() if "ResourcePolicy" in table]


def test_a_role_is_lambdas_alone_and_a_function_is_called_by_its_own_gateway_or_schedule(
    resources: dict[str, Any],
) -> None:
    for name, role in of_type(resources, "IAM::Role").items():
        (trusted,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trusted == {
            "Effect": "Allow",
            "Principal": {"Service": f"{'codedeploy' if name == 'CanaryRole' else 'lambda'}.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    callers = set()
    for name, permission in of_type(resources, "Lambda::Permission").items():
        if name == "SpilledLinesPermission":
            assert (permission["FunctionName"], permission["Principal"]) == (
                {"Ref": "ArchiverLiveAlias"},
                "logs.amazonaws.com",
            )
            assert permission["SourceArn"] == {"Fn::GetAtt": ["ApiLogs", "Arn"]}
            continue
        source = json.dumps(permission["SourceArn"])
        assert re.search(r'"(HttpApi|KeeperEventsRuleSchedule1|RetrainerEventsRuleSchedule[1234])"', source), source
        callers.add((live_of(permission["FunctionName"]), permission["Principal"]))
    assert callers == {
        ("OrchestratorLambdaFunction", "apigateway.amazonaws.com"),
        ("ConsoleLambdaFunction", "apigateway.amazonaws.com"),
        ("KeeperLambdaFunction", "events.amazonaws.com"),
        ("RetrainerLambdaFunction", "events.amazonaws.com"),
    }


def live_of(reference: Any) -> str:
    """The function whose alias `live` is meant."""
    arn, alias = reference["Fn::Join"][1]
    assert alias == "live"
    return str(arn["Fn::GetAtt"][0])


def test_whatever_calls_a_function_calls_its_version_that_is_live(resources: dict[str, Any]) -> None:
    called = [of["IntegrationUri"] for of in of_type(resources, "ApiGatewayV2::Integration").values()]
    called += [target["Arn"] for rule in of_type(resources, "Events::Rule").values() for target in rule["Targets"]]
    called += [mapping["FunctionName"] for mapping in of_type(resources, "Lambda::EventSourceMapping").values()]
    functions = of_type(resources, "Lambda::Function")
    assert {live_of(reference) for reference in called} == set(functions)
    versions = of_type(resources, "Lambda::Version")
    for alias in of_type(resources, "Lambda::Alias").values():
        assert alias["Name"] == "live"
        version, _ = alias["FunctionVersion"]["Fn::GetAtt"]
        assert versions.pop(version)["FunctionName"] == alias["FunctionName"]
        functions.pop(alias["FunctionName"]["Ref"])
    assert (functions, versions) == ({}, {})


def test_a_version_of_a_deployment_that_failed_is_not_in_the_next_ones_way(resources: dict[str, Any]) -> None:
    policies = {of["DeletionPolicy"] for of in resources.values() if of["Type"] == "AWS::Lambda::Version"}
    assert policies == {"RetainExceptOnCreate"}


def test_the_orchestrator_moves_bit_by_bit_and_back_by_alarms_that_there_are(resources: dict[str, Any]) -> None:
    moved = {name: of.get("UpdatePolicy") for name, of in resources.items() if of["Type"] == "AWS::Lambda::Alias"}
    orchestrators = moved.pop("OrchestratorLiveAlias")
    assert set(moved.values()) == {None}
    group = orchestrators["CodeDeployLambdaAliasUpdate"]["DeploymentGroupName"]["Ref"]
    properties = resources[group]["Properties"]
    assert properties["DeploymentConfigName"] == "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
    alarms = {alarm["Name"]["Ref"] for alarm in properties["AlarmConfiguration"]["Alarms"]}
    assert {resources[alarm]["Properties"]["MetricName"] for alarm in alarms} == {"Errors", "Defects"}
    assert "DEPLOYMENT_STOP_ON_ALARM" in properties["AutoRollbackConfiguration"]["Events"]


def test_the_keeper_alone_signs_models_and_catalogs_and_who_reads_knows_public_halves_alone(
    resources: dict[str, Any],
) -> None:
    in_roles = [one for one in statements(resources) if any("kms" in action for action in as_list(one["Action"]))]
    assert in_roles == []
    orchestrator = function(resources, "orchestrator")["Environment"]["Variables"]
    assert {name for name in orchestrator if "MODEL" in name} == {"FISO_MODEL_DIR", "FISO_MODEL_KEYS"}
    retrainer = function(resources, "retrainer")["Environment"]["Variables"]
    assert not [name for name in retrainer if "SIGNING" in name]
    keeper = function(resources, "keeper")["Environment"]["Variables"]
    assert (keeper["FISO_CATALOG_SIGNING_KEY_ID"], keeper["FISO_CATALOG_SIGNING_KEY"]) == ({"Ref": "CatalogKeyId"}, "")
    assert (keeper["FISO_MODEL_SIGNING_KEY_ID"], keeper["FISO_MODEL_SIGNING_KEY"]) == ({"Ref": "ModelKeyId"}, "")
    for reader in ("orchestrator", "console"):
        trust = function(resources, reader)["Environment"]["Variables"]
        assert trust["FISO_CATALOG_KEYS"] == {"Ref": "CatalogKeys"}


def test_the_keeper_has_a_database_secret_of_its_own_and_nobody_else_has_any(resources: dict[str, Any]) -> None:
    readers = [
        (role["RoleName"], statement["Resource"]["Fn::Sub"].rpartition(":")[2])
        for role in of_type(resources, "IAM::Role").values()
        for statement in role["Policies"][0]["PolicyDocument"]["Statement"]
        if "secretsmanager:GetSecretValue" in statement["Action"] and "database" in json.dumps(statement["Resource"])
    ]
    assert readers == [("fiso-prod-keeper", "fiso/prod/keeper-database-??????")]


def test_what_is_spilled_is_read_from_where_the_orchestrator_alone_logs(resources: dict[str, Any]) -> None:
    keeper, archiver = (function(resources, name)["Environment"]["Variables"] for name in ("keeper", "archiver"))
    logs = {name: function(resources, name)["LoggingConfig"]["LogGroup"] for name in FUNCTIONS}
    assert [name for name, group in logs.items() if group == keeper["FISO_API_LOG_GROUP"]] == ["orchestrator"]
    assert keeper["FISO_SPILL_LOG_GROUP"] == archiver["FISO_SPILL_LOG_GROUP"] not in logs.values()
    subscribed = resources["SpilledLinesSubscription"]["Properties"]
    assert subscribed["LogGroupName"] == {"Ref": "ApiLogs"}
    assert subscribed["FilterPattern"] == f'"{MARK}"'
    assert subscribed["DestinationArn"] == resources["SpilledLinesPermission"]["Properties"]["FunctionName"]
    assert resources[subscribed["DestinationArn"]["Ref"]]["Type"] == "AWS::Lambda::Alias"


def test_every_route_has_an_authorizer_but_healthz_and_what_browsers_ask_before_a_call(
    resources: dict[str, Any],
) -> None:
    routes = {route["RouteKey"]: route for route in of_type(resources, "ApiGatewayV2::Route").values()}
    open_routes = {key for key, route in routes.items() if route.get("AuthorizationType") != "AWS_IAM"}
    invoke = ("/v1/invoke/{function}", "/v1/invoke/{function}/{proxy+}")
    assert open_routes == {"GET /healthz", *(f"OPTIONS {path}" for path in invoke)}
    assert {"$default", *(f"ANY {path}" for path in invoke)} <= set(routes)
    assert {"POST /v1/decide/{function}", "POST /v1/outcomes"} <= set(routes)


def test_every_route_is_throttled_and_tightly_where_nobody_is_asked_who_calls(resources: dict[str, Any]) -> None:
    routes = {route["RouteKey"]: name for name, route in of_type(resources, "ApiGatewayV2::Route").items()}
    (stage,) = (each for each in resources.values() if each["Type"] == "AWS::ApiGatewayV2::Stage")
    of_all, of_each = (stage["Properties"][name] for name in ("DefaultRouteSettings", "RouteSettings"))
    assert 0 < of_all["ThrottlingRateLimit"] <= of_all["ThrottlingBurstLimit"] <= 5_000
    assert set(of_each) <= set(routes)
    assert {routes[key] for key in of_each} <= set(stage["DependsOn"])  # settings of no route yet fail a deployment
    asked = {"ANY /v1/invoke/{function}", "ANY /v1/invoke/{function}/{proxy+}"}
    asked |= {key for key in routes if " /v1/" in key and not key.startswith("OPTIONS")}
    assert set(of_each) == set(routes) - asked
    for key, settings in of_each.items():
        assert 0 < settings["ThrottlingRateLimit"] < settings["ThrottlingBurstLimit"] <= 400, key
        assert settings["DetailedMetricsEnabled"] is True


def test_a_tenant_has_a_quota_unless_the_operator_says_otherwise(resources: dict[str, Any]) -> None:
    quotas = in_words(function(resources, "orchestrator")["Environment"]["Variables"]["FISO_QUOTAS"])
    assert quotas.default is not None


@pytest.mark.parametrize("name", ["orchestrator", "console"])
def test_who_faces_the_api_asks_for_the_gateways_signature_itself(name: str, resources: dict[str, Any]) -> None:
    variables = function(resources, name)["Environment"]["Variables"]
    assert (variables["FISO_AUTH"], variables["FISO_JWT_ISSUER"]) == ("iam", "")


def test_the_gateway_shows_itself_by_a_word_of_which_functions_have_the_hashes_alone(resources: dict[str, Any]) -> None:
    stored = "{{{{resolve:secretsmanager:fiso/prod/gateway:SecretString:{}-${{GatewayKey}}}}}}"
    integrations = of_type(resources, "ApiGatewayV2::Integration").values()
    assert [one["RequestParameters"] for one in integrations] == 2 * [
        {f"overwrite:header.{GATEWAY_WORD}": {"Fn::Sub": stored.format("word")}}
    ]
    told = {name: json.dumps(function(resources, name)["Environment"]) for name in FUNCTIONS}
    assert {name for name, text in told.items() if stored.format("hashes") in text} == {"orchestrator", "console"}
    assert not [name for name, text in told.items() if stored.format("word") in text]


def test_the_api_allows_no_cross_origin_calls(resources: dict[str, Any]) -> None:
    assert "CorsConfiguration" not in of_type(resources, "ApiGatewayV2::Api")["HttpApi"]


def test_the_log_table_keeps_what_it_is_given(resources: dict[str, Any]) -> None:
    table = resources["InvocationLog"]["Properties"]
    assert table["DeletionProtectionEnabled"] is True
    assert table["TableName"] == "fiso-invocation-logs-prod"
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["invocation_id", "timestamp"]
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_IMAGE"}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["GlobalSecondaryIndexes"] == {"Ref": "AWS::NoValue"}


def test_a_stage_of_before_loses_one_index_with_each_update() -> None:
    """DynamoDB takes away no more at once. An attribute that no key names is refused."""
    steps = yaml.safe_load(project_file("scripts/serverless/log-indexes.yml").read_text())
    indexes = {step: of["indexes"] if isinstance(of["indexes"], list) else [] for step, of in steps.items()}
    names = {step: {index["IndexName"] for index in of} for step, of in indexes.items()}
    assert names == {"none": set(), "open": {"open-records"}, "both": {"open-records", "by-time"}}
    for step, of in indexes.items():
        keys = {key["AttributeName"] for index in of for key in index["KeySchema"]} | {"invocation_id", "timestamp"}
        assert {each["AttributeName"] for each in steps[step]["attributes"]} == keys


def test_what_holds_records_and_keys_outlives_the_stack_but_not_a_first_deployment_that_failed(
    resources: dict[str, Any],
) -> None:
    """Under `Retain` the second try would meet the names of the first."""
    kept = {
        name: (each["DeletionPolicy"], each["UpdateReplacePolicy"]) for name, each in resources.items() if is_kept(each)
    }
    keys: Any = signing_keys.template("prod", "us-east-1", "0" * 12)["Resources"]
    logs = {"ApiLogs", "ConsoleLogs", "InvocationLogs", "SpilledLogs"}
    kept |= {
        name: (each["DeletionPolicy"], each["UpdateReplacePolicy"]) for name, each in keys.items() if is_kept(each)
    }
    assert set(kept) == {"InvocationLog", "Artifacts", "ModelKey", "CatalogKey", *logs}
    assert set(kept.values()) == {("RetainExceptOnCreate", "Retain")}


def is_kept(resource: Mapping[str, Any]) -> bool:
    return bool(resource.get("DeletionPolicy", "Delete") != "Delete" and resource["Type"] != "AWS::Lambda::Version")


def test_the_bucket_is_private_encrypted_versioned_and_kept(resources: dict[str, Any]) -> None:
    bucket = resources["Artifacts"]["Properties"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert "BucketEncryption" in bucket


def mapping_of(resources: dict[str, Any], name: str) -> dict[str, Any]:
    """The one by which a function reads the stream."""
    mappings = of_type(resources, "Lambda::EventSourceMapping")
    assert len(mappings) == 2, "a shard of the stream has no room for a third reader"
    (found,) = [value for key, value in mappings.items() if key.startswith(name)]
    return dict(found)


@pytest.mark.parametrize(
    ("name", "batch", "window_s"), [("StreamUnderscoreconsumer", 1_000, 2), ("Archiver", 10_000, 45)]
)
def test_failed_stream_records_are_bounded_and_end_in_the_bucket(
    name: str, batch: int, window_s: int, resources: dict[str, Any]
) -> None:
    mapping = mapping_of(resources, name)
    expected = {
        "Enabled": True,
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": batch,
        "MaximumBatchingWindowInSeconds": window_s,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "MaximumRetryAttempts": -1,
        "MaximumRecordAgeInSeconds": 21600,
        "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Artifacts", "Arn"]}}},
    }
    assert {name: mapping[name] for name in expected} == expected


@pytest.mark.parametrize(("name", "sees_intents"), [("StreamUnderscoreconsumer", False), ("Archiver", True)])
def test_open_intents_wake_the_archiver_alone(name: str, sees_intents: bool, resources: dict[str, Any]) -> None:
    """The packaged filter, read as the local pump reads it, over images as the log writes them."""
    uuid = {
        "UUID": "u",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "EventSourceArn": "arn:aws:dynamodb:x",
    }
    chosen = from_document({**mapping_of(resources, name), **uuid, "DestinationConfig": {}})
    images = {"open": open_item(an_open_record()), "final": closed_item(a_record()), "damaged": {"status": {"S": "?"}}}
    wanted = [
        (name, event)
        for name, image in images.items()
        for event in ("INSERT", "MODIFY")
        if chosen.wants({"eventName": event, "dynamodb": {"NewImage": image}})
    ]
    kinds = ("open", "final", "damaged") if sees_intents else ("final", "damaged")
    assert wanted == [(kind, event) for kind in kinds for event in ("INSERT", "MODIFY")]
    assert not chosen.wants({"eventName": "REMOVE", "dynamodb": {"OldImage": images["final"]}})


def test_the_retrainer_runs_and_drift_is_watched_daily_a_trial_every_quarter_of_an_hour_and_the_keeper_every_minute(
    resources: dict[str, Any],
) -> None:
    rules = {rule["Name"]: rule["ScheduleExpression"] for rule in of_type(resources, "Events::Rule").values()}
    assert rules == {
        "fiso-prod-retrainer": "rate(1 day)",
        "fiso-prod-drift": "rate(1 day)",
        "fiso-prod-trial": "rate(15 minutes)",
        "fiso-prod-compaction": "rate(1 hour)",
        "fiso-prod-keeper": "rate(1 minute)",
    }


def test_no_function_is_in_a_network_unless_it_is_named(resources: dict[str, Any]) -> None:
    assert not [name for name in FUNCTIONS if "VpcConfig" in function(resources, name)]


def test_the_endpoints_for_a_network_are_those_of_the_services_that_the_keeper_calls(resources: dict[str, Any]) -> None:
    text = (Path(__file__).parents[2] / "scripts/serverless/vpc-endpoints.yml").read_text()
    for name, value in {"RouteTable": "rtb", "Subnet": "subnet", "SecurityGroup": "sg"}.items():
        text = text.replace(f"${{param:vpc{name}Ids}}", f"[{value}-0123456789abcdef0]")
    text = text.replace("${param:vpcId}", "vpc-0123456789abcdef0")
    assert [*lint(text, config=ManualArgs(regions=["us-east-1"]))] == []
    named = set(re.findall(r"com\.amazonaws\.\$\{AWS::Region\}\.(\w+)", text))
    (policy,) = resources["KeeperRole"]["Properties"]["Policies"]
    allowed = {action.partition(":")[0] for one in policy["PolicyDocument"]["Statement"] for action in one["Action"]}
    allowed -= {"sts"}  # for a mirror on Azure, which no endpoint leads to either: that needs a NAT
    assert named == allowed | {"kms"}, "its key's own policy lets it sign"


def test_no_setting_comes_out_of_the_deployers_shell_and_what_is_missing_fails(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (
        "CATALOG_KEYS",
        "CATALOG_FLOOR",
        "MODEL_KEYS",
        "ENDPOINT_HOSTS",
        "ACCEPT_OLDER_FORMS",
        "GATEWAY_KEY",
        "CORS",
    )
    for name in names:
        monkeypatch.setenv(f"FISO_{name}", "of-the-shell")
    again = serverless_package("prod", tmp_path).read_text()
    assert "of-the-shell" not in again
    parameters = json.loads(again)["Parameters"]
    made = {"catalog-keys", "catalog-key-id", "model-keys", "model-key-id", "gateway-key", *FIRST}
    assert {each["Default"] for each in parameters.values()} == {f"/fiso/prod/{name}" for name in made}
    assert {each["Type"] for each in parameters.values()} == {"AWS::SSM::Parameter::Value<String>"}
    referred = set(re.findall(r'"Ref": ?"(\w+)"', again)) | {"GatewayKey"}
    assert set(parameters) <= referred


def as_deployed(value: Any) -> str:
    """A variable with something in the place of what only a deployment knows."""
    if isinstance(value, dict) and value.get("Ref") in ("CatalogKeys", "ModelKeys", "CatalogFloor", "EndpointHosts"):
        return {"CatalogFloor": "7", "EndpointHosts": FIRST["endpoint-hosts"]}.get(value["Ref"], "")
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{[\w:.]+\}", "x1", value["Fn::Sub"])
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("orchestrator", OrchestratorSettings),
        ("stream-consumer", StreamConsumerSettings),
        ("retrainer", RetrainerSettings),
        ("keeper", KeeperSettings),
        ("console", ConsoleSettings),
    ],
)
def test_a_functions_settings_can_be_read_from_its_environment(
    name: str, settings: type[OrchestratorSettings], resources: dict[str, Any]
) -> None:
    variables = function(resources, name)["Environment"]["Variables"]
    deployed = {key: as_deployed(value) for key, value in variables.items()}
    assert settings.from_environ(deployed).stage == "prod"
    layers = ":/opt/python" if name == "orchestrator" else ""  # which Lambda leaves out once the variable is set
    assert variables["PYTHONPATH"] == f"/var/task/shared{layers}:/var/runtime"


def test_the_deployed_orchestrator_calls_no_loopback_and_cannot_be_made_to(resources: dict[str, Any]) -> None:
    variables = function(resources, "orchestrator")["Environment"]["Variables"]
    deployed = {key: as_deployed(value) for key, value in variables.items()}
    assert not deployed["FISO_ALLOW_LOOPBACK"]
    assert not OrchestratorSettings.from_environ(deployed).allow_loopback
    with pytest.raises(BadSetting, match="only stage local may call loopback"):
        OrchestratorSettings.from_environ(deployed | {"FISO_ALLOW_LOOPBACK": "1"})


def test_the_briefs_dashboards_and_alarms_are_there(resources: dict[str, Any]) -> None:
    dashboards = of_type(resources, "CloudWatch::Dashboard").values()
    for dashboard in dashboards:
        assert json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
    assert {dashboard["DashboardName"] for dashboard in dashboards} == {
        "FISO-Performance-Overview-prod",
        "FISO-Cost-Analysis-prod",
        "FISO-Prediction-Accuracy-prod",
    }
    alarms = {alarm["AlarmName"] for alarm in of_type(resources, "CloudWatch::Alarm").values()}
    assert {"fiso-prod-high-latency", "fiso-prod-cost-threshold", "fiso-prod-prediction-accuracy-drop"} <= alarms


def test_small_objects_stay_where_they_are_cheaper_and_what_compaction_deleted_goes(resources: dict[str, Any]) -> None:
    every = resources["Artifacts"]["Properties"]["LifecycleConfiguration"]["Rules"]
    rules = [rule for rule in every if rule.get("Prefix") == "archive/"]
    assert [rule["ObjectSizeGreaterThan"] for rule in rules if "Transitions" in rule] == ["131072"]
    assert not [rule for rule in rules if "ExpirationInDays" in rule and "ObjectSizeGreaterThan" in rule]
    assert [rule["NoncurrentVersionExpiration"] for rule in rules if "NoncurrentVersionExpiration" in rule] == [
        {"NoncurrentDays": 7}
    ]
    assert [rule for rule in rules if rule.get("ExpiredObjectDeleteMarker") is True], "markers would slow listings"
