"""Copies on the local Google cloud: a sample and a user's function, called by who may and by who may not."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from fiso_cli.clouds.google import monitoring
from fiso_cli.clouds.google.deployment import Asked, Deployment
from fiso_cli.clouds.plan import apply
from fiso_cli.errors import CommandError
from localcloud.google_cloud.copies import Copies
from localcloud.google_cloud.identity import token
from tests.functional.clouds.google_rig import PROJECT, Rig, cloud, sample
from tests.functional.clouds.test_google_monitoring import all_queries

SAMPLE = Path(__file__).parents[3] / "functions" / "sample_gcp"
CALLER = f"fiso-prod@{PROJECT}.iam.gserviceaccount.com"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with cloud(tmp_path) as made:
        copies = Copies(made.world)
        try:
            yield made
        finally:
            copies.close()


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def addresses(run: Deployment) -> list[str]:
    return [str(endpoint["address"]) for found in run.endpoints().values() for endpoint in found]


def call(address: str, token: str = "", path: str = "/", data: bytes = b"") -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.post(address + path, content=data, headers=headers, timeout=20)


def test_a_deployed_function_answers_its_caller_and_nobody_else(rig: Rig) -> None:
    asked = [
        Asked(function="hello", folder=rig.hello, target="hello"),
        Asked(function="sample", folder=SAMPLE, target="sample"),
    ]
    run = rig.deployment(functions=asked, regions=["us-east4"])
    run.apply(quiet)
    hello, samples = addresses(run)
    assert call(hello, token(CALLER, hello), data=b"you").text == "hello you"
    assert call(samples, token(CALLER, samples), "/word-count", b"a b a").status_code == 200
    assert [
        call(hello).status_code,
        call(hello, "no.such.token").status_code,
        call(hello, token(CALLER, "https://another.audience")).status_code,
        call(hello, token(CALLER, hello, lives_s=-60)).status_code,
        call(hello, token(f"other@{PROJECT}.iam.gserviceaccount.com", hello)).status_code,
    ] == [403, 401, 401, 401, 403]

    sample(rig.hello, main=(rig.hello / "main.py").read_text().replace('"hello "', '"good day "'))
    again = rig.deployment(functions=asked[:1], regions=["us-east4"])
    assert [each.step.name for each in again.planned() if each.does != "keep"] == [
        "source hello",
        "image hello",
        "service hello gcp-us-east4-512",
    ]
    again.apply(quiet)
    assert addresses(again) == [hello]
    assert call(hello, token(CALLER, hello), data=b"you").text == "good day you"
    rig.deployment(functions=()).remove(quiet)
    with pytest.raises(httpx.ConnectError):
        call(hello)


@pytest.mark.parametrize(
    ("main", "said"),
    [
        ("def hello(:", "Build failed: SyntaxError in main.py"),
        ("import nowhere_to_be_found\n", "failed to start and listen"),
    ],
)
def test_a_function_that_does_not_build_or_start_is_one_line_and_mended_by_the_next_run(
    rig: Rig, main: str, said: str
) -> None:
    whole = (rig.hello / "main.py").read_text()
    sample(rig.hello, main=main)
    with pytest.raises(CommandError, match=said) as failed:
        rig.deployment(regions=["us-east4"]).apply(quiet)
    assert "\n" not in str(failed.value)
    sample(rig.hello, main=whole)
    run = rig.deployment(regions=["us-east4"])
    run.apply(quiet)
    (hello,) = addresses(run)
    assert call(hello, token(CALLER, hello), data=b"you").text == "hello you"


def test_what_cloud_run_itself_tells_of_a_copy_answers_monitorings_queries(rig: Rig) -> None:
    """Of the platform's own metrics and request log, by requests to a running copy."""
    failing = (
        (rig.hello / "main.py")
        .read_text()
        .replace('return "hello "', 'if request.path == "/no": 1 / 0\n    return "hello "')
    )
    sample(rig.hello, main=failing)
    run = rig.deployment(regions=["us-east4"])
    run.apply(quiet)
    first, own = monitoring.steps(rig.google, run.names, monitoring.Limits())
    apply([*first, *own], quiet, sleep=lambda _: None)
    (hello,) = addresses(run)
    statuses = [call(hello, token(CALLER, hello), path).status_code for path in ("/", "/", "/no", "/")]
    assert statuses == [200, 200, 500, 200]
    now = datetime.now(UTC)
    asked = {where: query for where, query in all_queries().items() if "run.googleapis.com" in query["filter"]}
    assert len(asked) == 4
    for where, query in asked.items():
        told = {f"aggregation_{name}": value for name, value in query["aggregation"].items()}
        found = rig.google.call(
            "monitoring",
            lambda api, query=query, told=told: (  # type: ignore[misc]
                api.projects()
                .timeSeries()
                .list(
                    name=f"projects/{PROJECT}",
                    filter=query["filter"],
                    interval_startTime=(now - timedelta(minutes=10)).isoformat(),
                    interval_endTime=(now + timedelta(minutes=1)).isoformat(),
                    **told,
                )
            ),
        )
        assert found["timeSeries"][0]["points"], where
    buckets = f"projects/{PROJECT}/locations/global/buckets/fiso-prod-"
    assert [len(rig.world.entries[f"{buckets}{kind}"]) for kind in ("invocations", "errors")] == [4, 1]
