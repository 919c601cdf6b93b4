"""Every mode of a scripted provider, as FISO's genuine callers see it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fiso.adapters.aws.lambda_caller import LambdaCaller
from fiso.adapters.http.callers import ByProvider, HttpCaller
from fiso.domain.endpoint import Provider
from fiso_client.core.answers import FunctionAnswer
from fiso_client.core.failures import Failure, ProviderError
from fiso_client.core.signing import AwsEndpoint, Credentials, SignedService
from fiso_client.core.transport import HttpTransport
from tests.builders import a_request, an_endpoint
from tests.lab.chaos.rig import wire
from tests.lab.chaos.rig.children import Child
from tests.lab.chaos.rig.modes import OK, Kind, Mode, from_document, to_document


def now() -> datetime:
    return datetime.now(UTC)


class Provided:
    """A provider's process and a caller that reaches it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.child = Child(
            "tests.lab.chaos.rig.provider", {"name": name, "seed": 1, "p50_ms": 2}, name=name, folder=folder
        )
        self.child.await_ready()
        url = f"http://{wire.HOST}:{self.child.ready['port']}"
        self.transport = HttpTransport()
        service = SignedService(
            endpoint=AwsEndpoint(service="lambda", region="us-east-1", url=url),
            credentials=Credentials(access_key="test", secret_key="test"),
            transport=self.transport,
            clock=now,
        )
        self.caller = ByProvider(
            {
                Provider.AWS: LambdaCaller(lambda _: service, clock=now),
                Provider.GCP: HttpCaller(self.transport, clock=now, allow_loopback=True),
            }
        )
        self.endpoint = an_endpoint(Provider(name), address="word-count" if name == "aws" else url)

    def set(self, mode: Mode) -> None:
        wire.command(self.child.ready["control_port"], "mode", to_document(mode))

    def counts(self) -> dict[str, int]:
        counted: dict[str, int] = wire.command(self.child.ready["control_port"], "counts")
        return counted

    def call(self, timeout_ms: float = 5_000) -> FunctionAnswer | Failure:
        request = a_request(received_at=now(), deadline_at=now() + timedelta(milliseconds=timeout_ms))
        try:
            return self.caller.call(self.endpoint, request, timeout_ms=timeout_ms)
        except ProviderError as error:
            return error.failure


@pytest.fixture(scope="module", params=["aws", "gcp"])
def provided(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provided]:
    found = Provided(request.param, tmp_path_factory.mktemp("provider"))
    yield found
    found.transport.close()
    found.child.kill()


@pytest.fixture(autouse=True)
def _well_again(provided: Provided) -> Iterator[None]:
    yield
    provided.set(OK)


def test_a_well_provider_answers_and_counts_what_it_executes(provided: Provided) -> None:
    before = provided.counts().get("executed", 0)
    answer = provided.call()
    assert isinstance(answer, FunctionAnswer)
    assert answer.status == 200
    assert provided.counts()["executed"] == before + 1
    executions = wire.command(provided.child.ready["control_port"], "executions")
    assert executions["by_invocation"][a_request().invocation_id] >= 1


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (Kind.REFUSE, Failure.UNREACHABLE),
        (Kind.ERROR, Failure.PROVIDER_FAULT),
        (Kind.TRUNCATED, Failure.BROKEN),
        (Kind.HUGE_BODY, Failure.BROKEN),
        (Kind.HUGE_HEADER, Failure.BROKEN),
        (Kind.RESET, Failure.BROKEN),
        (Kind.RESET_AFTER_RUN, Failure.BROKEN),
        (Kind.MALFORMED_JSON, Failure.BROKEN),
        (Kind.BAD_UTF8, Failure.BROKEN),
        (Kind.LENGTH_TOO_SHORT, Failure.BROKEN),
    ],
)
def test_a_broken_answer_is_the_failure_it_is(provided: Provided, kind: Kind, failure: Failure) -> None:
    provided.set(Mode(kind=kind))
    assert provided.call() is failure


@pytest.mark.parametrize("kind", [Kind.BLACK_HOLE, Kind.SLOW_DRIP, Kind.LENGTH_TOO_LONG])
def test_what_never_ends_is_given_up_in_time(provided: Provided, kind: Kind) -> None:
    provided.set(Mode(kind=kind))
    assert provided.call(timeout_ms=300) is Failure.TIMED_OUT


@pytest.mark.parametrize("kind", [Kind.HTML, Kind.GZIP_BOMB])
def test_what_is_whole_as_http_passes_only_where_a_cloud_speaks_http(provided: Provided, kind: Kind) -> None:
    provided.set(Mode(kind=kind))
    answer = provided.call()
    if provided.endpoint.provider is Provider.GCP:
        assert isinstance(answer, FunctionAnswer)
    else:
        assert answer is Failure.BROKEN


def test_an_answer_longer_than_it_says_does_not_leak_into_the_next(provided: Provided) -> None:
    provided.set(Mode(kind=Kind.LENGTH_TOO_SHORT))
    provided.call()
    provided.set(OK)
    answer = provided.call()
    assert isinstance(answer, FunctionAnswer)
    assert answer.body.startswith(b"{")


def test_requests_above_the_rate_are_throttled_and_not_executed(provided: Provided) -> None:
    before = provided.counts().get("executed", 0)
    provided.set(Mode(throttle_above=2, retry_after_s=3))
    answers = [provided.call() for _ in range(5)]
    assert answers.count(Failure.THROTTLED) == 3
    assert provided.counts()["executed"] == before + 2


def test_a_share_of_the_requests_is_hit(provided: Provided) -> None:
    provided.set(Mode(kind=Kind.ERROR, share=0.5))
    failed = sum(provided.call() is Failure.PROVIDER_FAULT for _ in range(60))
    assert 10 < failed < 50


def test_a_flapping_provider_is_well_between_its_falls() -> None:
    mode = Mode(kind=Kind.REFUSE, up_s=5, down_s=2)
    assert [mode.is_down(second) for second in (0, 1.9, 2, 6.9, 7, 8.9, 9)] == [
        True, True, False, False, True, True, False,
    ]  # fmt: skip


def test_a_mode_travels_as_a_document() -> None:
    mode = Mode(kind=Kind.ERROR, share=0.4, slow=2, error_status=502)
    assert from_document(to_document(mode)) == mode


def test_a_killed_provider_refuses_and_is_revived_on_its_port(provided: Provided) -> None:
    port = provided.child.ready["port"]
    provided.child.kill()
    assert provided.call() is Failure.UNREACHABLE
    provided.child.restart(port=port)
    assert isinstance(provided.call(), FunctionAnswer)


def test_a_stopped_provider_is_a_black_hole_that_runs_later(provided: Provided) -> None:
    provided.child.stop()
    assert provided.call(timeout_ms=200) is Failure.TIMED_OUT
    provided.child.go_on()
    assert isinstance(provided.call(), FunctionAnswer)
