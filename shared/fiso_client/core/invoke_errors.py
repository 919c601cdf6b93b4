"""Errors of Lambda's Invoke API by name: how the attempt failed, whose fault it is, whether the function can have run.

The name tells, not the status: 409 is an update in progress, a snapshot that is being made, or a runtime that is gone;
502 is a network interface that could not be had, or a key that may not be used. Names and meanings are those of the
service's own model (`lambda` / `Invoke`) and of "Common error types" in AWS's API references. What a name does not tell
is read by its status (`_BY_STATUS`).
"""

import json
import re
from collections.abc import Mapping

from fiso_client.core.answers import HttpAnswer, evidence_of, retry_after_s
from fiso_client.core.failures import Failure, Fault, Meaning, ProviderError

_BY_STATUS: Mapping[int, Failure] = {
    400: Failure.REJECTED,
    413: Failure.REJECTED,
    415: Failure.REJECTED,
    401: Failure.REFUSED,
    403: Failure.REFUSED,
    404: Failure.REFUSED,
    429: Failure.THROTTLED,
}
"""Statuses of Lambda's Invoke API, which are never the function's; any other from 300 on is the provider's fault."""
_NAME = re.compile(r"[A-Z][A-Za-z0-9]{2,63}")


_NOT_SET_UP = Meaning(Failure.NOT_STARTED, Fault.COPY)
_CONFIGURED = Meaning(Failure.REFUSED, Fault.CONFIGURATION)
_THROTTLED = Meaning(Failure.THROTTLED, Fault.THROTTLE)
_OUT_OF_ROOM = Meaning(Failure.NOT_STARTED, Fault.PROVIDER)
_CALLERS = Meaning(Failure.REJECTED, Fault.CALLER)
_UNKNOWN = Meaning(Failure.PROVIDER_FAULT, Fault.PROVIDER)

_ERRORS: Mapping[Meaning, str] = {
    # What the execution environment needs was not there: the handler was never called. This copy's alone, since no
    # sibling on another cloud has this file system, snapshot, network or key.
    _NOT_SET_UP: """
        CodeArtifactUserDeletedException CodeArtifactUserFailedException CodeArtifactUserPendingException
        EFSMountConnectivityException EFSMountFailureException EFSMountTimeoutException
        ENILimitReachedException ENINotReadyException
        InvalidRuntimeException InvalidZipFileException
        ResourceConflictException ResourceNotReadyException
        RuntimeAliasDeletedException RuntimeVersionDeletedException
        S3FilesMountConnectivityException S3FilesMountFailureException S3FilesMountTimeoutException
        SnapStartException SnapStartNotReadyException SnapStartRegenerationFailureException SnapStartTimeoutException
        SubnetIPAddressLimitReachedException
    """,
    # The operator's: a permission, a key, an address, a version, a mode; also FISO's own credentials. FISO writes all
    # parameters of an Invoke itself, so that a wrong one is no caller's.
    _CONFIGURED: """
        EC2AccessDeniedException
        InvalidParameterValueException InvalidSecurityGroupIDException InvalidSubnetIDException
        KMSAccessDeniedException KMSDisabledException KMSInvalidStateException KMSNotFoundException
        ModeNotSupportedException NoPublishedVersionException ResourceNotFoundException
        AccessDenied AccessDeniedException ExpiredToken ExpiredTokenException ForbiddenException
        IncompleteSignature IncompleteSignatureException InvalidAccessKeyId InvalidClientTokenId
        InvalidClientTokenIdException InvalidSignatureException MalformedHttpRequestException
        MissingAuthenticationToken MissingAuthenticationTokenException NotAuthorized NotAuthorizedException
        OptInRequired RequestExpired RequestTimeTooSkewed SignatureDoesNotMatch UnauthorizedException
        UnknownOperationException UnrecognizedClientException ValidationError ValidationException
    """,
    _THROTTLED: """
        TooManyRequestsException
        BandwidthLimitExceeded LimitExceededException RequestLimitExceeded RequestThrottled RequestThrottledException
        SlowDown ThrottledException Throttling ThrottlingException TooManyRequests
    """,
    # Before the function as well, but nothing that this copy can mend: the account's or the region's room is used up.
    _OUT_OF_ROOM: "EC2ThrottledException EC2UnexpectedException ServiceQuotaExceededException",
    # Lambda stops a loop in which this invocation would be the next turn.
    Meaning(Failure.NOT_STARTED, Fault.FUNCTION): "RecursiveInvocationException",
    # The name of a durable execution is the request's; the one that has it runs already, so that nothing is to be
    # started elsewhere.
    _CALLERS: """
        DurableExecutionAlreadyStartedException InvalidRequestContentException RequestEntityTooLargeException
        RequestTooLargeException SerializedRequestEntityTooLargeException UnsupportedMediaTypeException
    """,
    # Read or written by a function that runs.
    Meaning(Failure.PROVIDER_FAULT, Fault.COPY): "EFSIOException",
    # Nobody says where it happened. A 503 before the function is not told from one after it.
    _UNKNOWN: """
        ServiceException
        InternalError InternalFailure InternalFailureException InternalServerError InternalServerErrorException
        InternalServerException RequestAbortedException RequestTimeout RequestTimeoutException ServiceUnavailable
        ServiceUnavailableException
    """,
}
INVOKE_ERRORS: Mapping[str, Meaning] = {name: meaning for meaning, names in _ERRORS.items() for name in names.split()}
"""What each error means that has a known name."""


def invoke_error(answer: HttpAnswer) -> ProviderError:
    """What an answer of the Invoke API that is not the function's means. Of an error that nobody knows the text is not
    repeated: somebody else may stand in Lambda's place."""
    name = _name(answer)
    meaning = INVOKE_ERRORS.get(name)
    return ProviderError(
        meaning.failure if meaning else _BY_STATUS.get(answer.status, Failure.PROVIDER_FAULT),
        evidence_of(answer.status, name, answer.body if meaning else b""),
        retry_after_s=retry_after_s(answer.headers),
        status=answer.status,
        verdict=meaning.fault if meaning else None,
    )


def _name(answer: HttpAnswer) -> str:
    """`x-amzn-errortype`, else the body's `__type`, `code` or `Type`, without namespace and what follows a colon
    (Smithy, restJson1, "Operation error serialization"); empty where none is a name. The header may carry a list."""
    stated = [answer.headers.get("x-amzn-errortype", ""), *_named_in(answer.body)]
    names = (text.partition(":")[0].rpartition("#")[2].strip() for text in stated)
    return next((name for name in names if _NAME.fullmatch(name) and name not in ("User", "Service")), "")


def _named_in(body: bytes) -> list[str]:
    if not body.lstrip().startswith(b"{"):
        return []
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    return [text for key in ("__type", "code", "Type") if isinstance(text := document.get(key), str)]
