"""Keyed requests at the edge: a response as it is kept, and back. Imported when the first key is seen."""

import base64
from collections.abc import Callable

from fiso.domain.errors import DeadlinePassed
from fiso.domain.idempotency import FREE_BYTES, KeptAnswer
from fiso.domain.policy import Policy
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.services.request.idempotency import IdempotentRouting, KeyedAnswer, RunResult
from fiso.services.request.orchestrate import RoutingResult
from functions.orchestrator.http_answer import Response, problem, routed_answer, routing_problem

REPLAYED = "idempotent-replayed"
UNPROTECTED = "idempotent-unprotected"
"""Its key could not be claimed: whoever repeats the request may have it run again (docs/decisions/0024)."""


def answer_once(
    keyed: IdempotentRouting,
    request: InvocationRequest,
    policy: Policy,
    route: Callable[[InvocationRequest], RoutingResult],
) -> Response:
    """The response to a request with a key, run now or before."""

    def run(request: InvocationRequest) -> RunResult:
        routed = route(request)
        answer = kept(routed_answer(routed, policy))
        unkept = _not_kept(answer, request.invocation_id) if len(answer.body) > FREE_BYTES else None
        return RunResult(answer=answer, may_have_run=routed.outcome.may_have_run, unkept=unkept)

    return response_of(keyed.answer(request, run=run, unknown=_unknown_outcome))


def kept(response: Response) -> KeptAnswer:
    """A response as it is kept: its body as bytes."""
    is_text = not response.get("isBase64Encoded")
    body: str = response["body"]
    return KeptAnswer(
        status=response["statusCode"],
        headers=dict(response["headers"]),
        body=body.encode() if is_text else base64.b64decode(body),
        is_text=is_text,
        cookies=tuple(response.get("cookies", ())),
    )


def response_of(given: KeyedAnswer) -> Response:
    """What `kept` was made from, with the mark of a replay, or of a request that no key protected."""
    answer = given.answer
    marks = {REPLAYED: given.is_replay, UNPROTECTED: given.is_unkeyed}
    headers = {**answer.headers, **{name: "true" for name, holds in marks.items() if holds}}
    response: Response = {"statusCode": answer.status, "headers": headers}
    if answer.cookies:
        response["cookies"] = list(answer.cookies)
    if answer.is_text:
        return response | {"body": answer.body.decode()}
    return response | {"body": base64.b64encode(answer.body).decode("ascii"), "isBase64Encoded": True}


def _not_kept(answer: KeptAnswer, invocation_id: InvocationId) -> KeptAnswer:
    """What a repetition gets of an answer that its tenant had no room for: that it ran, and how that went."""
    detail = (
        f"the first request with this idempotency key was answered with status {answer.status} and {len(answer.body)} "
        "bytes, which were not kept: too much is kept for this tenant today. It is not run again"
    )
    return kept(problem(410, "Answer not kept", detail, invocation_id, first_status=answer.status))


def _unknown_outcome(invocation_id: InvocationId) -> KeptAnswer:
    error = DeadlinePassed(
        "the first request with this idempotency key ended without an answer: the function may have run",
        unknown_outcome=True,
    )
    return kept(routing_problem(error, invocation_id))
