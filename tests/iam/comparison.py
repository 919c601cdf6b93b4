"""A role beside what its function does: what is forbidden to it, what nobody uses, and what goes further than that.

The last is told by probes: everything that any function asks for, and the like of it elsewhere (another stage, account,
region, folder, index, function), asked for by this role. What it may, and its function never does, is too much.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeAlias

from tests.iam.policy import Statement, applies, is_allowed, values
from tests.iam.wire import TAGGED, TARGET_TAG, Access

Kind: TypeAlias = tuple[str, str, str]
"""Of accesses that one permission is for: permission, place, and the kind of item by its partition key."""

_ITEMS = re.compile(r"#\w+|[a-z]*[#:]")
SHARED = "/fiso-endpoint-state-"
_SHARED_KEYS = ("folded#probe", "breakers#", "#catalog", "#models", "#another", "word-count")
"""Partition keys of each kind of item in the shared table, and of one that there might be."""


def problems(role: Sequence[Statement], made: Iterable[Access], others: Iterable[Access]) -> list[str]:
    """Nothing for a role that lets its function do what it does (`made`) and no more, of all that there is (`others`
    do some of it)."""
    own = frozenset(made)
    return [
        *(f"forbidden: {_shown(access)}" for access in forbidden(role, own)),
        *(f"nobody uses: {permission}" for permission in _unused(role, own)),
        *(f"goes further: {kind}" for kind in sorted(_surplus(role, own, [*own, *others]))),
    ]


def forbidden(role: Sequence[Statement], made: Iterable[Access]) -> list[Access]:
    """What a function does and its role does not let it."""
    return [access for access in made if not is_allowed(access, role)]


def _unused(role: Sequence[Statement], own: Iterable[Access]) -> Iterator[str]:
    for statement in role:
        if statement["Effect"] != "Allow":
            continue
        for action, resource, condition in product(
            values(statement["Action"]), values(statement["Resource"]), _single(statement.get("Condition", {}))
        ):
            alone = {"Effect": "Allow", "Action": action, "Resource": resource, "Condition": condition}
            if "*" in action or "?" in action or not any(applies(alone, access) for access in own):
                yield f"{action} on {resource}" + (f" if {condition}" if condition else "")


def _single(condition: Mapping[str, Mapping[str, object]]) -> Iterator[Mapping[str, Mapping[str, object]]]:
    """A condition with each one of the values that it takes; what it refuses stays whole."""
    taken = [
        (operator, key, value)
        for operator, keys in condition.items()
        for key, listed in keys.items()
        for value in values(listed)
        if "Not" not in operator and operator != "Null"
    ]
    if not taken:
        yield condition
    for operator, key, value in taken:
        yield {**condition, operator: {**condition[operator], key: value}}


def _surplus(role: Sequence[Statement], own: Iterable[Access], seen: Sequence[Access]) -> set[Kind]:
    done = {kind_of(access) for access in own}
    permissions = {access.permission for access in seen}
    permissions |= {action for statement in role for action in values(statement["Action"])}
    return {
        kind
        for place in set(_probed(seen))
        for permission in permissions
        if permission.partition(":")[0] == place.service
        and (kind := kind_of(probe := replace(place, permission=permission))) not in done
        and is_allowed(probe, role)
    }


def _probed(seen: Iterable[Access]) -> Iterator[Access]:
    """One access of each kind that is seen, and the like of it elsewhere."""
    each = {kind_of(access): access for access in seen}
    for access in each.values():
        found = replace(access, caller="", operation="")
        yield found
        for arn in _like(access.arn):
            yield replace(found, arn=arn)
        if access.context and access.service == "lambda":
            yield from (replace(found, context=context) for context in ((), ((TARGET_TAG, ("dev",)),)))
        if access.permission == "kms:Sign":
            yield replace(found, context=(("kms:SigningAlgorithm", ("RSASSA_PSS_SHA_256",)),))
        if access.permission == "sts:GetWebIdentityToken":
            of_token = dict(access.context)
            for more in ({"sts:IdentityTokenAudience": ("another",)}, {"sts:DurationSeconds": ("3600",)}):
                yield replace(found, context=tuple({**of_token, **more}.items()))
        if SHARED in access.arn:
            for key in _SHARED_KEYS:
                yield replace(found, context=(("dynamodb:LeadingKeys", (key,)),))


def _like(arn: str) -> Iterator[str]:
    """Names that are not this stage's, or none that anybody uses. What has no ARN (metrics) has none like it."""
    if arn == "*":
        return
    yield arn.replace("prod", "dev")
    yield arn.replace("us-east-1", "eu-west-1")
    yield arn.replace("000000000000", "111122223333")
    if arn.startswith("arn:aws:s3:::"):
        bucket, _, key = arn.partition("/")
        yield from (f"{bucket}/another/object", f"{bucket}/object", f"{bucket}-alike/{key}")
        yield f"{bucket}/{key.partition('/')[0]}-alike/object"
    else:
        head, divider, _ = arn.rpartition("/" if "/" in arn else ":")
        yield f"{head}{divider}another"
    if ":table/" in arn:
        table = arn.partition("/index/")[0]
        yield from (f"{table}/index/another", f"{table}-alike")
    if ":function:" in arn:
        functions = ("orchestrator", "stream-consumer", "keeper", "retrainer", "console")
        yield from (arn.replace("sample-aws", function) for function in functions)
        yield f"{arn}-alike"
        yield from (arn.replace(TAGGED, f"fiso-prod-{function}") for function in functions)
    yield arn.replace("-a1B2c3", "-alike-a1B2c3").replace(":log-stream:", "-alike:log-stream:")


def kind_of(access: Access) -> Kind:
    """Objects by their first folder and how deep they are in it, logs by their group, functions by their tag if they
    have it, and in the table that functions share, items by what their partition key begins with."""
    if access.service == "s3":
        bucket, *folders = access.arn.split("/")
        return access.permission, "/".join([bucket, *folders[:1], *("*" for _ in folders[1:-1])]), ""
    if access.service == "logs":
        return access.permission, access.arn.partition(":log-stream:")[0], ""
    if access.permission == "kms:Sign":
        return access.permission, access.arn, "".join(dict(access.context).get("kms:SigningAlgorithm", ()))
    if access.permission == "sts:GetWebIdentityToken":
        return access.permission, "", str(access.context)
    if access.service == "lambda" and access.context and "function:fiso-" not in access.arn:
        account = access.arn.split(":")[4]
        return access.permission, f"a function of {account}", str(access.context)  # whoever tags one wants it called
    keys = dict(access.context).get("dynamodb:LeadingKeys", ()) if SHARED in access.arn else ()
    begun = {match[0] for key in keys if (match := _ITEMS.match(key))}
    return access.permission, access.arn, " ".join(sorted(begun))


def _shown(access: Access) -> str:
    return f"{access.permission} on {access.arn}" + (f" with {dict(access.context)}" if access.context else "")
