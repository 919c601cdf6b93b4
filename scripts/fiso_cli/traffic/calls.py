"""Calls: requests to invoke functions, sent one after the other or several at once, and what the client saw of each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import httpx

from fiso_cli.traffic.gateway import PROBLEM, Gateway, error_line, unreachable
from fiso_cli.traffic.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a function. `expected` is what the answer's body must be, where it is known.

    `path` follows the function's name, percent-encoded; an empty `content_type` is none.
    """

    function: str
    body: bytes
    content_type: str
    method: str = "POST"
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    expected: bytes | None = None

    def request(self, gateway: Gateway, client: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The call as the client would send it."""
        url = gateway.address("v1", "invoke", self.function, below=self.path, query=self.query)
        described = {"content-type": self.content_type} if self.content_type else {}
        headers = httpx.Headers({**described, **self.headers}, encoding="utf-8")
        return client.build_request(self.method, url, content=self.body or None, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Calls to send, at most `concurrency` at once. `interludes[n]` runs before call n, while the others go on."""

    calls: Sequence[Call]
    concurrency: int
    interludes: Mapping[int, Callable[[], None]] = field(default_factory=dict)


def send(gateway: Gateway, call: Call) -> tuple[Sample, httpx.Response]:
    """One call with its whole answer. `CommandError` when there is none."""
    with gateway.client() as client:
        start = perf_counter()
        try:
            answer = client.send(call.request(gateway, client))
        except httpx.HTTPError as error:
            raise unreachable(gateway.url, error) from error
        return _answered(call, answer, (perf_counter() - start) * 1000), answer


async def run(gateway: Gateway, load: Load, on_sample: Callable[[Sample], None]) -> None:
    """Send all calls. `CommandError` if nobody listens there at all; later losses are samples with a problem."""
    numbered = iter(enumerate(load.calls))
    workers = min(load.concurrency, len(load.calls))
    answered = 0
    async with gateway.async_client(workers) as client:

        async def work() -> None:
            nonlocal answered
            for number, call in numbered:
                if interlude := load.interludes.get(number):
                    await asyncio.to_thread(interlude)
                sample, error = await attempt(call, client.send(call.request(gateway, client)))
                if isinstance(error, httpx.ConnectError) and not answered:
                    raise unreachable(gateway.url, error)
                answered += sample.status is not None
                on_sample(sample)

        await asyncio.gather(*(work() for _ in range(workers)))


async def attempt(call: Call, sending: Awaitable[httpx.Response]) -> tuple[Sample, httpx.HTTPError | None]:
    """One call that is being sent; the error, too, where no answer came."""
    start = perf_counter()
    try:
        answer = await sending
    except httpx.HTTPError as error:
        latency_ms = (perf_counter() - start) * 1000
        problem = f"no answer ({type(error).__name__})"
        return Sample(function=call.function, latency_ms=latency_ms, status=None, problem=problem), error
    return _answered(call, answer, (perf_counter() - start) * 1000), None


def _answered(call: Call, answer: httpx.Response, latency_ms: float) -> Sample:
    headers = answer.headers
    return Sample(
        function=call.function,
        latency_ms=latency_ms,
        status=answer.status_code,
        problem=problem_of(answer, call.expected),
        provider=headers.get("x-fiso-provider"),
        region=headers.get("x-fiso-region"),
        endpoint=headers.get("x-fiso-endpoint"),
        reason=headers.get("x-fiso-reason"),
        attempts=_whole(headers.get("x-fiso-attempts")) or 0,
        overhead_ms=_decimal(headers.get("x-fiso-overhead-ms")),
        invocation_id=headers.get("x-fiso-invocation-id"),
        model_version=headers.get("x-fiso-model-version"),
        user_region=call.headers.get("x-fiso-user-region"),
    )


def problem_of(answer: httpx.Response, expected: bytes | None) -> str | None:
    """Why an answer is no success; None for one that is."""
    if answer.headers.get("content-type", "").startswith(PROBLEM):
        return error_line(answer.status_code, PROBLEM, answer.content)
    if answer.headers.get("x-fiso-function-error"):
        return f"the function failed by itself (status {answer.status_code})"
    if answer.status_code >= 400:
        return f"status {answer.status_code}"
    if "x-fiso-invocation-id" not in answer.headers:
        return "an answer without x-fiso-invocation-id"
    if expected is not None and answer.content != expected:
        return "not the expected bytes"
    return None


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _decimal(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
