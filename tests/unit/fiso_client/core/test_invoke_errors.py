"""Lambda's Invoke errors against the service's own model."""

import json
from collections.abc import Iterator

import botocore.session
import pytest

from fiso_client.core.answers import HttpAnswer
from fiso_client.core.failures import NEVER_RAN, Failure, Fault, ProviderError
from fiso_client.core.invoke_errors import INVOKE_ERRORS, invoke_error
from fiso_client.core.lambda_api import read_invocation

MAY_HAVE_RUN = {"ServiceException", "EFSIOException"}
"""The two of the model's errors of which nobody says that they happened before the function."""
OWN_WORDS = {
    "InvalidRequestContentException", "RequestTooLargeException", "SerializedRequestEntityTooLargeException",
    "UnsupportedMediaTypeException", "DurableExecutionAlreadyStartedException",
}  # fmt: skip
"""Errors that the request itself brings about."""
COMMON_NEVER_RAN = ("AccessDeniedException", "ExpiredTokenException", "UnrecognizedClientException", "Throttling")
COMMON_UNKNOWN = ("InternalFailure", "ServiceUnavailable", "ServiceUnavailableException", "RequestAbortedException")


def modelled() -> Iterator[tuple[str, int]]:
    """Each error of Invoke with its status."""
    operation = botocore.session.get_session().get_service_model("lambda").operation_model("Invoke")
    for shape in operation.error_shapes:
        yield shape.name, shape.metadata["error"]["httpStatusCode"]


def an_error(status: int, name: str = "", body: object = None) -> HttpAnswer:
    headers = {"x-amzn-errortype": name} if name else {}
    return HttpAnswer(status=status, headers=headers, body=json.dumps(body or {}).encode())


def read(answer: HttpAnswer) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        read_invocation(answer, is_event=False)
    return raised.value


@pytest.mark.parametrize(("name", "status"), list(modelled()))
def test_each_error_of_the_services_model_is_read_by_its_name(name: str, status: int) -> None:
    error = read(an_error(status, name, {"message": "as AWS words it"}))
    assert name in INVOKE_ERRORS
    assert (error.failure in NEVER_RAN) == (name not in MAY_HAVE_RUN)
    assert (error.verdict is Fault.CALLER) == (name in OWN_WORDS) == (error.failure is Failure.REJECTED)
    assert (error.status, error.detail) == (status, f'status {status} {name}: {{"message": "as AWS words it"}}')


def test_what_may_have_run_is_never_said_not_to_have_run_whatever_the_status() -> None:
    never = {name for name, _ in modelled()} - MAY_HAVE_RUN | {*COMMON_NEVER_RAN}
    for status in (*range(100, 200), *range(201, 600)):
        named = {
            name: invoke_error(an_error(status, name)).failure for name in (*never, *MAY_HAVE_RUN, *COMMON_UNKNOWN)
        }
        assert {name for name, failure in named.items() if failure in NEVER_RAN} == never
        # Lambda's own front answers these without ever asking for the function
        expected = status in (400, 401, 403, 404, 413, 415, 429)
        nameless = [read(an_error(status)), read(an_error(status, "BrandNewException"))]
        assert [error.failure in NEVER_RAN for error in nameless] == [expected] * 2


@pytest.mark.parametrize(
    "answer",
    [
        an_error(409, "ResourceConflictException:http://internal.amazon.com/coral/com.amazonaws.lambda/"),
        an_error(409, "com.amazonaws.lambda#ResourceConflictException"),
        an_error(409, body={"__type": "com.amazonaws.lambda#ResourceConflictException"}),
        an_error(409, body={"code": "ResourceConflictException"}),
        an_error(409, body={"Type": "ResourceConflictException"}),
        an_error(409, " , ", {"Type": "User", "__type": "ResourceConflictException"}),
    ],
)
def test_the_name_is_found_where_amazons_protocols_put_it(answer: HttpAnswer) -> None:
    error = read(answer)
    assert (error.failure, error.verdict) == (Failure.NOT_STARTED, Fault.COPY)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b'{"__type": 7}', b"{" * 100_000])
def test_a_body_that_names_nothing_leaves_the_status(body: bytes) -> None:
    error = invoke_error(HttpAnswer(status=500, headers={}, body=body))
    assert (error.failure, error.detail) == (Failure.PROVIDER_FAULT, "status 500")


def test_text_of_an_error_that_nobody_knows_is_not_repeated() -> None:
    error = read(an_error(500, "token=abc", {"message": "hunter2"}))
    assert error.detail == "status 500"
