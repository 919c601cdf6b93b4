"""The header policy against RFC 9110, W3C Trace Context and the table in docs/http.md."""

import pytest

from fiso.domain import headers
from fiso.domain.headers import SIGNATURE, TOKEN, cookies_of, flaw_of, of_answer, of_request

NONE: frozenset[str] = frozenset()
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def passed(given: dict[str, str], consumed: frozenset[str] = NONE, only: frozenset[str] = NONE) -> dict[str, str]:
    return of_request(given, consumed=consumed, only=only)


@pytest.mark.parametrize(
    "name",
    "accept accept-encoding authorization cookie user-agent x-custom if-none-match range origin referer baggage "
    "forwarded x-amzn-trace-id content-type content-encoding x-api-key x-functions-key prefer sec-fetch-mode".split(),
)
def test_what_is_the_callers_own_passes_as_it_is(name: str) -> None:
    assert passed({name: "Value, of any; kind"}) == {name: "Value, of any; kind"}


@pytest.mark.parametrize(
    "name",
    "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding "
    "upgrade host content-length expect proxy x-forwarded-for x-forwarded-host x-forwarded-proto "
    "x-fiso-tenant x-fiso-caller x-fiso-invocation-id x-fiso-deadline-ms x-fiso-anything".split(),
)
def test_what_belongs_to_one_hop_or_to_fiso_stays(name: str) -> None:
    assert passed({name: "x", "accept": "y"}) == {"accept": "y"}


def test_what_connection_names_stays() -> None:
    given = {"connection": "close, X-Hop , te", "x-hop": "1", "x-end": "2"}
    assert passed(given) == {"x-end": "2"}


@pytest.mark.parametrize(
    "name", ["x_fiso_tenant", "x-fiso_caller", "x_forwarded_for", "content_length", "proxy_connection"]
)
def test_what_a_wsgi_function_could_not_tell_from_it_stays_too(name: str) -> None:
    assert passed({name: "admin", "x_own": "1"}) == {"x_own": "1"}


def test_a_token_that_fiso_verified_is_not_given_away() -> None:
    given = {"authorization": "Bearer of-fiso", "x-amz-date": "1"}
    assert passed(given, TOKEN) == {"x-amz-date": "1"}
    assert passed(given) == given


def test_a_signature_for_fiso_is_not_given_away() -> None:
    given = dict.fromkeys(["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"], "x")
    assert passed(given | {"accept": "y"}, SIGNATURE) == {"accept": "y"}


@pytest.mark.parametrize("consumed", [NONE, TOKEN, SIGNATURE])
def test_a_function_can_have_an_authorization_of_its_own(consumed: frozenset[str]) -> None:
    given = {"authorization": "for fiso", "x-fiso-forward-authorization": "Basic for-the-function"}
    assert passed(given, consumed) == {"authorization": "Basic for-the-function"}


def test_the_session_of_whoever_is_logged_in_to_the_console_is_not_given_away() -> None:
    given = "a=1; __Host-fiso-session=secret; b=fiso-2; fiso-session=secret;c=3"
    assert passed({"cookie": given})["cookie"] == "a=1; b=fiso-2;c=3"
    assert cookies_of(["a=1", "__Host-fiso-session=forged; Path=/", " fiso-session=forged"]) == ("a=1",)


@pytest.mark.parametrize("line", ["=fiso-session=x", "=__Host-fiso-session=x", " = \tFISO-session=x", "==fiso-a=x"])
def test_nor_is_one_given_to_a_browser_as_the_value_of_a_cookie_without_a_name(line: str) -> None:
    assert cookies_of([line, "=a"]) == ("=a",)


@pytest.mark.parametrize(
    ("parent", "goes_on"),
    [
        (TRACE, True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", True),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", False),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", False),
        ("", False),
    ],
)
def test_a_trace_goes_on_where_its_parent_is_valid(parent: str, goes_on: bool) -> None:
    given = {"traceparent": parent, "tracestate": "congo=t61rcWkgMzE", "baggage": "a=1"}
    assert passed(given) == (given if goes_on else {"baggage": "a=1"})


def test_a_trace_state_without_a_parent_means_nothing() -> None:
    assert passed({"tracestate": "congo=t61rcWkgMzE"}) == {}


def test_a_policy_narrows_to_what_it_names_and_what_the_body_needs() -> None:
    given = {"accept": "a", "cookie": "b", "content-type": "c/d", "content-encoding": "gzip"}
    assert set(passed(given, only=frozenset({"accept"}))) == {"accept", "content-type", "content-encoding"}


@pytest.mark.parametrize(
    "name",
    "content-type content-disposition allow www-authenticate link retry-after etag vary location x-custom "
    "access-control-allow-origin x-amzn-errortype content-security-policy".split(),
)
def test_what_is_the_functions_own_passes_back(name: str) -> None:
    assert of_answer({name: "Value, of any; kind"}) == {name: "Value, of any; kind"}


@pytest.mark.parametrize(
    "name",
    "connection keep-alive transfer-encoding trailer upgrade content-length set-cookie server date via alt-svc "
    "x-powered-by x-cloud-trace-context x-amzn-requestid x-fiso-provider x-fiso-cold".split(),
)
def test_what_is_of_a_hop_a_front_door_or_fiso_stays_behind(name: str) -> None:
    assert of_answer({name: "1", "etag": "y"}) == {"etag": "y"}


def test_the_length_of_what_head_would_get_passes() -> None:
    assert of_answer({"content-length": "1234"}, is_head=True) == {"content-length": "1234"}
    assert of_answer({"content-length": "12, 34"}, is_head=True) == {}


@pytest.mark.parametrize("value", ["/a\r\n set-cookie: x", "\x00", "\xe9", "\u0436", "\x7f"])
def test_a_header_that_could_break_out_of_its_line_stays_behind(value: str) -> None:
    assert of_answer({"location": value, "etag": "y"}) == {"etag": "y"}
    assert cookies_of([value]) == ()


@pytest.mark.parametrize(
    "given",
    [{"": "x"}, {"a b": "x"}, {"a:b": "x"}, {"a\nb": "x"}, {"é": "x"}, {"a": "x\n"}, {"a": "\0"}, {"a": "\ud800"}],
)
def test_what_is_no_header_is_told(given: dict[str, str]) -> None:
    assert flaw_of(given | {"accept": "*/*"})


def test_a_tab_and_what_is_beyond_ascii_are_part_of_a_value() -> None:
    assert flaw_of({"x-a": "a\tb", "x-b": "\xe9\u0436"}) is None


def test_no_name_of_the_table_is_spelled_in_a_way_that_never_matches() -> None:
    names = headers.HOP_BY_HOP | headers.WRITTEN_ANEW | headers.SIGNATURE | headers.FRONT_DOORS | headers.OF_THE_BODY
    assert {name for name in names if name != name.lower().strip() or flaw_of({name: ""})} == set()
