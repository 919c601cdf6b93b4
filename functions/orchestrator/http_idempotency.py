"""Keyed requests at the edge: a response as it is kept, and back. Imported when the first key is seen."""

import base64
from collections.abc import Callable

from fiso.domain.errors import DeadlinePassed
from fiso.domain.idempotency import KeptAnswer
from fiso.domain.policy import Policy
from fiso.domain.request import InvocationId, InvocationRequest
from fiso.services.request.idempotency import IdempotentRouting, KeyedAnswer, RunResult
from fiso.services.request.orchestrate import RoutingResult
from functions.orchestrator.http_answer import Response, routed_answer, routing_problem

REPLAYED = "idempotent-replayed"


def answer_once(
    keyed: IdempotentRouting,
    request: InvocationRequest,
    policy: Policy,
    route: Callable[[InvocationRequest], RoutingResult],
) -> Response:
    """The response to a request with a key, run now or before."""

    def run(request: InvocationRequest) -> RunResult:
        routed = route(request)
        return RunResult(answer=kept(routed_answer(routed, policy)), may_have_run=routed.outcome.may_have_run)

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
    """What `kept` was made from, with the mark of a replay."""
    answer = given.answer
    headers = {**answer.headers, REPLAYED: "true"} if given.is_replay else dict(answer.headers)
    response: Response = {"statusCode": answer.status, "headers": headers}
    if answer.cookies:
        response["cookies"] = list(answer.cookies)
    if answer.is_text:
        return response | {"body": answer.body.decode()}
    return response | {"body": base64.b64encode(answer.body).decode("ascii"), "isBase64Encoded": True}


def _unknown_outcome(invocation_id: InvocationId) -> KeptAnswer:
    error = DeadlinePassed(
        "the first request with this idempotency key ended without an answer: the function may have run",
        unknown_outcome=True,
    )
    return kept(routing_problem(error, invocation_id))
