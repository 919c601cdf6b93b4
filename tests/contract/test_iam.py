"""How requests and policies are read where roles are compared with what functions do: by AWS's pages, case by case."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.iam.policy import applies, is_allowed
from tests.iam.wire import Access, Context, Request, accesses_of

STATES, TABLES = "fiso-endpoint-state-prod", "arn:aws:dynamodb:eu-west-1:000000000000:table"
KEYED = "dynamodb:LeadingKeys"


def asked(service: str, target: str = "/", body: object = None, *, status: int = 200, **headers: str) -> list[Access]:
    """What a request of an SDK's asks for; its method stands in `headers`."""
    signed = f"AWS4-HMAC-SHA256 Credential=AKIA/20261130/eu-west-1/{service}/aws4_request, SignedHeaders=host"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    method = given.pop("method", "POST")
    request = Request(
        method=method, target=target, headers={"authorization": signed, **given}, body=json.dumps(body or {}).encode()
    )
    return accesses_of(request, status)


def of_table(operation: str, **document: Any) -> list[Access]:
    return asked("dynamodb", body=document, x_amz_target=f"DynamoDB_20120810.{operation}")


def keyed(*keys: str) -> Context:
    return ((KEYED, keys),)


IN_TRANSACTION: Context = (("dynamodb:EnclosingOperation", ("TransactWriteItems",)),)
ITEM = {"function_name": {"S": "one"}, "item": {"S": "i"}}
READS: Mapping[str, tuple[list[Access], list[tuple[str, str, Context]]]] = {
    "a put": (
        of_table("PutItem", TableName=STATES, Item=ITEM),
        [("dynamodb:PutItem", f"{TABLES}/{STATES}", keyed("one"))],
    ),
    "a query of an index, its names spelled elsewhere": (
        of_table(
            "Query",
            TableName=STATES,
            IndexName="by",
            KeyConditionExpression="#k = :k AND item > :i",
            ExpressionAttributeValues={":k": {"S": "two"}, ":i": {"S": "a"}},
        ),
        [("dynamodb:Query", f"{TABLES}/{STATES}/index/by", keyed("two"))],
    ),
    "a batch of two partitions": (
        of_table("BatchGetItem", RequestItems={STATES: {"Keys": [ITEM, {**ITEM, "function_name": {"S": "b"}}, ITEM]}}),
        [("dynamodb:BatchGetItem", f"{TABLES}/{STATES}", keyed("b", "one"))],
    ),
    "a transaction asks for what is in it": (
        of_table(
            "TransactWriteItems",
            TransactItems=[
                {"Put": {"TableName": STATES, "Item": ITEM}},
                {"Put": {"TableName": STATES, "Item": {**ITEM, "function_name": {"S": "a"}}}},
                {"ConditionCheck": {"TableName": STATES, "Key": ITEM}},
            ],
        ),
        [
            ("dynamodb:PutItem", f"{TABLES}/{STATES}", (*IN_TRANSACTION, *keyed("a"))),
            ("dynamodb:PutItem", f"{TABLES}/{STATES}", (*IN_TRANSACTION, *keyed("a", "one"))),
            ("dynamodb:PutItem", f"{TABLES}/{STATES}", (*IN_TRANSACTION, *keyed("one"))),
            ("dynamodb:ConditionCheckItem", f"{TABLES}/{STATES}", (*IN_TRANSACTION, *keyed("one"))),
        ],
    ),
    "a missing object": (
        asked("s3", "/b/a/k%20x", method="GET", status=404),
        [("s3:GetObject", "arn:aws:s3:::b/a/k x", ()), ("s3:ListBucket", "arn:aws:s3:::b", ())],
    ),
    "a put over what is known": (
        asked("s3", "/b/k", method="PUT", if_match='"e"'),
        [("s3:PutObject", "arn:aws:s3:::b/k", ()), ("s3:GetObject", "arn:aws:s3:::b/k", ())],
    ),
    "a head": (asked("s3", "/b/k", method="HEAD"), [("s3:GetObject", "arn:aws:s3:::b/k", ())]),
    "a listing": (
        asked("s3", "/b?list-type=2&prefix=a%2F", method="GET"),
        [("s3:ListBucket", "arn:aws:s3:::b", (("s3:prefix", ("a/",)),))],
    ),
    "a function's version, in another region": (
        asked("lambda", "/2015-03-31/functions/f%3Alive/invocations"),
        [("lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:000000000000:function:f:live", ())],
    ),
    "a secret by the ARN that lacks its last characters": (
        asked("secretsmanager", body={"SecretId": "arn:aws:x:r:1:secret:a/b"}, x_amz_target="s.GetSecretValue"),
        [("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:000000000000:secret:a/b-a1B2c3", ())],
    ),
}


@pytest.mark.parametrize(("found", "expected"), READS.values(), ids=READS.keys())
def test_a_request_asks_for_permissions(found: list[Access], expected: list[tuple[str, str, Context]]) -> None:
    assert sorted((access.permission, access.arn, access.context) for access in found) == sorted(expected)


def test_what_nobody_signed_asks_for_nothing() -> None:
    assert accesses_of(Request(method="GET", target="/", headers={}, body=b""), 200) == []


def an_access(permission: str = "dynamodb:Query", arn: str = "arn:t", *keys: str) -> Access:
    context = keyed(*keys) if keys else ()
    return Access(caller="", operation="", permission=permission, arn=arn, context=context)


ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": "dynamodb:Query", "Resource": "arn:t"}


def when(operator: str, *wanted: str) -> dict[str, Any]:
    return {**ALLOW, "Condition": {operator: {KEYED: list(wanted)}}}


ONLY = {**when("ForAllValues:StringEquals", "a"), "Sid": "only"}
ONLY["Condition"] = {**ONLY["Condition"], "Null": {"DYNAMODB:leadingkeys": "false"}}
HOLDS: Mapping[str, tuple[dict[str, Any], Access, bool]] = {
    "the action in any case": ({**ALLOW, "Action": ["DynamoDB:query"]}, an_access(), True),
    "another action": ({**ALLOW, "Action": "dynamodb:QueryX"}, an_access(), False),
    "a star in an action": ({**ALLOW, "Action": "dynamodb:Q*"}, an_access(), True),
    "the resource in its own case only": ({**ALLOW, "Resource": "arn:T"}, an_access(), False),
    "a star in a resource": ({**ALLOW, "Resource": ["arn:x", "arn:*"]}, an_access(arn="arn:a/b:c"), True),
    "one character": ({**ALLOW, "Resource": "arn:?"}, an_access(arn="arn:tt"), False),
    "a dot is a dot": ({**ALLOW, "Resource": "arn.t"}, an_access(), False),
    "one value": (when("StringEquals", "a", "b"), an_access("dynamodb:Query", "arn:t", "b"), True),
    "no value": (when("StringEquals", "a"), an_access(), False),
    "no value is not any": (when("StringNotEquals", "a"), an_access(), True),
    "not this one": (when("StringNotEquals", "a", "b"), an_access("dynamodb:Query", "arn:t", "b"), False),
    "all of them": (when("ForAllValues:StringLike", "a*"), an_access("dynamodb:Query", "arn:t", "a1", "a2"), True),
    "not all of them": (when("ForAllValues:StringLike", "a*"), an_access("dynamodb:Query", "arn:t", "a1", "b"), False),
    "all of none": (when("ForAllValues:StringEquals", "a"), an_access(), True),
    "all of none, where there must be one": (ONLY, an_access(), False),
    "the one, where there must be one": (ONLY, an_access("dynamodb:Query", "arn:t", "a"), True),
    "none of them": (when("ForAllValues:StringNotLike", "*#*"), an_access("dynamodb:Query", "arn:t", "a", "b#"), False),
    "any of them": (when("ForAnyValue:StringEquals", "a"), an_access("dynamodb:Query", "arn:t", "a", "b"), True),
    "any of none": (when("ForAnyValue:StringEquals", "a"), an_access(), False),
}


@pytest.mark.parametrize(("statement", "access", "expected"), HOLDS.values(), ids=HOLDS.keys())
def test_a_statement_applies(statement: dict[str, Any], access: Access, expected: bool) -> None:
    assert applies(statement, access) is expected


def test_what_is_denied_is_not_allowed_whatever_else_allows_it() -> None:
    assert is_allowed(an_access(), [ALLOW])
    assert not is_allowed(an_access(), [])
    assert not is_allowed(an_access(), [ALLOW, {**ALLOW, "Effect": "Deny", "Resource": "*"}])


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "dynamodb:Query", "NotResource": "arn:x"},
        {**ALLOW, "Resource": "arn:${aws:username}"},
        when("StringEqualsIfExists", "a"),
        when("NumericLessThan", "1"),
    ],
)
def test_what_is_not_evaluated_fails_aloud(statement: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError)):
        is_allowed(an_access("dynamodb:Query", "arn:t", "a"), [statement])
