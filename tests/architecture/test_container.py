"""The container: what its file copies runs with nothing else, and what runs it elsewhere is in those places' terms."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread
from typing import Any

import googleapiclient
import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator

from functions.server.listener import Limits
from functions.server.wiring import ServerSettings
from localcloud.drill.loss import free_ports
from localcloud.drill.object_store import Server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
GRACE_S = Limits().lame_s + Limits().drain_s


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the file's lines put under /app: the locked packages, and what is copied."""
    app = tmp_path_factory.mktemp("image") / "app"
    (app / "functions").mkdir(parents=True)
    locked = re.findall(r"^([a-z0-9-]+)==", (ROOT / "functions/server/requirements.txt").read_text(), re.M)
    for name in locked:
        if name == "pycparser" or name.startswith("importlib"):
            continue
        found = distribution(name)
        tops = {Path(str(file)).parts[0] for file in found.files or () if ".." not in str(file)}
        for top in tops:
            if not (app / top).exists():
                (app / top).symlink_to(Path(str(found.locate_file(top))))
    for source, target in re.findall(r"^COPY (\S+) /app/(\S+)$", DOCKERFILE, re.M):
        (app / target).symlink_to(ROOT / source)
    return app


def command(image: Path) -> list[str]:
    """The file's entry point by this interpreter, without any other package."""
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M)
    _, *words = json.loads(entry)
    return [sys.executable, "-S", *words]


def test_it_serves_with_nothing_else_on_the_path(image: Path) -> None:
    storage, (port,) = Server(), free_ports(1)
    thread = Thread(target=storage.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    environ = {
        "PYTHONPATH": str(image),
        "PORT": str(port),
        "FISO_STAGE": "local",
        "FISO_SERVE_HOST": "127.0.0.1",
        "FISO_SERVE_LAME_S": "0",
        "FISO_MIRROR": f"{storage.url}/mirror",
        "FISO_MODEL_DIR": str(image / "model"),
        "IDENTITY_ENDPOINT": f"{storage.url}/token",
        "IDENTITY_HEADER": "h",
    }
    process = subprocess.Popen(command(image), env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        document = _answer(f"http://127.0.0.1:{port}/healthz", process)
        assert document["parts"]["model"]["is"] == "ok"
        assert document["parts"]["snapshot"]["is"] == "missing"  # nobody has published to the mirror
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
        storage.shutdown()
        storage.server_close()
        thread.join()
    assert process.returncode == 0, said


def test_what_it_is_not_told_is_one_line(image: Path) -> None:
    done = subprocess.run(command(image), env={"PYTHONPATH": str(image)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: environment variable FISO_STAGE is not set\n")


def test_it_is_nobodys_root_and_brings_no_shell() -> None:
    assert re.search(r"^ARG BASE_IMAGE=gcr.io/distroless/python3-[a-z0-9]+:nonroot$", DOCKERFILE, re.M)
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.M)
    assert "--require-hashes" in DOCKERFILE
    assert not re.search(r"^(ADD|MAINTAINER|RUN [^\[]|CMD|ENTRYPOINT [^\[])", DOCKERFILE, re.M)
    assert not re.search(r"^(FROM|COPY --from=)\S*:latest", DOCKERFILE, re.M)


def documents(name: str) -> Iterator[dict[str, Any]]:
    yield from yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8"))


def test_kubernetes_keeps_it_up_while_it_changes() -> None:
    found = {each["kind"]: each for each in documents("kubernetes.yaml")}
    deployment, pod = found["Deployment"]["spec"], found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] < deployment["replicas"]
    assert found["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == deployment["replicas"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_S
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] <= 2 * Limits().lame_s
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert pod["securityContext"]["runAsNonRoot"]
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (
        deployment["selector"]["matchLabels"],
        found["Service"]["spec"]["selector"],
        found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector == labels
    kept = set(found["Secret"]["stringData"])
    assert {each["valueFrom"]["secretKeyRef"]["key"] for each in container["env"] if "valueFrom" in each} == kept


def test_ecs_takes_the_task() -> None:
    task = json.loads((DEPLOY / "ecs-task.json").read_text(encoding="utf-8"))
    shape = get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    report = ParamValidator().validate(task, shape)
    assert not report.has_errors(), report.generate_report()
    (container,) = task["containerDefinitions"]
    assert container["stopTimeout"] > GRACE_S
    assert container["readonlyRootFilesystem"]


def test_cloud_run_takes_the_service() -> None:
    file = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents" / "run.v2.json"
    schemas = json.loads(file.read_text(encoding="utf-8"))["schemas"]
    (service,) = documents("cloud-run.yaml")
    assert list(_unfit(schemas, {"$ref": "GoogleCloudRunV2Service"}, service, "")) == []
    assert list(_unfit(schemas, {"$ref": "GoogleCloudRunV2Service"}, service | {"ingres": 1, "ingress": "X"}, ""))


@pytest.mark.parametrize("file", ["kubernetes.yaml", "ecs-task.json", "cloud-run.yaml", "container-app.yaml"])
def test_every_setting_is_one_that_is_read(file: str) -> None:
    text = (DEPLOY / file).read_text(encoding="utf-8")
    read = json.loads((ROOT / "tests/golden/files/environment-variables.json").read_text(encoding="utf-8"))["all"]
    named = set(re.findall(r"FISO_[A-Z_]+", text))
    assert named <= set(read)
    assert "FISO_AUTH" in named
    assert ServerSettings.from_environ({}).port == 8080


def _unfit(schemas: Mapping[str, Any], schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    """What of a value a discovery document's schema does not know, with its place."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    if isinstance(value, dict) and "properties" in schema:
        for name, each in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name} is not known"
            else:
                yield from _unfit(schemas, schema["properties"][name], each, f"{path}.{name}")
    elif isinstance(value, list) and schema["type"] == "array":
        for number, each in enumerate(value):
            yield from _unfit(schemas, schema["items"], each, f"{path}[{number}]")
    elif schema["type"] != "object":
        kinds = {"string": str, "integer": int, "boolean": bool, "number": float}
        if not isinstance(value, kinds[schema["type"]]) or value not in schema.get("enum", [value]):
            yield f"{path}: {value!r} is no {schema['type']}"


def _answer(url: str, process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            return dict(json.load(error))
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer; {os.strerror(0) if process.poll() is None else process.returncode}")
