"""What an HTTP request to AWS asks IAM for: permissions on resources, with what conditions can speak of.

Standard library only. From the published Service Authorization Reference (docs.aws.amazon.com/service-authorization),
and where an operation has no action of its own from its own page: transactions need the permissions of what is in them
(DynamoDB guide, "Using IAM with DynamoDB transactions"), a missing object is told as such only to who may list the
bucket (S3, GetObject), and If-Match needs to read as well (S3, "Conditional writes"). `tests/contract/test_roles.py`
holds these names against the reference's data and the SDK's models.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import unescape

from fiso_cli.local_stage import ACCOUNT, REGION

Context: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]
"""Condition keys with their values."""

ACTIONS = {
    ("lambda", "Invoke"): "InvokeFunction",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
}
"""The action of an operation that has none of its own name."""
IN_TRANSACTIONS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
TARGET_TAG = "aws:ResourceTag/fiso-target"
TAGGED = "somebodys"
"""A function that has the tag; tests' other functions have none."""
PARTITION_KEYS = {
    "fiso-invocation-logs": "invocation_id",
    "fiso-endpoint-state": "function_name",
    "fiso-idempotency": "idempotency_id",
}
"""By the beginning of a table's name. An index's keys are told from what is asked of it."""

SIGNED_AS = {"monitoring": "cloudwatch"}
"""Services whose signatures name them otherwise than permissions do."""

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]*)/([^/]+)/aws4_request")
_RPC_PATH = re.compile(r"/service/[^/]+/operation/(\w+)")
_LAMBDA_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_KEY_CONDITION = re.compile(r"\s*([#\w]+)\s*=\s*(:\w+)")
_DELETED = re.compile(r"<Key>([^<]*)</Key>")
_NAMES = ("SecretId", "logGroupName", "Name", "KeyId")
_S3_OBJECT = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
_S3_BUCKET = {"PUT": "CreateBucket", "HEAD": "HeadBucket", "DELETE": "DeleteBucket"}
# A query parameter without value names the operation, where the method alone does not.
_S3_SUBRESOURCE = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "tagging"): "GetObjectTagging",
    ("GET", "uploadId"): "ListParts",
    ("GET", "uploads"): "ListMultipartUploads",
    ("GET", "versions"): "ListObjectVersions",
    ("POST", "delete"): "DeleteObjects",
    ("POST", "uploadId"): "CompleteMultipartUpload",
    ("POST", "uploads"): "CreateMultipartUpload",
    ("PUT", "tagging"): "PutObjectTagging",
    ("PUT", "uploadId"): "UploadPart",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request. `target` is the raw path with its query; header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """One permission that a call needs. `caller` is the access key, `operation` what the SDK calls it."""

    caller: str
    operation: str
    permission: str
    arn: str
    context: Context = ()

    @property
    def service(self) -> str:
        return self.permission.partition(":")[0]


def accesses_of(request: Request, status: int) -> list[Access]:
    """None for a request that nobody signed, which is then no AWS API call."""
    signed = _CREDENTIAL.search(request.headers.get("authorization", ""))
    if signed is None:
        return []
    caller = _Caller(key=signed[1], region=signed[2], service=SIGNED_AS.get(signed[3], signed[3]))
    return [*(_s3(caller, request, status) if caller.service == "s3" else _json(caller, request))]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Caller:
    key: str
    region: str
    service: str

    def access(self, operation: str, resource: str, *, action: str = "", context: Context = ()) -> Access:
        """`action` where it is not the operation's own."""
        action = action or ACTIONS.get((self.service, operation), operation)
        arn = arn_of(self.service, resource, region=self.region)
        permission = f"{self.service}:{action}"
        return Access(caller=self.key, operation=operation, permission=permission, arn=arn, context=context)


def _s3(caller: _Caller, request: Request, status: int) -> Iterator[Access]:
    path, _, text = request.target.partition("?")
    query, named = parse_qs(text, keep_blank_values=True), unquote(path).strip("/")
    bucket, _, key = named.partition("/")
    operation = _s3_operation(request.method, query, bucket=bucket, key=key)
    if operation == "DeleteObjects":
        for key in _DELETED.findall(request.body.decode()):
            yield caller.access(operation, f"{bucket}/{unescape(key)}", action="DeleteObject")
        return
    prefix: Context = (("s3:prefix", tuple(query["prefix"])),) if "prefix" in query else ()
    yield caller.access(operation, named, context=prefix)
    if status == 404 and key:
        yield caller.access(operation, bucket, action="ListBucket")
    if "if-match" in request.headers and request.method == "PUT":
        yield caller.access(operation, named, action="GetObject")


def _s3_operation(method: str, query: Mapping[str, Sequence[str]], *, bucket: str, key: str) -> str:
    for (of_method, parameter), operation in _S3_SUBRESOURCE.items():
        if method == of_method and parameter in query:
            return operation
    if key:
        return _S3_OBJECT.get(method, f"{method} object")
    if method == "GET":
        listing = "ListObjectsV2" if query.get("list-type") == ["2"] else "ListObjects"
        return listing if bucket else "ListBuckets"
    return _S3_BUCKET.get(method, f"{method} bucket")


def _json(caller: _Caller, request: Request) -> Iterator[Access]:
    path = request.target.partition("?")[0]
    if invoked := _LAMBDA_INVOKE.fullmatch(path):
        name = unquote(invoked[1])
        tagged: Context = ((TARGET_TAG, ("prod",)),) if name.rpartition(":")[2] == TAGGED else ()
        yield caller.access("Invoke", name, context=tagged)
        return
    operation, asked = _operation(request, path), _document(request.body)
    if operation == "GetWebIdentityToken":
        yield caller.access(operation, "*", context=_of_token(request.body))
        return
    if caller.service == "dynamodb":
        yield from _dynamodb(caller, operation, asked)
        return
    said = [name for name in ("SigningAlgorithm", "MessageType") if name in asked]
    context = tuple((f"{caller.service}:{name}", (str(asked[name]),)) for name in said)
    stream = str(asked.get("logStreamName", ""))
    for resource in [str(asked[name]) for name in _NAMES if name in asked] or ["*"]:
        yield caller.access(operation, f"{resource}:{stream}" if stream else resource, context=context)


def _of_token(body: bytes) -> Context:
    """What a token of AWS's own is for, from the form that asks for it."""
    form = {name: tuple(found) for name, found in parse_qs(body.decode()).items()}
    audiences = tuple(each for name, found in form.items() if name.startswith("Audience.member.") for each in found)
    said = {
        "IdentityTokenAudience": audiences,
        **{name: form[name] for name in ("SigningAlgorithm", "DurationSeconds")},
    }
    return tuple((f"sts:{name}", found) for name, found in said.items())


def _operation(request: Request, path: str) -> str:
    """JSON services name the operation in a header, RPC ones in the path, query ones in the form."""
    target = request.headers.get("x-amz-target")
    if target:
        return target.rpartition(".")[2]
    if rpc := _RPC_PATH.fullmatch(path):
        return rpc[1]
    action = parse_qs(request.body.decode(errors="replace")).get("Action") if request.method == "POST" else None
    return action[0] if action else f"{request.method} {path}"


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _dynamodb(caller: _Caller, operation: str, asked: Mapping[str, Any]) -> Iterator[Access]:
    """Per table what is asked of it."""
    for (table, action), keys in _in_transaction(asked).items():
        # AWS does not say whether it looks at a transaction's items one by one or at all of a kind: both must do.
        for of_one_look in {*((key,) for key in keys), tuple(sorted(keys))}:
            enclosing = ("dynamodb:EnclosingOperation", (operation,))
            context = (enclosing, ("dynamodb:LeadingKeys", of_one_look))
            yield caller.access(operation, table, action=action, context=context)
    for table, part in asked.get("RequestItems", {}).items():
        keys = {key for item in part["Keys"] for _, values in _leading_keys(table, {"Key": item}) for key in values}
        yield caller.access(operation, table, context=(("dynamodb:LeadingKeys", tuple(sorted(keys))),))
    if "TableName" in asked:
        table, index = asked["TableName"], asked.get("IndexName")
        resource = f"{table}/index/{index}" if index else table
        yield caller.access(operation, resource, context=_leading_keys(table, asked))


def _in_transaction(asked: Mapping[str, Any]) -> Mapping[tuple[str, str], set[str]]:
    """By table and action: the partition keys of items."""
    found = defaultdict[tuple[str, str], set[str]](set)
    for each in asked.get("TransactItems", ()):
        ((kind, part),) = each.items()
        for _, keys in _leading_keys(part["TableName"], part):
            found[part["TableName"], IN_TRANSACTIONS[kind]].update(keys)
    return found


def _leading_keys(table: str, asked: Mapping[str, Any]) -> Context:
    """The partition key of an item that is named, or of the query's first equality."""
    item = asked.get("Item") or asked.get("Key")
    if item is not None:
        (name,) = [name for begin, name in PARTITION_KEYS.items() if table.startswith(begin)]
        attribute = item[name]
    else:
        found = _KEY_CONDITION.match(asked["KeyConditionExpression"])
        assert found is not None, asked["KeyConditionExpression"]
        attribute = asked["ExpressionAttributeValues"][found[2]]
    ((_, value),) = attribute.items()
    return (("dynamodb:LeadingKeys", (str(value),)),)


def arn_of(service: str, resource: str, *, region: str = REGION) -> str:
    """What a request names, as IAM names it. A secret has six characters of its own behind its name, a call on a whole
    log group the stream "" behind that."""
    if resource == "*":
        return resource
    if service == "secretsmanager":
        name = resource.partition(":secret:")[2] or resource
        return f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{name}-a1B2c3"
    if resource.startswith("arn:"):
        return resource
    if service == "logs":
        group, _, stream = resource.partition(":")
        return f"arn:aws:logs:{region}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"
    if service == "s3":
        return f"arn:aws:s3:::{resource}"
    kinds = {"dynamodb": "table/", "lambda": "function:", "ssm": "parameter", "kms": "key/"}
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{kinds.get(service, '')}{resource}"
