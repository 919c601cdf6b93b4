"""Endpoints of a model for batches and what-if: put up, changed, taken away, killed between; and the container itself
under each platform's contract, which says what the model says."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from typer.testing import CliRunner

from fiso.adapters.aws.candidates import S3Candidates
from fiso.learning import synthetic
from fiso.learning.training import TrainingSettings, train
from fiso.prediction import artifact, features
from fiso_cli.clouds.google.client import Google
from fiso_cli.clouds.plan import State, StepFailed, apply, look_at, remove
from fiso_cli.errors import BadInput
from fiso_cli.main import app
from fiso_cli.training.endpoints import model_of
from fiso_cli.training.platforms.sagemaker_endpoint import SageMakerEndpoint, packed
from fiso_cli.training.platforms.vertex_endpoint import VertexEndpoint
from functions.trainer import serving
from localcloud import sagemaker as local_sagemaker
from localcloud import training_container
from localcloud.google_cloud.server import GoogleCloud
from localcloud.google_cloud.world import Fault, Refused
from localcloud.google_cloud.world import World as GoogleWorld
from tests.builders import NOW

from tests.functional.test_training_platforms import ROLE, serving as answering  # isort: skip
from tests.memory_s3 import MemoryS3

ROWS = synthetic.generate(300)
SETTINGS = TrainingSettings(version_prefix="20261130T000000Z", trained_at=NOW, with_quantiles=False)
FILES = train(ROWS, SETTINGS).files
OTHER = train(ROWS.part(0, 260), replace(SETTINGS, version_prefix="20261201T000000Z")).files
MODEL = artifact.read(FILES.artifact, sha256=FILES.pointer.sha256)
ROW = [1.0, 2.0, 1_000.0, 3.0, 12.0, 1.0, 120.0, 0.25, 3.0, 60.0, 512.0]
ENDPOINTS = "aiplatform.projects.locations.endpoints"
quiet = partial(apply, say=lambda line: None, sleep=lambda seconds: None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[GoogleWorld]:
    made = GoogleWorld(folder=tmp_path)
    made.enabled["fiso-local"] = {"aiplatform.googleapis.com"}
    made.things["bucket/b"] = {"name": "b", "projectNumber": "123456789012"}
    yield made
    for container in made.serving.values():
        container.end()


@pytest.fixture
def vertex(world: GoogleWorld) -> Iterator[VertexEndpoint]:
    server = GoogleCloud(world)
    google = Google("fiso-local", endpoint=server.url, sleep=lambda seconds: None)
    for _ in answering(server):
        yield VertexEndpoint(google=google, stage="prod", bucket="b", image="image")
        google.close()


def test_a_model_on_vertex_says_what_it_says_here_gives_way_to_the_next_and_goes(
    vertex: VertexEndpoint, world: GoogleWorld
) -> None:
    done = quiet(vertex.steps(FILES))
    assert len(done.made) == 4
    endpoint = world.things[f"prediction/{vertex.endpoint}"]
    resources = endpoint["deployedModels"][0]["dedicatedResources"]
    assert resources == {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1, "maxReplicaCount": 3}
    assert vertex.endpoint.endswith("/fiso-prediction-endpoint-prod")
    (said,) = vertex.predict([ROW])["predictions"]
    assert said["execution_time_ms"] == MODEL.predict(ROW).latency_ms
    assert len(quiet(vertex.steps(FILES)).kept) == 4, "again it makes nothing"
    changed = quiet(vertex.steps(OTHER))
    assert changed.changed == ["deployment"]
    assert len(world.serving) == 1, "the one before is taken away"
    other = artifact.read(OTHER.artifact, sha256=OTHER.pointer.sha256)
    assert vertex.predict([ROW])["predictions"][0]["execution_time_ms"] == other.predict(ROW).latency_ms
    remove(vertex.steps(OTHER), lambda line: None)
    remove(vertex.steps(FILES), lambda line: None)
    assert (world.serving, [name for name in world.things if name.startswith("prediction/")]) == ({}, [])
    assert not world.objects


def test_killed_between_two_models_either_one_can_be_had_and_both_be_taken_away(
    vertex: VertexEndpoint, world: GoogleWorld
) -> None:
    quiet(vertex.steps(FILES))
    for wanted in (OTHER, FILES, None):
        standing = FILES if wanted is OTHER else OTHER
        quiet(vertex.steps(standing))
        world.faults.append(Fault(method=f"{ENDPOINTS}.undeployModel", refused=Refused(500, "INTERNAL", "x"), times=9))
        with pytest.raises(StepFailed):
            quiet(vertex.steps(OTHER if standing is FILES else FILES))
        world.faults.clear()
        assert len(world.serving) == 2
        if wanted is not None:
            assert quiet(vertex.steps(wanted)).changed == ["deployment"]
            assert len(world.serving) == 1
    remove(vertex.steps(FILES), lambda line: None)
    assert world.serving == {}


@pytest.mark.parametrize("method", ["models.upload", "endpoints.create", "endpoints.deployModel"])
def test_killed_after_a_call_the_next_command_goes_on(vertex: VertexEndpoint, world: GoogleWorld, method: str) -> None:
    class Killed(BaseException):
        pass

    def dies(line: str) -> None:
        raise Killed

    steps = vertex.steps(FILES)
    at = {"models.upload": 1, "endpoints.create": 2, "endpoints.deployModel": 3}[method]
    quiet(steps[:at])
    world.faults.append(Fault(method=f"aiplatform.projects.locations.{method}", hangs=True))
    google = vertex.google
    moments = iter([0.0, *[20.0] * 3])
    dying = Google("fiso-local", endpoint=google.endpoint, sleep=lambda seconds: None, clock=lambda: next(moments))
    with pytest.raises(Killed):
        replace(vertex, google=dying).steps(FILES)[at].make(dies)
    dying.close()
    assert quiet(vertex.steps(FILES)).kept[:at] == [step.name for step in steps[:at]]
    assert [each.found.state for each in look_at(vertex.steps(FILES))] == [State.AS_WANTED] * 4
    assert len(world.serving) == 1


def test_what_vertex_refuses_is_one_line_and_another_stages_is_not_touched(
    vertex: VertexEndpoint, world: GoogleWorld
) -> None:
    world.denied.add("aiplatform.endpoints.deploy")
    with pytest.raises(StepFailed, match=r"aiplatform\.endpoints\.deploy is missing"):
        quiet(vertex.steps(FILES))
    world.denied.clear()
    with pytest.raises(StepFailed, match="machine type is not supported"):
        quiet(replace(vertex, machine="n9-huge").steps(FILES))
    world.things[f"prediction/{vertex.endpoint}"]["labels"]["fiso-stage"] = "other"
    with pytest.raises(StepFailed, match="not made by this stage"):
        quiet(vertex.steps(FILES))
    assert f"prediction/{vertex.endpoint}" in world.things


@pytest.fixture
def sagemaker(tmp_path: Path) -> Iterator[tuple[SageMakerEndpoint, local_sagemaker.World]]:
    made = local_sagemaker.World(s3=MemoryS3(), folder=tmp_path)
    server = local_sagemaker.SageMakerServer(made)
    given: Any = {"region_name": "us-east-1", "endpoint_url": server.url, "aws_access_key_id": "x"}
    given |= {"aws_secret_access_key": "x", "config": Config(retries={"total_max_attempts": 2})}
    client = boto3.client("sagemaker", **given)
    for _ in answering(server):
        of: Any = {"client": client, "s3": made.s3, "bucket": "b", "role": ROLE, "stage": "prod", "image": "i:1"}
        yield SageMakerEndpoint(**of, pause=lambda seconds: None), made


def test_an_endpoint_on_sagemaker_is_put_up_changed_mended_and_taken_away(
    sagemaker: tuple[SageMakerEndpoint, local_sagemaker.World],
) -> None:
    endpoint, world = sagemaker
    world.endpoints.failing = 1
    with pytest.raises(StepFailed, match="did not pass the ping health check"):
        quiet(endpoint.steps(FILES))
    assert quiet(endpoint.steps(FILES)).changed == ["fiso-prediction-endpoint-prod"], "a failed one is made anew"
    assert len(quiet(endpoint.steps(FILES)).kept) == 3
    assert quiet(endpoint.steps(OTHER)).changed == ["fiso-prediction-endpoint-prod"]
    world.endpoints.things["Endpoint", endpoint.name]["Tags"] = []
    with pytest.raises(StepFailed, match="not made by this stage"):
        quiet(endpoint.steps(FILES))
    world.endpoints.things["Endpoint", endpoint.name]["Tags"] = [{"Key": "fiso-stage", "Value": "prod"}]
    for files in (OTHER, FILES):
        remove(endpoint.steps(files), lambda line: None)
    assert world.endpoints.things == {}
    assert packed(FILES) == packed(FILES)


def asked(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content)


def test_the_container_serves_under_sagemakers_contract_in_an_empty_environment(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert FILES.pointer.manifest is not None
    (folder / "model.joblib").write_bytes(FILES.artifact)
    (folder / "manifest.json").write_text(FILES.pointer.manifest.text)
    container = training_container.start(["serve"], {"FISO_OPT_ML": str(tmp_path), "AIP_HTTP_PORT": "0"})
    try:
        assert asked(container.port, "GET", "/ping")[0] == 200
        body = json.dumps({"instances": [ROW, dict(zip(features.NAMES, ROW, strict=True))]}).encode()
        status, said = asked(container.port, "POST", "/invocations", body)
        wanted = MODEL.predict(ROW)
        assert status == 200
        assert [each["execution_time_ms"] for each in said["predictions"]] == [wanted.latency_ms] * 2
        assert said["model_version"] == FILES.pointer.version
    finally:
        container.end()
    (folder / "model.joblib").write_bytes(FILES.artifact[:-1])
    with pytest.raises(training_container.NotStarted, match="not the one that its manifest names"):
        training_container.start(["serve"], {"FISO_OPT_ML": str(tmp_path), "AIP_HTTP_PORT": "0"})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"instances": []}', 400),
        (b'{"instances": [1]}', 400),
        (b'{"instances": [[1, 2]]}', 400),
        (b'{"instances": [{"hour_of_day": 1}]}', 400),
        (b'{"instances": [[' + b",".join([b"NaN"] * 11) + b"]]}", 400),
        (b'{"instances": [[' + b",".join([b"1e999"] * 11) + b"]]}", 400),
        (b'{"instances": [[' + b",".join([b"true"] * 11) + b"]]}", 400),
        (b"[" * 100_000, 400),
        (b'{"instances": [[' + b",".join([b"1"] * 11) + b"]]}", 200),
    ],
)
def test_what_is_no_question_is_answered_in_one_line(body: bytes, status: int) -> None:
    at = serving.Door(port=0, health="/ping", predict="/invocations", model="")
    server = serving.server(MODEL, at, "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    port = server.server_address[1]
    found, document = asked(port, "POST", "/invocations", body)
    assert found == status, document
    assert "\n" not in json.dumps(document)
    assert asked(port, "POST", "/other", body)[0] == 404
    assert asked(port, "GET", "/other")[0] == 404
    assert asked(port, "POST", "/invocations", b"", **{"content-length": "99999999"})[0] == 413
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--on", "ray", "--image", "i"], "--on must be one of sagemaker, vertex"),
        (["serve", "--on", "sagemaker", "--image", "i"], "--role is needed"),
        (["serve", "--on", "vertex", "--image", "i", "--project", "p"], "--project and --bucket are needed"),
        (["ask", "none.jsonl", "--on", "vertex"], "No such file"),
    ],
)
def test_what_the_commands_are_not_told_is_one_line(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["model", *arguments])
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())


def test_rows_of_a_file_are_put_to_the_model_by_a_command(vertex: VertexEndpoint, tmp_path: Path) -> None:
    quiet(replace(vertex, stage="local").steps(FILES))
    rows = tmp_path / "rows.jsonl"
    rows.write_text(f"{json.dumps(ROW)}\n\n{json.dumps(dict(zip(features.NAMES, ROW, strict=True)))}\n")
    words = ["model", "ask", str(rows), "--on", "vertex", "--project", "fiso-local"]
    environ = {"FISO_GOOGLE_ENDPOINT": vertex.google.endpoint}
    result = CliRunner().invoke(app, [*words, "--json"], env=environ)
    assert result.exit_code == 0, result.output
    found = [each["execution_time_ms"] for each in json.loads(result.stdout)["predictions"]]
    assert found == [MODEL.predict(ROW).latency_ms] * 2
    rows.write_text("[1, 2]\n")
    result = CliRunner().invoke(app, words, env=environ)
    assert result.exit_code != 0
    assert "instance 0 must have the 11 features" in " ".join(result.output.split())


def test_a_candidate_may_be_put_up_and_a_version_that_is_none_is_one_line() -> None:
    s3 = MemoryS3()
    S3Candidates(s3, "bucket").put(FILES)
    found = model_of(s3, "bucket", FILES.pointer.version)
    assert packed(found) == packed(FILES)
    for version in ("m9", ""):
        with pytest.raises(BadInput, match="there is no model"):
            model_of(s3, "bucket", version)
