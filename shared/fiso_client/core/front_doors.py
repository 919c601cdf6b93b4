"""Front doors: the marks by which an answer that a cloud gave in the function's place is told from the function's own.

What bears no mark is the function's, whatever its status. Only wording and headers that are a door's alone are marks:
`server`, request ids, `x-ms-middleware-request-id` or `x-amzn-errortype` by themselves stand on functions' answers too.
A mark says that nothing ran only where the door turns requests away before it asks for the function, and where nobody
writes the same by chance: a whole page, a sentence with a content type that frameworks do not send, a header that the
door adds. Marks of one cloud mean nothing from another's address: a function may pass on what it was answered itself.
And what the caller sent is no mark when it comes back (`Asked`): a function that repeats its input must neither be run
twice for it nor be put out of service by it.

Imported when a first answer from 300 on is read; a success costs nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from fiso_client.core.answers import Asked, HttpAnswer
from fiso_client.core.failures import Failure, Fault, Meaning

_LOOKED_AT = 4096
"""Bytes of a body that are looked at; the longest page has its wording in the first 2 KB."""

_MOST_DECODED = 1024 * 1024
_ESCAPE = re.compile(rb'\\(?:u([0-9A-Fa-f]{4})|(["/\\]))')
"""In JSON's texts."""

_TELLING = 10
"""Characters from which on a part of a header's value is not in a request by chance."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What must be true of an answer, all of it, and what it then means.

    `whole` is the body, surrounding whitespace apart; `holds` are parts of its beginning. `headers` maps names to what
    their values hold, in lower case; `lacks` are those that are absent; `content_type` is the whole value. `needs` is
    the authentication by which FISO itself had to get past this door.
    """

    name: str
    statuses: tuple[int, ...]
    meaning: Meaning
    whole: bytes | None = None
    holds: tuple[bytes, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    content_type: str | None = None
    needs: str | None = None

    def is_on(self, answer: HttpAnswer, body: bytes, authentication: str) -> bool:
        """`body` is the beginning of the answer's, uncompressed."""
        return (
            (self.whole is None or body.strip() == self.whole)
            and all(part in body for part in self.holds)
            and all(
                name in answer.headers and part in answer.headers[name].lower() for name, part in self.headers.items()
            )
            and not any(name in answer.headers for name in self.lacks)
            and self.content_type in (None, answer.headers.get("content-type"))
            and self.needs in (None, authentication)
        )

    def could_be_repeated_from(self, asked: Asked) -> bool:
        """Whether the caller itself sent what this is told by, so that the function may have sent it back."""
        sent = _sent(asked)
        texts = [*self.holds, *([self.whole] if self.whole else [])]
        if texts:
            return all(text in sent for text in texts)
        shown = sent.lower()
        return any(
            name in asked.headers or (part if len(part) > _TELLING else name).encode() in shown
            for name, part in self.headers.items()
        )


def _sent(asked: Asked) -> bytes:
    """Everything that the caller sent, in whatever form a function may read it: of forms, paths and queries what they
    encode, of JSON what it escapes, and of gzip what it holds."""
    body = _unpacked(asked.headers, asked.body)
    values = "\n".join(asked.headers.values()).encode("utf-8", "replace")
    encoded = b"\n".join([asked.path.encode(), asked.query.encode(), values, body[:_MOST_DECODED]])
    plain = unquote_to_bytes(encoded.replace(b"+", b" "))
    unescaped = _ESCAPE.sub(lambda found: chr(int(found[1] or b"%x" % found[2][0], 16)).encode(errors="replace"), body)
    return b"\n".join([body, values, plain, unescaped])


def mark_of(answer: HttpAnswer, asked: Asked) -> Mark | None:
    """The mark that an answer bears; None where it is the function's own."""
    marks = [*_BY_STATUS.get((asked.provider, answer.status), ()), *_BY_STATUS.get(("", answer.status), ())]
    if not marks:
        return None
    body = _beginning(answer)
    found = next((mark for mark in marks if mark.is_on(answer, body, asked.authentication)), None)
    return None if found is None or found.could_be_repeated_from(asked) else found


def _beginning(answer: HttpAnswer) -> bytes:
    return _unpacked(answer.headers, answer.body, _LOOKED_AT)[:_LOOKED_AT]


def _unpacked(headers: Mapping[str, str], body: bytes, most: int = _MOST_DECODED) -> bytes:
    if "gzip" not in headers.get("content-encoding", ""):
        return body
    import zlib

    try:
        return zlib.decompressobj(wbits=31).decompress(body, most)
    except zlib.error:
        return b""


_HTML = {"content-type": "text/html"}
_NOT_STARTED = Meaning(Failure.NOT_STARTED, Fault.COPY)
_GONE = Meaning(Failure.REFUSED, Fault.COPY)
_REFUSED = Meaning(Failure.REFUSED, Fault.CONFIGURATION)
_THROTTLED = Meaning(Failure.THROTTLED, Fault.THROTTLE)
# The rest may come while the function runs, or after it ran.
_FAILED = Meaning(Failure.PROVIDER_FAULT, Fault.PROVIDER)
_COPY_FAILED = Meaning(Failure.PROVIDER_FAULT, Fault.COPY)
_FUNCTION_FAILED = Meaning(Failure.PROVIDER_FAULT, Fault.FUNCTION)

_AZURE = (
    # The host's middleware asks whether the host runs before it asks for the function (azure-functions-host:
    # HostAvailabilityCheckMiddleware; its issues 1209 and 4637).
    # It writes no content type; a function that passes on what another app answered it does as a rule, and has run.
    Mark(
        "azure_host_not_running",
        (503,),
        _NOT_STARTED,
        whole=b"Function host is not running.",
        lacks=("content-type",),
    ),
    Mark("azure_host_said_not_running", (503,), _COPY_FAILED, whole=b"Function host is not running."),
    # app_offline.htm, while the app is being deployed (the same place: SetOfflineResponseAsync).
    Mark("azure_host_offline", (503,), _NOT_STARTED, holds=(b"<title>Host Offline</title>",), content_type="text/html"),
    Mark(
        "azure_maintenance",
        (503,),
        _NOT_STARTED,
        holds=(b"This Azure Functions app is down for maintenance",),
        content_type="text/html",
    ),
    # HttpThrottleMiddleware, before the function; by this header it asks the scale controller for more.
    Mark("azure_host_busy", (429,), _THROTTLED, whole=b"", headers={"x-function-scaleout": "1"}),
    # The front end's page: stopped, over its quota, or being deployed (vscode-azureappservice issue 785).
    Mark(
        "azure_app_stopped",
        (403,),
        _NOT_STARTED,
        holds=(b"Error 403 - This web app is stopped.",),
        content_type="text/html",
    ),
    # The name is there, the app is not (vscode-azurefunctions issue 545).
    Mark("azure_app_not_found", (404,), _GONE, holds=(b"404 Web Site not found.",), headers=_HTML),
    # An access restriction: the front end adds whom it turned away (static-web-apps issue 1666).
    Mark("azure_ip_forbidden", (403,), _REFUSED, headers={"x-ms-forbidden-ip": ""}),
    # The host's UnauthorizedResult. A function can answer the same, so it counts only where FISO itself sent a key.
    Mark(
        "azure_key_refused",
        (401,),
        _REFUSED,
        whole=b"",
        lacks=("content-type", "www-authenticate"),
        needs="function_key",
    ),
    # App Service authentication, whose realm is the app's own host name.
    *(
        Mark(
            "azure_login_required",
            (401,),
            _REFUSED,
            whole=body,
            headers={"x-ms-middleware-request-id": "", "www-authenticate": '.azurewebsites.net"'},
        )
        for body in (b"", b"You do not have permission to view this directory or page.")
    ),
    # The same for a host of the app's own, and for whom it knows and does not let in. A function can write both: they
    # count only where FISO itself sent a token.
    Mark(
        "azure_token_refused",
        (401,),
        _REFUSED,
        headers={"x-ms-middleware-request-id": "", "www-authenticate": "bearer"},
        needs="entra",
    ),
    Mark(
        "azure_application_refused",
        (403,),
        _REFUSED,
        whole=b"You do not have permission to view this directory or page.",
        headers={"x-ms-middleware-request-id": ""},
        needs="entra",
    ),
    # Its redirect comes back to a path of its own; the login of a function's own would come back to the function.
    *(
        Mark("azure_login_redirect", (302, 303, 307), _REFUSED, headers={"location": callback})
        for callback in ("%2f.auth%2flogin%2f", "/.auth/login/")
    ),
    # The module that starts a .NET app (ANCM) could not.
    Mark("azure_app_start", (500,), _NOT_STARTED, holds=(b"HTTP Error 500.3", b" - ANCM "), headers=_HTML),
    Mark("azure_app_start", (502,), _NOT_STARTED, holds=(b"HTTP Error 502.5 - ",), headers=_HTML),
    Mark("azure_gateway", (502,), _FAILED, holds=(b"502 - Web server received an invalid response while acting as",)),
    # The function runs on (azure-webjobs-sdk issue 1536).
    Mark("azure_process_ended", (502,), _COPY_FAILED, holds=(b"The specified CGI application encountered an error",)),
    # After 230 s; it runs on.
    Mark("azure_timed_out", (500, 502, 503, 504), _COPY_FAILED, holds=(b"500 - The request timed out.",)),
    # A sentence that anybody might write; and an application pool can stop under a request.
    Mark("azure_unavailable", (503,), _COPY_FAILED, whole=b"The service is unavailable.", headers=_HTML),
    # The container did not start, or ended.
    Mark("azure_app_error", (500, 503), _COPY_FAILED, holds=(b"Application Error", b"/detectors"), headers=_HTML),
)

# Google's pages in front of a service have this tag and these titles; the service is asked after them.
_SMALL, _LARGE = b"<body text=#000000 bgcolor=#ffffff>", b"!!1</title>"
_GOOGLE = (
    Mark("google_unauthorized", (401,), _REFUSED, holds=(_SMALL, b"<title>401 Unauthorized</title>")),
    Mark("google_forbidden", (403,), _REFUSED, holds=(_SMALL, b"<title>403 Forbidden</title>")),
    Mark("google_host_forbidden", (403,), _REFUSED, holds=(_LARGE, b"<title>Error 403 (Forbidden)")),
    Mark("google_not_found", (404,), _GONE, holds=(_SMALL, b"<title>404 Page not found</title>")),
    Mark("google_host_not_found", (404,), _GONE, holds=(_LARGE, b"<title>Error 404 (Not Found)")),
    # Another cloud may take as much.
    Mark(
        "google_too_large",
        (413,),
        Meaning(Failure.NOT_STARTED, Fault.CALLER),
        holds=(_LARGE, b"<title>Error 413 (Request Entity Too Large)"),
    ),
    # "No available instance" (Cloud Run, troubleshooting). Frameworks send a charset with text/html; this has none.
    Mark("cloud_run_no_instance", (429,), _THROTTLED, whole=b"Rate exceeded.", content_type="text/html"),
    # "No available instance" as well, and also what became of a request that an instance had.
    Mark("google_server_error", (500, 502, 503), _FAILED, holds=(_SMALL, b" Server Error</title>")),
    # The container ended with the request inside, or never had it.
    Mark("cloud_run_instance", (503,), _COPY_FAILED, whole=b"Service Unavailable", content_type="text/plain"),
    # The container goes on.
    Mark("cloud_run_timed_out", (504,), _COPY_FAILED, whole=b"upstream request timeout", content_type="text/plain"),
    # Also of an Envoy inside of the container, so that none of its wordings proves anything (esp-v2 issue 430).
    Mark("envoy_upstream", (503,), _COPY_FAILED, holds=(b"upstream connect error or disconnect/reset before",)),
)


def _named(error: str) -> Mapping[str, str]:
    return {"x-amzn-errortype": error}


# API Gateway (REST) and function URLs name their error and word it so. A function's own modelled errors (Smithy) and
# those of an AWS service that it passes on have the header as well, and other words.
_AWS = (
    Mark(
        "api_gateway_unauthorized",
        (401,),
        _REFUSED,
        whole=b'{"message":"Unauthorized"}',
        headers=_named("unauthorizedexception"),
    ),
    Mark(
        "api_gateway_no_route",
        (403,),
        _REFUSED,
        whole=b'{"message":"Missing Authentication Token"}',
        headers=_named("missingauthenticationtoken"),
    ),
    Mark(
        "api_gateway_forbidden",
        (403,),
        _REFUSED,
        whole=b'{"message":"Forbidden"}',
        headers=_named("forbiddenexception"),
    ),
    Mark(
        "api_gateway_denied",
        (403,),
        _REFUSED,
        holds=(b"is not authorized to perform: execute-api:Invoke",),
        headers=_named("accessdenied"),
    ),
    Mark(
        "api_gateway_throttled",
        (429,),
        _THROTTLED,
        whole=b'{"message":"Too Many Requests"}',
        headers=_named("toomanyrequests"),
    ),
    Mark(
        "api_gateway_quota",
        (429,),
        _THROTTLED,
        whole=b'{"message":"Limit Exceeded"}',
        headers=_named("limitexceeded"),
    ),
    Mark(
        "function_url_forbidden",
        (403,),
        _REFUSED,
        holds=(b'{"Message":"Forbidden', b"urls-auth.html"),
        headers=_named("accessdenied"),
    ),
    Mark("function_url_gone", (403,), _GONE, whole=b'{"Message":null}', headers=_named("accessdenied")),
    # Lambda's words to whoever calls it, so that a function that calls another may pass them on.
    Mark(
        "function_url_throttled",
        (429,),
        Meaning(Failure.PROVIDER_FAULT, Fault.THROTTLE),
        holds=(b"Rate Exceeded.",),
        headers=_named("toomanyrequests"),
    ),
    # 29 s; the function runs on.
    Mark("api_gateway_timed_out", (504,), _COPY_FAILED, headers=_named("internalservererror")),
    # The function raised, or answered out of form or more than 6 MB; or could not be called.
    Mark("api_gateway_error", (500, 502), _FUNCTION_FAILED, headers=_named("internalservererror")),
    Mark(
        "http_api_error",
        (500,),
        _FUNCTION_FAILED,
        whole=b'{"message":"Internal Server Error"}',
        headers={"apigw-requestid": ""},
    ),
    # Its 30 s, or a function that it could not reach.
    Mark(
        "http_api_unavailable",
        (503,),
        _COPY_FAILED,
        whole=b'{"message":"Service Unavailable"}',
        headers={"apigw-requestid": ""},
    ),
    # No JSON, though it says so: the function raised, or answered out of form.
    Mark(
        "function_url_error",
        (502,),
        _FUNCTION_FAILED,
        whole=b"Internal Server Error",
        content_type="application/json",
        headers={"x-amzn-requestid": ""},
    ),
)

_CLOUDFRONT = b"The request could not be satisfied"
_ANY = (
    # An Application Load Balancer: 503 is no healthy target, or one that went while it was asked.
    Mark("aws_load_balancer", (502, 503, 504), _FAILED, holds=(b"<center><h1>50",), headers={"server": "awselb/"}),
    # At the edge, by a rule: the origin was not asked.
    Mark("cloudfront_blocked", (403,), _REFUSED, holds=(_CLOUDFRONT, b"Request blocked.", b"(CloudFront)")),
    Mark("cloudfront", (502, 503, 504), _FAILED, holds=(_CLOUDFRONT, b"(CloudFront)")),
    # Of an nginx in front of the app, or of one inside of it.
    Mark("nginx_gateway", (502, 504), _FAILED, holds=(b"<center>nginx", b"<title>50")),
    Mark("cloudflare_challenge", (403,), _REFUSED, headers={"cf-mitigated": "challenge", "server": "cloudflare"}),
)


def _indexed() -> Iterator[tuple[tuple[str, int], list[Mark]]]:
    for provider, marks in {"azure": _AZURE, "gcp": _GOOGLE, "aws": _AWS, "": _ANY}.items():
        for status in {status for mark in marks for status in mark.statuses}:
            yield (provider, status), [mark for mark in marks if status in mark.statuses]


_BY_STATUS: Mapping[tuple[str, int], list[Mark]] = dict(_indexed())
