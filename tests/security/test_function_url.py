"""A function URL: Lambda lets its account's callers in, and nobody who invokes directly gains more than they have."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from fiso.domain.access import AuthMode
from fiso.domain.request import InvocationRequest
from fiso.settings import AccessSettings, BadSetting
from fiso.testing.memory import Respond
from fiso.testing.rig import SETTINGS, Rig, word_count
from fiso_client.core.answers import FunctionAnswer
from tests.edge import WORD
from tests.security.test_forged_gateway import HASH

ACCOUNT, ANOTHER = "123456789012", "210987654321"
Event = dict[str, Any]


def url_event(path: str = "/v1/invoke/word-count", *, method: str = "POST", **iam: object) -> Event:
    """As docs.aws.amazon.com/lambda, "Invoking function URLs", shows it; `iam` changes what is said of the caller."""
    caller = {
        "accessKey": "AKIAIOSFODNN7EXAMPLE",
        "accountId": ACCOUNT,
        "callerId": "AIDACKCEVSQ6C2EXAMPLE",
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{ACCOUNT}:user/alice",
        "userId": "AIDACKCEVSQ6C2EXAMPLE",
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "abc123.lambda-url.us-east-1.on.aws"},
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "abc123",
            "authentication": None,
            "authorizer": {"iam": caller | iam},
            "domainName": "abc123.lambda-url.us-east-1.on.aws",
            "domainPrefix": "abc123",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.9",
                "userAgent": "agent",
            },
            "requestId": "4e8a6c1e-0f9b-4a5a-a5a4-0d1b3f5c7e9a",
            "routeKey": "$default",
            "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000",
            "timeEpoch": 1773342238390,
        },
        "body": "{}",
        "isBase64Encoded": False,
    }


def a_stage(url_account: str = ACCOUNT, respond: Respond | None = None) -> Rig:
    access = AccessSettings(mode=AuthMode.IAM, gateway_hashes=frozenset({HASH}), url_account=url_account)
    return Rig(word_count(), respond=respond, settings=replace(SETTINGS, access=access))


def without(*path: str) -> Event:
    event = url_event()
    place: Any = event
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return event


def test_a_caller_of_this_account_is_served_as_the_account() -> None:
    rig = a_stage()
    assert rig.send(url_event())["statusCode"] == 200
    assert rig.only_record.request.tenant == ACCOUNT


@pytest.mark.parametrize("arn", [f"arn:aws:iam::{ACCOUNT}:root", f"arn:aws:sts::{ANOTHER}:assumed-role/admin/x", "", 7])
def test_what_an_event_says_of_its_user_makes_no_difference(arn: object) -> None:
    """Whoever may invoke writes it: it is told to no function, and names nobody in a record."""
    heard: list[Mapping[str, str]] = []

    def respond(endpoint: object, request: InvocationRequest, timeout_ms: float) -> FunctionAnswer:
        heard.append(request.headers)
        return FunctionAnswer(status=200, body=b"ok", headers={})

    rig = a_stage(respond=respond)
    assert rig.send(url_event(userArn=arn, callerId=arn, userId=arn))["statusCode"] == 200
    assert rig.only_record.request.tenant == ACCOUNT
    (headers,) = heard
    assert (headers["x-fiso-tenant"], headers["x-fiso-caller"]) == (ACCOUNT, f"account/{ACCOUNT}")
    assert "alice" not in str(headers)
    assert ANOTHER not in str(headers)


FORGED: dict[str, Callable[[], Event]] = {
    "another account": lambda: url_event(accountId=ANOTHER),
    "another account's number": lambda: url_event(accountId=int(ACCOUNT)),
    "a list of accounts": lambda: url_event(accountId=[ACCOUNT]),
    "a space behind": lambda: url_event(accountId=f"{ACCOUNT} "),
    "no account": lambda: url_event(accountId=None),
    "empty": lambda: url_event(accountId=""),
    "no authorizer, as of a URL that asks nobody": lambda: without("requestContext", "authorizer"),
    "no iam": lambda: without("requestContext", "authorizer", "iam"),
    "the account beside the authorizer only": lambda: {
        **without("requestContext", "authorizer"),
        "iam": {"accountId": ACCOUNT},
    },
    "an authorizer that is a text": lambda: {
        **url_event(),
        "requestContext": {**url_event()["requestContext"], "authorizer": f"accountId={ACCOUNT}"},
    },
    "no context": lambda: without("requestContext"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_an_event_that_does_not_name_this_account_is_nobodys(forged: str) -> None:
    rig = a_stage()
    assert rig.send(FORGED[forged]())["statusCode"] in (401, 404, 405)
    assert rig.records == []


def test_without_a_url_the_same_event_is_nobodys() -> None:
    rig = a_stage(url_account="")
    assert rig.send(url_event())["statusCode"] == 401


def test_the_gateways_word_still_names_the_user_and_another_word_does_not_help() -> None:
    rig, event = a_stage(), url_event(accountId=ANOTHER, userArn=f"arn:aws:iam::{ANOTHER}:user/bob")
    assert rig.send(event | {"headers": event["headers"] | {"x-fiso-gateway": WORD}})["statusCode"] == 200
    assert rig.only_record.request.tenant == ANOTHER  # the HTTP API verified it
    wrong = event | {"headers": event["headers"] | {"x-fiso-gateway": "guessed"}}
    assert rig.send(wrong)["statusCode"] == 401


def test_the_path_of_a_url_is_decoded_once() -> None:
    for path, status in (("/v1/invoke/word%2Dcount", 200), ("/v1/invoke/word%252Dcount", 404)):
        assert a_stage().send(url_event(path))["statusCode"] == status
    of_an_api = url_event("/v1/invoke/word%2Dcount")
    of_an_api["requestContext"]["domainName"] = "abc123.execute-api.us-east-1.amazonaws.com"
    assert a_stage().send(of_an_api)["statusCode"] == 404


@pytest.mark.parametrize(
    ("mode", "account"), [("iam", "12345"), ("iam", "\u0661" * 12), ("jwt", ACCOUNT), ("none", ACCOUNT)]
)
def test_an_account_that_cannot_be_meant_starts_no_function(mode: str, account: str) -> None:
    around = {
        "FISO_STAGE": "local" if mode == "none" else "prod",
        "FISO_AUTH": mode,
        "FISO_GATEWAY_HASHES": HASH,
        "FISO_URL_ACCOUNT": account,
        "FISO_JWT_ISSUER": "https://issuer.example",
        "FISO_JWT_AUDIENCE": "fiso",
    }
    with pytest.raises(BadSetting, match="FISO_URL_ACCOUNT"):
        AccessSettings.from_environ(around)
