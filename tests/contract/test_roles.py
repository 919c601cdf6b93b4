"""Roles hold what their functions need and no more: every access that functions make is allowed, every permission is
used, and what is a step further is refused.

The accesses are recorded between the genuine functions and an emulator; the roles are CloudFormation's own making.
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import pytest
from cfnlint.api import ManualArgs, lint

from fiso.adapters.postgres.catalog import connect_from_url
from fiso_cli.migrations.runner import migrate
from fiso_cli.packaging.template import make_template
from tests.contract import postgres_server
from tests.emulator import clients, running_emulator
from tests.functional.lease_servers import serving
from tests.iam.comparison import forbidden, problems
from tests.iam.lives import World, respond
from tests.iam.policy import Statement, is_allowed, values
from tests.iam.recorder import recording
from tests.iam.reference import unknown_in, unknown_keys
from tests.iam.stage import deploy
from tests.iam.wire import TARGET_TAG, Access, arn_of

FUNCTIONS = ("orchestrator", "stream-consumer", "archiver", "retrainer", "keeper", "console")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[World]:
    database = postgres_server.new_database(server)
    connect = connect_from_url(database, is_local=True)
    migrate(connect)
    with (
        running_emulator(tmp_path_factory.mktemp("roles")) as url,
        serving(respond) as lambdas,
        recording(url, lambdas.url, keeps_connections=False) as recorded,
        clients(url) as aws,
    ):
        stage = deploy(make_template("prod"), aws)
        yield World(stage=stage, aws=aws, recorded=recorded, connect=connect, database_url=database)


@pytest.fixture(scope="module")
def made(world: World) -> Mapping[str, frozenset[Access]]:
    """By function: what it asks of AWS, and what Lambda does with its role."""
    return {function: accesses.union(world.stage.platform[function]) for function, accesses in world.live().items()}


def problems_of(function: str, role: tuple[Statement, ...], made: Mapping[str, frozenset[Access]]) -> list[str]:
    return problems(role, made[function], chain(*made.values()))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_holds_what_its_function_needs_and_no_more(
    function: str, world: World, made: Mapping[str, frozenset[Access]]
) -> None:
    assert set(made) == set(FUNCTIONS)
    assert problems_of(function, world.stage.roles[function], made) == []


@pytest.mark.parametrize(
    ("group", "writer"), [("FISO_API_LOG_GROUP", "orchestrator"), ("FISO_SPILL_LOG_GROUP", "archiver")]
)
def test_what_becomes_a_record_is_written_by_the_orchestrator_and_handed_on_by_the_archiver_alone(
    group: str, writer: str, world: World
) -> None:
    arn = arn_of("logs", world.stage.environ["keeper"][group])
    line = Access(caller="", operation="", permission="logs:PutLogEvents", arn=f"{arn}stream")
    assert [function for function, role in world.stage.roles.items() if is_allowed(line, role)] == [writer]


PARTITIONS = {
    "#catalog": {"keeper"},
    "breakers#": {"orchestrator"},
    "word-count": {"stream-consumer"},
    "folded#1": {"stream-consumer"},
    "recent#2026-11-30#acme": {"stream-consumer"},
    "trouble#2026-11-30#acme": {"stream-consumer"},
    "history#word-count": {"stream-consumer"},
    "open#1": {"archiver", "keeper"},
    "#models": {"keeper"},
    "#other": set[str](),
}
PREFIXES = {
    "policies/current.json": {"keeper"},
    "policies/1.json": {"keeper"},
    "models/champion.json": {"keeper"},
    "candidates/1/model.joblib": {"retrainer"},
    "candidates/1/candidate.json": {"retrainer"},
}


def test_catalog_and_models_are_written_by_their_publishers_alone(world: World) -> None:
    """Partitions of the state table, and objects of the bucket."""

    def writers(*permissions: str, arn: str, partition: str = "") -> set[str]:
        context = (("dynamodb:LeadingKeys", (partition,)),) if partition else ()
        asked = [Access(caller="", operation="", permission=each, arn=arn, context=context) for each in permissions]
        return {name for name, role in world.stage.roles.items() if any(is_allowed(each, role) for each in asked)}

    actions = ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem")
    assert {name: writers(*actions, arn=STATES, partition=name) for name in PARTITIONS} == PARTITIONS
    assert writers(*actions, arn=STATES) == set(), "without a partition"
    found = {key: writers("s3:PutObject", "s3:DeleteObject", arn=f"{BUCKET}/{key}") for key in PREFIXES}
    assert found == PREFIXES


def test_a_tag_lets_the_orchestrator_invoke_a_function_of_this_account_and_never_fisos_own(world: World) -> None:
    def may_invoke(name: str, tag: str, **place: str) -> bool:
        arn = arn_of("lambda", name, **place).replace(
            "000000000000", "111122223333" if "theirs" in name else "000000000000"
        )
        asked = Access(
            caller="", operation="Invoke", permission="lambda:InvokeFunction", arn=arn, context=((TARGET_TAG, (tag,)),)
        )
        return is_allowed(asked, world.stage.roles["orchestrator"])

    assert may_invoke("thumbnails", "prod")
    assert may_invoke("thumbnails:live", "prod", region="eu-west-1")
    assert not [tag for tag in ("dev", "Prod", "prod2", "*", "") if may_invoke("thumbnails", tag)]
    assert not may_invoke("theirs", "prod")
    own = [f"fiso-{stage}-{name}{version}" for stage in ("prod", "dev") for name in FISO for version in ("", ":live")]
    assert not [name for name in own if may_invoke(name, "prod")]


def test_no_parameter_lets_the_orchestrator_invoke_what_is_fisos_own(world: World) -> None:
    lavish = allowing("lambda:InvokeFunction", "*")
    role = (*world.stage.roles["orchestrator"], lavish)
    names = ["another", "fiso-prod-sample-aws", *(f"fiso-{stage}-{name}" for stage in ("prod", "dev") for name in FISO)]
    names += [f"{name}:{version}" for name in names for version in ("$LATEST", "live")]

    def may_invoke(name: str) -> bool:
        arn = arn_of("lambda", name)
        return is_allowed(Access(caller="", operation="Invoke", permission="lambda:InvokeFunction", arn=arn), role)

    assert {name.partition(":")[0] for name in names if may_invoke(name)} == {"another", "fiso-prod-sample-aws"}


FISO = ("orchestrator", "stream-consumer", "archiver", "retrainer", "keeper", "console")
BUCKET = "arn:aws:s3:::fiso-artifacts-prod-000000000000"
TABLES = "arn:aws:dynamodb:us-east-1:000000000000:table"
STATES, RECORDS = f"{TABLES}/fiso-endpoint-state-prod", f"{TABLES}/fiso-invocation-logs-prod"
LOGS = "arn:aws:logs:us-east-1:000000000000:log-group"


def allowing(action: str, resource: str) -> dict[str, object]:
    return {"Effect": "Allow", "Action": [action], "Resource": resource}


MORE = {
    "every action": ("console", "dynamodb:*", RECORDS),
    "every action that begins alike": ("keeper", "s3:Get*", f"{BUCKET}/policies/*"),
    "every object": ("console", "s3:GetObject", f"{BUCKET}/*"),
    "objects that it never reads": ("orchestrator", "s3:GetObject", f"{BUCKET}/archive/*"),
    "a folder whose name begins alike": ("retrainer", "s3:GetObject", f"{BUCKET}/models*"),
    "another stage's bucket": ("retrainer", "s3:GetObject", "arn:aws:s3:::fiso-artifacts-dev-000000000000/archive/*"),
    "buckets whose names begin alike": ("archiver", "s3:PutObject", "arn:aws:s3:::fiso-artifacts-*/archive/*"),
    "models, for the console": ("console", "s3:PutObject", f"{BUCKET}/models/*"),
    "deleting what is archived": ("archiver", "s3:DeleteObject", f"{BUCKET}/archive/*"),
    "another table's index": ("console", "dynamodb:Query", f"{STATES}/index/by-time"),
    "an index that it does not ask": ("orchestrator", "dynamodb:Query", f"{RECORDS}/index/open-records"),
    "every index": ("keeper", "dynamodb:Query", f"{RECORDS}/index/*"),
    "every table": ("orchestrator", "dynamodb:Query", f"{TABLES}/*"),
    "the whole shared table": ("orchestrator", "dynamodb:PutItem", STATES),
    "the catalog's copy, for who folds": ("stream-consumer", "dynamodb:PutItem", STATES),
    "scanning": ("console", "dynamodb:Scan", RECORDS),
    "deleting records": ("keeper", "dynamodb:DeleteItem", RECORDS),
    "every region": ("console", "dynamodb:Query", RECORDS.replace("us-east-1", "*")),
    "the API's log": ("console", "logs:PutLogEvents", f"{LOGS}:/fiso/api:*"),
    "every log": ("console", "logs:PutLogEvents", f"{LOGS}:*"),
    "reading its own log": ("orchestrator", "logs:FilterLogEvents", f"{LOGS}:/fiso/api:*"),
    "passing roles on": ("orchestrator", "iam:PassRole", "*"),
    "other roles": ("keeper", "sts:AssumeRole", "arn:aws:iam::000000000000:role/fiso-prod-retrainer"),
    "every function": ("orchestrator", "lambda:InvokeFunction", "arn:aws:lambda:*:000000000000:function:*"),
    "a function, for the keeper": ("keeper", "lambda:InvokeFunction", f"{arn_of('lambda', 'fiso-prod-sample-aws')}"),
    "functions whose names begin alike": (
        "orchestrator",
        "lambda:InvokeFunction",
        f"{arn_of('lambda', 'fiso-prod-s*')}",
    ),
    "secrets whose names begin alike": (
        "keeper",
        "secretsmanager:GetSecretValue",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:fiso/prod/keeper-database-*",
    ),
    "logs whose names begin alike": ("console", "logs:PutLogEvents", f"{LOGS}:/fiso/console*"),
    "every secret": ("orchestrator", "secretsmanager:GetSecretValue", "*"),
    "the database's secret": (
        "console",
        "secretsmanager:GetSecretValue",
        arn_of("secretsmanager", "fiso/prod/keeper-database"),
    ),
    "another's parameter": ("console", "ssm:GetParameter", arn_of("ssm", "/fiso/prod/lease-keys")),
    "every parameter of the stage": ("orchestrator", "ssm:GetParameter", arn_of("ssm", "/fiso/prod/*")),
    "signing models": ("orchestrator", "kms:Sign", "arn:aws:kms:us-east-1:000000000000:key/*"),
}


@pytest.mark.parametrize(("function", "action", "resource"), MORE.values(), ids=MORE.keys())
def test_a_permission_more_is_found(
    function: str, action: str, resource: str, world: World, made: Mapping[str, frozenset[Access]]
) -> None:
    role = (*world.stage.roles[function], allowing(action, resource))
    assert problems_of(function, role, made)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_permission_less_is_found(function: str, world: World, made: Mapping[str, frozenset[Access]]) -> None:
    """Each one in turn: an action, a resource or a condition's value."""
    role = world.stage.roles[function]
    lesser = [role[:number] + each + role[number + 1 :] for number, of in enumerate(role) for each in without_one(of)]
    assert len(lesser) >= 2
    assert [each for each in lesser if not forbidden(each, made[function])] == []


def without_one(statement: Statement) -> Iterator[tuple[Statement, ...]]:
    if statement["Effect"] == "Deny":
        return
    for element in ("Action", "Resource"):
        for value in values(statement[element]):
            rest = [each for each in values(statement[element]) if each != value]
            yield ({**statement, element: rest},) if rest else ()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_condition_less_is_found(function: str, world: World, made: Mapping[str, frozenset[Access]]) -> None:
    """Each condition whole, and of what it refuses each value."""
    role = world.stage.roles[function]
    for number, statement in enumerate(role):
        for condition in lesser_conditions(statement.get("Condition", {})):
            freer = {**statement, "Condition": condition}
            assert problems_of(function, (*role[:number], freer, *role[number + 1 :]), made), freer


def lesser_conditions(condition: Mapping[str, Mapping[str, object]]) -> Iterator[Mapping[str, object]]:
    if condition:
        yield {}
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            if "Not" in operator and len(values(wanted)) > 1:
                yield from ({**condition, operator: {key: [each]}} for each in values(wanted))


def test_aws_knows_what_is_recorded_by_these_names_and_what_conditions_speak_of(
    world: World, made: Mapping[str, frozenset[Access]]
) -> None:
    accesses = {access for of_function in made.values() for access in of_function}
    assert {found for access in accesses for found in unknown_in(access)} == set()
    statements = [statement for role in world.stage.roles.values() for statement in role]
    assert [found for statement in statements for found in unknown_keys(statement)] == []
    misspelled = allowing("dynamodb:Query", STATES) | {"Condition": {"Null": {"dynamodb:LeadingKey": "false"}}}
    assert [*unknown_keys(misspelled)] == ["dynamodb:Query has no dynamodb:LeadingKey"]


PLANTED: Mapping[str, Statement] = {
    "MisspelledAction": allowing("s3:GetObjects", f"{BUCKET}/models/*"),
    "MisspelledService": allowing("dynamo:GetItem", RECORDS),
    "AnotherServicesResource": allowing("s3:GetObject", RECORDS),
    "NoArn": allowing("s3:GetObject", "arn:aws:s3::bucket/models/*"),
    "NoResource": {"Effect": "Allow", "Action": ["s3:GetObject"]},
    "NoEffect": {"Action": ["s3:GetObject"], "Resource": f"{BUCKET}/models/*"},
    "MisspelledEffect": allowing("s3:GetObject", f"{BUCKET}/models/*") | {"Effect": "Alow"},
    "MisspelledOperator": allowing("dynamodb:Query", STATES) | {"Condition": {"StringEqual": {"a:b": "c"}}},
    "APrincipal": allowing("s3:GetObject", f"{BUCKET}/models/*") | {"Principal": "*"},
}


def test_the_linter_finds_what_is_planted_and_nothing_in_the_roles(world: World) -> None:
    """cfn-lint, on ARNs as CloudFormation made them: of intrinsic functions it does not ask what they come to."""
    by_function = {function.title().replace("-", ""): role for function, role in world.stage.roles.items()}
    roles = by_function | {name: (statement,) for name, statement in PLANTED.items()}
    template = json.dumps({"Resources": {name: as_resource(role) for name, role in roles.items()}})
    found = lint(template, config=ManualArgs(regions=["us-east-1"], include_checks=["I3510"]))
    assert {str(each.path[1]) for each in found} == set(PLANTED)


def as_resource(role: tuple[Statement, ...]) -> Mapping[str, object]:
    version = {"Version": "2012-10-17"}
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    own = {"PolicyName": "own", "PolicyDocument": version | {"Statement": [*role]}}
    properties = {"AssumeRolePolicyDocument": version | {"Statement": [trusted]}, "Policies": [own]}
    return {"Type": "AWS::IAM::Role", "Properties": properties}


ROW = re.compile(r"^\| ([a-z-]+) \| (\w+) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
SHORT = {
    r"^arn:aws:s3:::fiso-artifacts-prod-\d+$": "the bucket",
    r"^arn:aws:s3:::fiso-artifacts-prod-\d+/": "objects ",
    r"^arn:aws:kms:.+": "its signing key",
    r"^arn:aws:(\w+):[^:]*:\d*:": "",
    r"(?<=/stream)/.+|(?<!function):\*$|^log-group:(?=/)|-prod(?=/|$)": "",
    r"(?<=fiso/)prod(?=/)|(?<=fiso-)prod(?=-)": "STAGE",
}


def test_the_page_on_security_shows_each_role_as_it_is(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    shown = [f"| {' | '.join(cells)} |" for *cells, why in ROW.findall(page) if cells[0] in FUNCTIONS and why.strip()]
    rows = [as_row(function, statement) for function, role in world.stage.roles.items() for statement in role]
    assert ([row for row in rows if row not in shown], [row for row in shown if row not in rows]) == ([], [])
    assert shown == rows


def as_row(function: str, statement: Statement) -> str:
    """A row of the page's table but for the reason, which is the author's."""
    may = ", ".join(action.partition(":")[2] for action in values(statement["Action"]))
    on = ", ".join(f"`{short(resource)}`" for resource in values(statement["Resource"]))
    for operator, keys in statement.get("Condition", {}).items():
        if operator != "Null":
            said = "but not" if "Not" in operator else "of"
            on += "".join(f" {said} {', '.join(f'`{value}`' for value in values(wanted))}" for wanted in keys.values())
    return f"| {function} | {statement['Sid']} | {'never ' if statement['Effect'] == 'Deny' else ''}{may} | {on} |"


def short(arn: str) -> str:
    for pattern, text in SHORT.items():
        arn = re.sub(pattern, text, arn)
    return arn
