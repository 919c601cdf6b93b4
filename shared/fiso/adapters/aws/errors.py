"""The one table that turns AWS's errors, from boto3 or from `aws_client`, into FISO's store errors."""

import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fiso.adapters.aws.client import AwsError
from fiso.domain.errors import InvalidRecord, StoreUnavailable, WriteConflict
from fiso_client.core.transport import TransportError

CONFLICTS = frozenset(
    {
        "ConditionalCheckFailedException",
        "ConditionalRequestConflict",
        "PreconditionFailed",
        "TransactionCanceledException",
        "TransactionConflictException",
    }
)
MISSING = frozenset({"NoSuchKey", "404", "ResourceNotFoundException"})

DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    OSError,
    EOFError,
    zlib.error,
    InvalidRecord,
)
"""What reading an answer meets that is not the store's, although its status is 200: a proxy's page, a truncated body,
another service's JSON."""


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Everything that can go wrong inside becomes `WriteConflict` or `StoreUnavailable`, naming what was tried.

    The answer is read inside as well: nobody further up can tell a damaged one from a fault of ours, and in a
    background refresh that would take an answer away that a function has already given.
    """
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
    except DAMAGE as error:
        raise StoreUnavailable(f"{what}: not what the store answers: {type(error).__name__}: {error!s:.200}") from error


def code_of(error: BaseException) -> str:
    """AWS's own name of an error; empty when there is none (no connection, say)."""
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def is_missing(error: BaseException) -> bool:
    return code_of(error) in MISSING


def aws_errors() -> tuple[type[Exception], ...]:
    """The exception types that AWS's errors come as; boto3's only where boto3 is in use at all, and not while another
    thread is about to load it."""
    botocore = sys.modules.get("botocore.exceptions")
    client, core = (getattr(botocore, name, None) for name in ("ClientError", "BotoCoreError"))
    return (AwsError, client, core) if client and core else (AwsError,)


def _is_throttling_only(response: Mapping[str, Any]) -> bool:
    """A transaction that was cancelled without any failed condition can be repeated as it is."""
    reasons = {reason.get("Code", "None") for reason in response.get("CancellationReasons", [])} - {"None"}
    return bool(reasons) and not reasons & {"ConditionalCheckFailed", "TransactionConflict"}
