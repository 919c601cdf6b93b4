"""Leases on the deployed stage: the client calls Azure and Google by itself, and FISO folds what it reports."""

import json
import subprocess
import sys

import pytest

from fiso.domain.endpoint import Provider
from fiso_cli.stored_keys import KEPT, lease_keys
from fiso_client import Client, Options, Request, Target
from fiso_client.aws import LambdaFunctions, signed
from localcloud import faults
from tests.documented import programs
from tests.e2e.conftest import LiveCloud, eventually

REQUEST = Request(body=b"one two two", content_type="text/plain")
CALLS = 12


def test_a_leased_call_is_recorded_and_folded_like_a_proxied_one(live: LiveCloud) -> None:
    folded, logged = live.machine.counts.folded(), live.logged()
    with Client(live.gateway.url, options=Options(background=False)) as client:
        answers = [client.call("word-count", REQUEST) for _ in range(CALLS)]
        assert client.flush()
        assert (client.tally.accepted, client.tally.rejected) == (CALLS, 0)
    assert {answer.status for answer in answers} == {200}
    assert json.loads(answers[0].body) == {"total": 3, "distinct": 2, "words": {"two": 2, "one": 1}}
    assert live.logged() == logged + CALLS
    eventually(lambda: live.machine.counts.folded() >= folded + CALLS)


@pytest.mark.parametrize("program", programs("client.md"), ids=["sync", "async"])
def test_a_documented_program_runs_against_the_stage(live: LiveCloud, program: str) -> None:
    environ = {"FISO_URL": live.gateway.url, "PYTHONPATH": "shared", "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=60)
    assert ran.stderr == ""
    answered, reported = ran.stdout.splitlines()
    assert answered.startswith("200 ")
    assert reported == "reported: 1"


def test_lambda_functions_are_called_by_their_own_api(live: LiveCloud) -> None:
    credentials = live.stage.session.get_credentials().get_frozen_credentials
    lambdas = LambdaFunctions(credentials, address=lambda _: live.cloud.provider_url(0))
    options = Options(callers={"aws": lambdas}, background=False)
    lease = live.client.post("/v1/decide/word-count").json()
    (aws,) = [row for row in lease["endpoints"] if row["provider"] == "aws"]
    target = Target(id=aws["id"], provider="aws", address=aws["address"], region=aws["region"], path=aws["path"])
    answer = lambdas(target, REQUEST, timeout_s=20)
    assert json.loads(answer.body)["total"] == 3
    assert answer.billed_ms is not None
    with Client(live.gateway.url, headers=signed(credentials, live.stage.region), options=options) as client:
        assert client.call("word-count", REQUEST).attempts == 1
    lambdas.close()
    assert client.tally.accepted == 1


def test_a_report_that_comes_twice_is_kept_once(live: LiveCloud) -> None:
    lease = live.client.post("/v1/decide/word-count", headers={"x-fiso-request-size": "11"}).json()
    attempt = {"endpoint": lease["endpoints"][0]["id"], "after_ms": 1, "latency_ms": 20.0, "status": 200}
    outcome = {"number": 0, "request_size_bytes": 11, "response_size_bytes": 40, "attempts": [attempt]}
    report = {"leases": [{"token": lease["token"], "outcomes": [outcome, outcome | {"number": 1, "attempts": []}]}]}
    first = live.client.post("/v1/outcomes", json=report).json()
    again = live.client.post("/v1/outcomes", json=report).json()
    assert [(v["accepted"], v["repeated"], v["rejected"]) for v in (first, again)] == [(1, 0, 1), (0, 1, 1)]


def test_the_client_fails_over_while_a_provider_is_lost(live: LiveCloud) -> None:
    with Client(live.gateway.url) as client:
        lost = client.call("word-count", REQUEST).endpoint.partition("-")[0]
        faults.kill(live.cloud, lost)
        try:
            answers = [client.call("word-count", REQUEST) for _ in range(4)]
        finally:
            faults.heal(live.cloud, lost)
    assert lost in {Provider.AZURE, Provider.GCP}
    assert {answer.status for answer in answers} == {200}
    assert lost not in {answer.endpoint.partition("-")[0] for answer in answers}
    assert client.tally.rejected == 0


@pytest.mark.parametrize("rotations", [1, 2])
def test_a_lease_outlives_one_rotation_of_the_key(live: LiveCloud, rotations: int) -> None:
    lease = live.client.post("/v1/decide/word-count").json()
    for _ in range(rotations):
        lease_keys(live.stage).rotated()
    stored = live.stage.client("ssm").get_parameter(Name=lease_keys(live.stage).parameter, WithDecryption=True)
    ids = [word.partition(":")[0] for word in stored["Parameter"]["Value"].split()]
    assert len(ids) == KEPT
    assert (lease["token"].split(".")[1] in ids) == (rotations == 1)
