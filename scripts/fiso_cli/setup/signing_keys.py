"""The keys that models and catalogs are signed with: two of KMS in a stack of their own, `fiso-STAGE-keys`. It stands
before the stage, since whoever reads is deployed with their public halves. They never leave KMS; their policies let the
keeper sign models and catalogs, and nobody else anything. A stage of before, whose retrainer signed its models, has its
key's policy changed with the next `fiso setup`.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from fiso.adapters.http.signers import KmsSigner
from fiso.codecs import signature
from fiso_cli.errors import CommandError
from fiso_cli.setup.settings import Clients, Settings

SIGNERS = {"models": "keeper", "catalog": "keeper"}
_PREFIX = {"models": "model", "catalog": "catalog"}
_WITHIN_S, _EVERY_S = 300.0, 1.0
_ADMINISTERED = (
    "CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey EnableKey GetKeyPolicy GetKeyRotationStatus "
    "GetPublicKey ListResourceTags PutKeyPolicy ScheduleKeyDeletion TagResource UntagResource UpdateAlias "
    "UpdateKeyDescription"
)


def ensure(settings: Settings, *, wait: Callable[[float], None] = time.sleep) -> bool:
    """Both keys, under their aliases, with ids and public halves among the settings; whether anything was made.
    A stage of before has its keys in its own stack: they go on. `CommandError` when the stack cannot be made."""
    kms, made = settings.client("kms"), False
    missing = [signed for signed in SIGNERS if _id_of(settings, signed) is None]
    if missing:
        _make(settings, missing, wait)
        made = True
    for signed in SIGNERS:
        key = _id_of(settings, signed)
        if key is None:
            raise CommandError(f"stack {_stack(settings)} stands and has no alias {_alias(settings, signed)}")
        if _aliased(settings, signed) is None:  # it went with the stack of before, where it was declared
            kms.create_alias(AliasName=_alias(settings, signed), TargetKeyId=key)
        made |= _let_sign(settings, signed, key) | settings.ensure(f"{_PREFIX[signed]}-key-id", key)
        if settings.read(f"{_PREFIX[signed]}-keys") is not None:
            continue
        public = signature.text_of(KmsSigner(kms, key).public_key().modulus)
        made |= settings.ensure(f"{_PREFIX[signed]}-keys", public)
    return made


def template(stage: str, region: str, account: str, signed: Sequence[str] = tuple(SIGNERS)) -> dict[str, Any]:
    """CloudFormation's, of the keys that are named."""
    resources: dict[str, object] = {}
    for each in signed:
        name = f"{_PREFIX[each].title()}Key"
        resources[name] = {
            "Type": "AWS::KMS::Key",
            "DeletionPolicy": "RetainExceptOnCreate",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "Description": f"Signs the {each} of FISO's stage {stage}",
                "KeySpec": "RSA_3072",
                "KeyUsage": "SIGN_VERIFY",
                "KeyPolicy": _policy(stage, region, account, each),
            },
        }
        resources[f"{name}Alias"] = {
            "Type": "AWS::KMS::Alias",
            "Properties": {"AliasName": f"alias/fiso-{stage}-{each}", "TargetKeyId": {"Ref": name}},
        }
    return {"Description": f"FISO's signing keys, stage {stage}", "Resources": resources}


def _policy(stage: str, region: str, account: str, signed: str) -> Mapping[str, object]:
    """By the role's name and not as a principal, which must be there before a policy may name it."""
    role = f"arn:aws:iam::{account}:role/fiso-{stage}-{SIGNERS[signed]}"
    its_own = {"aws:PrincipalArn": [role, f"{role}-{region}"], "kms:CallerAccount": account}
    the = f"The{SIGNERS[signed].title()}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AdministerByTheAccountsOwnPolicies",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": [f"kms:{action}" for action in _ADMINISTERED.split()],
                "Resource": "*",
            },
            {
                "Sid": f"{the}Signs{signed.title()}",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:Sign"],
                "Resource": "*",
                "Condition": {"StringEquals": its_own | {"kms:SigningAlgorithm": "RSASSA_PKCS1_V1_5_SHA_256"}},
            },
            {
                "Sid": f"{the}KnowsTheKeyOf{signed.title()}",
                "Effect": "Allow",
                "Principal": {"AWS": "*"},
                "Action": ["kms:GetPublicKey"],
                "Resource": "*",
                "Condition": {"StringEquals": its_own},
            },
        ],
    }


def _let_sign(settings: Settings, signed: str, key: str) -> bool:
    """Whether the key's policy named another role than the one that signs now."""
    kms, role = settings.client("kms"), f"role/fiso-{settings.stage}-{SIGNERS[signed]}"
    if role in str(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]):
        return False
    account = str(settings.client("sts").get_caller_identity()["Account"])
    policy = _policy(settings.stage, kms.meta.region_name, account, signed)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    return True


def _make(settings: Settings, missing: Sequence[str], wait: Callable[[float], None]) -> None:
    """A run before this one may have been killed at any moment of it, and a creation may have been rolled back."""
    cloudformation, name = settings.client("cloudformation"), _stack(settings)
    if _status(settings) in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "DELETE_FAILED"):
        cloudformation.delete_stack(StackName=name)
        _settled(settings, wait)
    if _status(settings) is None:
        account = str(settings.client("sts").get_caller_identity()["Account"])
        body = template(settings.stage, cloudformation.meta.region_name, account, missing)
        cloudformation.create_stack(StackName=name, TemplateBody=json.dumps(body), EnableTerminationProtection=True)
    if (status := _settled(settings, wait)) != "CREATE_COMPLETE":
        raise CommandError(f"stack {name} is {status}: `aws cloudformation describe-stack-events --stack-name {name}`")


def _settled(settings: Settings, wait: Callable[[float], None]) -> str | None:
    waited_s = 0.0
    while (status := _status(settings)) is not None and status.endswith("IN_PROGRESS"):
        if waited_s > _WITHIN_S:
            raise CommandError(f"stack {_stack(settings)} is still {status}: run it again, it goes on")
        wait(_EVERY_S)
        waited_s += _EVERY_S
    return status


def _status(settings: Settings) -> str | None:
    try:
        stacks = settings.client("cloudformation").describe_stacks(StackName=_stack(settings))["Stacks"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    status = str(stacks[0]["StackStatus"])
    return None if status == "DELETE_COMPLETE" else status


def _id_of(settings: Settings, signed: str) -> str | None:
    """The key that signs: the settings' word, or the alias'."""
    return settings.read(f"{_PREFIX[signed]}-key-id") or _aliased(settings, signed)


def _aliased(settings: Settings, signed: str) -> str | None:
    try:
        found = settings.client("kms").describe_key(KeyId=_alias(settings, signed))
    except ClientError as error:
        if error.response["Error"]["Code"] != "NotFoundException":
            raise
        return None
    return str(found["KeyMetadata"]["KeyId"])


def _alias(settings: Settings, signed: str) -> str:
    return f"alias/fiso-{settings.stage}-{signed}"


def _stack(settings: Settings) -> str:
    return f"fiso-{settings.stage}-keys"


__all__ = ["SIGNERS", "Clients", "ensure", "template"]
