"""The one table that turns AWS's errors, from boto3 or from `aws_client`, into FISO's store errors."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fiso.adapters.aws.client import AwsError
from fiso.domain.errors import StoreUnavailable, WriteConflict
from fiso_client.core.transport import TransportError

CONFLICTS = frozenset(
    {
        "ConditionalCheckFailedException",
        "ConditionalRequestConflict",
        "PreconditionFailed",
        "TransactionCanceledException",
    }
)
MISSING = frozenset({"NoSuchKey", "404", "ResourceNotFoundException"})


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Everything that can go wrong inside becomes `WriteConflict` or `StoreUnavailable`, naming what was tried."""
    try:
        yield
    except TransportError as error:
        raise StoreUnavailable(f"{what}: {error}") from error
    except aws_errors() as error:
        response: Mapping[str, Any] = getattr(error, "response", {})
        code = code_of(error)
        if code in CONFLICTS and not _is_throttling_only(response):
            raise WriteConflict(f"{what}: {error}") from error
        raise StoreUnavailable(f"{what}: {error}") from error


def code_of(error: BaseException) -> str:
    """AWS's own name of an error; empty when there is none (no connection, say)."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_missing(error: BaseException) -> bool:
    """Whether an error says that there is no such thing."""
    return code_of(error) in MISSING


def aws_errors() -> tuple[type[Exception], ...]:
    """The exception types that AWS's errors come as; boto3's only where boto3 is in use at all."""
    botocore = sys.modules.get("botocore.exceptions")
    if botocore is None:
        return (AwsError,)
    return (AwsError, botocore.ClientError, botocore.BotoCoreError)


def _is_throttling_only(response: Mapping[str, Any]) -> bool:
    """A transaction that was cancelled without any failed condition can be repeated as it is."""
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons", [])} - {"None"}
    return bool(reasons) and not reasons & {"ConditionalCheckFailed", "TransactionConflict"}
