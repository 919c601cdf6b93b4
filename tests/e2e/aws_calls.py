"""An AWS API call as its HTTP request shows it: who called which operation of which service on what.

Standard library only. Payloads and keys never become part of it; only what an IAM statement speaks of does.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]*)/([^/]+)/aws4_request")
_RPC_PATH = re.compile(r"/service/[^/]+/operation/(\w+)")
_LAMBDA_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
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
class AwsCall:
    """`caller` is the access key. `resources`: tables, `table/index/name`, buckets, `bucket/key`, functions, names."""

    caller: str
    service: str
    operation: str
    resources: tuple[str, ...]


def read_call(request: Request) -> AwsCall | None:
    """None for a request that nobody signed, which is then no AWS API call."""
    signed = _CREDENTIAL.search(request.headers.get("authorization", ""))
    if signed is None:
        return None
    service = signed[3]
    path, _, query = request.target.partition("?")
    if service == "s3":
        operation, resources = _s3(request.method, unquote(path), parse_qs(query, keep_blank_values=True))
    elif invoked := _LAMBDA_INVOKE.fullmatch(path):
        operation, resources = "Invoke", (unquote(invoked[1]),)
    else:
        operation, resources = _operation(request, path), _resources(request)
    return AwsCall(caller=signed[1], service=service, operation=operation, resources=resources)


def _operation(request: Request, path: str) -> str:
    """JSON services name the operation in a header, RPC ones in the path, query ones in the form."""
    target = request.headers.get("x-amz-target")
    if target:
        return target.rpartition(".")[2]
    if rpc := _RPC_PATH.fullmatch(path):
        return rpc[1]
    action = parse_qs(request.body.decode(errors="replace")).get("Action") if request.method == "POST" else None
    return action[0] if action else f"{request.method} {path}"


def _s3(method: str, path: str, query: Mapping[str, list[str]]) -> tuple[str, tuple[str, ...]]:
    bucket, _, key = path.strip("/").partition("/")
    resource = (f"{bucket}/{key}" if key else bucket,) if bucket else ()
    for (of_method, parameter), operation in _S3_SUBRESOURCE.items():
        if method == of_method and parameter in query:
            return operation, resource
    if key:
        return _S3_OBJECT.get(method, f"{method} object"), resource
    if method == "GET":
        listing = "ListObjectsV2" if query.get("list-type") == ["2"] else "ListObjects"
        return listing if bucket else "ListBuckets", resource
    return _S3_BUCKET.get(method, f"{method} bucket"), resource


def _resources(request: Request) -> tuple[str, ...]:
    """What a JSON request names: tables with their index, streams, secrets, parameters, log groups."""
    try:
        document = json.loads(request.body or b"{}")
    except ValueError:
        return ()
    if not isinstance(document, dict):
        return ()
    return tuple(sorted(set(_tables(document)) | set(_named(document))))


def _tables(document: Mapping[str, object]) -> list[str]:
    found = []
    if isinstance(table := document.get("TableName"), str):
        index = document.get("IndexName")
        found.append(f"{table}/index/{index}" if isinstance(index, str) else table)
    if isinstance(items := document.get("RequestItems"), dict):
        found.extend(map(str, items))
    if isinstance(actions := document.get("TransactItems"), list):
        for action in actions:
            found.extend(str(part["TableName"]) for part in action.values() if "TableName" in part)
    return found


def _named(document: Mapping[str, object]) -> list[str]:
    names = ("StreamArn", "SecretId", "logGroupName", "Name", "FunctionName", "QueueUrl", "TopicArn", "KeyId")
    return [value for name in names if isinstance(value := document.get(name), str)]
