import pytest

from fiso.adapters.http.callers import returned_answer
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError


def passed(**headers: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return dict(returned_answer(FunctionAnswer(status=200, headers=named, body=b"")).headers)


def test_only_listed_headers_reach_the_caller() -> None:
    assert passed(content_type="a/b", set_cookie="x", server="y", etag="z") == {"content-type": "a/b", "etag": "z"}


def test_a_header_that_could_break_out_of_its_line_stays_behind() -> None:
    headers = passed(location="/a\r\n set-cookie: x", etag="\x00", vary="\xe9", content_language="de")
    assert headers == {"content-language": "de"}


def test_headers_that_no_gateway_returns_break_the_answer() -> None:
    with pytest.raises(ProviderError) as raised:
        passed(etag="x" * 9000)
    assert raised.value.failure is Failure.BROKEN
