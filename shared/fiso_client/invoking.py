"""Through FISO: one request by its front door, in the first region that takes it.

Another region is tried after what cannot have run, and after what may have run only where the caller says that it may
run again: two regions know nothing of each other's requests, but for keys that both hold (`second_store`). A request
with a key stays with the first region unless that is said: a repetition elsewhere would find its key unused.
"""

from collections.abc import Mapping
from json import loads

from fiso_client.api import FisoRefused
from fiso_client.calling import Answer, Request
from fiso_client.core.answers import HttpAnswer, function_answer, path_below
from fiso_client.core.failures import NEVER_RAN, FisoError
from fiso_client.core.grammar import is_name
from fiso_client.core.transport import TransportError
from fiso_client.regions import Regions

LEAST_ATTEMPT_S = 0.1
"""No attempt starts with less time left than this."""
PREFERRED = 0
OUTCOME_UNKNOWN = 504
FISO_FAILED = (502, 503, OUTCOME_UNKNOWN)


class NoAnswer(FisoError):
    """No target answered. `may_have_run` says whether the function can have had an effect."""

    def __init__(self, detail: str, *, may_have_run: bool, deadline_passed: bool) -> None:
        super().__init__(detail)
        self.may_have_run = may_have_run
        self.deadline_passed = deadline_passed


class _Failed(Exception):
    """One region gave no answer of the function. `is_away`: it could not be reached, or its front door failed."""

    def __init__(self, detail: str, *, may_have_run: bool, is_away: bool) -> None:
        super().__init__(detail)
        self.may_have_run, self.is_away = may_have_run, is_away


def invoke(regions: Regions, function: str, request: Request, *, timeout_s: float, may_repeat: bool) -> Answer:
    """The function's answer. `NoAnswer` when no region had one, `FisoRefused` for what FISO will not do."""
    if not is_name(function):
        raise FisoRefused(f"{function[:80]!a} is no function's name")
    may_repeat = may_repeat or request.is_safe
    limit = regions.stopwatch() + timeout_s
    order = [PREFERRED] if request.key is not None and not may_repeat else list(regions.order())
    problems, may_have_run = list[str](), False
    for position, region in enumerate(order):
        left_s = limit - regions.stopwatch()
        if left_s < LEAST_ATTEMPT_S:
            break
        others_left = len(order) - position - 1
        share_s = left_s / (others_left + 1) if may_repeat else left_s
        try:
            return _asked(regions, region, function, request, share_s, may_repeat=may_repeat)
        except _Failed as failed:
            problems.append(f"{regions.apis[region].url}: {failed}")
            may_have_run = may_have_run or failed.may_have_run
            if failed.is_away:
                regions.is_away(region)
            if failed.may_have_run and not may_repeat:
                break
    detail = f"{function}: {'; '.join(problems) or 'no time was left'}"
    raise NoAnswer(detail, may_have_run=may_have_run, deadline_passed=regions.stopwatch() >= limit)


def _asked(
    regions: Regions, region: int, function: str, request: Request, timeout_s: float, *, may_repeat: bool
) -> Answer:
    api = regions.apis[region]
    url = f"{api.url}/v1/invoke/{function}{path_below('', request.path_suffix)}"
    url += f"?{request.query}" if request.query else ""
    headers = _headers(request, timeout_s) | dict(api.headers(request.method, url, request.body))
    try:
        answer = api.transport.send(
            request.method, url, headers=headers, body=request.body, timeout_s=timeout_s, may_repeat=may_repeat
        )
    except TransportError as error:
        raise _Failed(str(error), may_have_run=error.failure not in NEVER_RAN, is_away=True) from error
    _raise_problem(answer)
    read = function_answer(answer, sent=request.body)
    attempts = answer.headers.get("x-fiso-attempts", "")
    return Answer(
        status=read.status,
        body=read.body,
        headers=read.headers,
        cookies=read.cookies,
        is_function_error=read.is_function_error or "x-fiso-function-error" in answer.headers,
        endpoint=answer.headers.get("x-fiso-endpoint", ""),
        attempts=int(attempts) if attempts.isdecimal() else 0,
    )


def _headers(request: Request, timeout_s: float) -> dict[str, str]:
    own = {"content-type": request.content_type} if request.body or not request.is_safe else {}
    own["x-fiso-timeout-ms"] = str(max(1, int(timeout_s * 1000)))
    keyed = {"idempotency-key": request.idempotency_key} if request.idempotency_key is not None else {}
    return own | dict(request.headers) | keyed


def _raise_problem(answer: HttpAnswer) -> None:
    """What is no answer of the function: FISO's own problems, and what its front door says in FISO's place."""
    if "x-fiso-invocation-id" not in answer.headers:
        if answer.status >= 500:  # the gateway's: it may have handed the request on before it failed
            raise _Failed(f"status {answer.status} of the front door", may_have_run=True, is_away=True)
        if answer.status >= 400:
            raise FisoRefused(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")
    problem = problem_in(answer)
    if problem is None:
        return
    text = f"status {answer.status}: {problem.get('title')}: {problem.get('detail')}"
    if answer.status not in FISO_FAILED and answer.status != 500:
        raise FisoRefused(text)
    # 503: nothing eligible, or nothing can have run (docs/http.md); a 504 says itself what is known
    ran = answer.status != 503 and problem.get("unknown_outcome") is not False
    raise _Failed(text, may_have_run=ran, is_away=False)


def problem_in(answer: HttpAnswer) -> Mapping[str, object] | None:
    """FISO's own problem document, where an answer is one."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        document = loads(answer.body)
    except ValueError:
        return None
    is_own = isinstance(document, dict) and str(document.get("type", "")).startswith("urn:fiso:problem:")
    return document if is_own else None
