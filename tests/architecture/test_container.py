"""The container: what its file copies runs with nothing else, and what runs it elsewhere is in those places' terms."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread
from typing import Any

import googleapiclient
import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from kubernetes.client import models as kubernetes
from pydantic import ValidationError

from functions.server.listener import Limits
from functions.server.wiring import ServerSettings
from localcloud.drill.object_store import Server
from localcloud.drill.traffic import free_ports
from tests.functional.clouds.azure_sdk import problems

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
GRACE_S = Limits().lame_s + Limits().drain_s


PINNED = f"gcr.io/distroless/python3-debian13:nonroot@sha256:{'0' * 64}"


def steps(target: str) -> list[tuple[str, list[str]]]:
    """What the file does for one of its stages, with the stages that this one is made from: instructions and words."""
    stages, name = dict[str, list[tuple[str, list[str]]]](), ""
    for line in re.findall(r"^([A-Z]+ .*)$", DOCKERFILE, re.M):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            words = rest.split()
            name = words[2] if len(words) > 1 else ""
            stages[name] = list(stages.get(words[0], []))
        elif name or stages:
            stages[name].append((word, json.loads(rest) if rest.startswith("[") else rest.split()))
    return stages[target]


def laid_out(app: Path, target: str) -> Path:
    """What a stage's lines put under /app: the locked packages as they are installed here, and what is copied."""
    for word, words in steps(target):
        if word == "COPY" and words[-1].startswith("/app"):
            _copied(ROOT / words[0], app / words[-1].removeprefix("/app/"))
        elif word == "COPY" and words[0].endswith("requirements.txt"):
            for name, version in re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / words[0]).read_text(), re.M):
                if name != "pycparser" and not name.startswith("importlib"):  # of other Pythons than this one
                    _installed(name, version, app)
    return app


def _copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignored, copy_function=_linked)
    elif not target.exists():
        _linked(source, target)


def _linked(source: object, target: object) -> object:
    try:
        os.link(str(source), str(target))
    except FileExistsError:
        return target  # of a distribution that both locks have
    except OSError:  # another file system
        shutil.copy2(str(source), str(target))
    return target


def _installed(name: str, version: str, app: Path) -> None:
    found = distribution(name)
    assert found.version == version, f"{name} is locked as {version}"
    for top in {Path(str(file)).parts[0] for file in found.files or () if ".." not in str(file)}:
        _copied(Path(str(found.locate_file(top))), app / top)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory.mktemp("image") / "app", "build-plain")


@pytest.fixture(scope="module")
def console_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laid_out(tmp_path_factory.mktemp("image") / "app", "build-console")


def command(image: Path) -> list[str]:
    """The file's entry point by this interpreter, without any other package."""
    ((_, words),) = [step for step in steps("") if step[0] == "ENTRYPOINT"]
    return [sys.executable, "-S", *words[1:]]


IN_ITS_OWN_ROOT = """
root=$1 app=$2 prefix=$3; shift 3
mount --bind "$root" "$root"
bind() { mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; mount -o remount,bind,ro "$root$2"; }
for each in /lib /lib64 /usr/lib /usr/lib64 "$prefix"; do
  [ ! -d "$each" ] || [ -L "$each" ] || bind "$each" "$each"
done
for each in /lib /lib64; do [ ! -L "$each" ] || [ -L "$root$each" ] || cp -P "$each" "$root$each"; done
bind "$app" /app
mount -o remount,bind,ro "$root"
exec chroot --userspec=65532:65532 --groups= "$root" "$@"
"""


def rooted(root: Path, image: Path, *words: str) -> list[str]:
    """Words that run in a root of its own: this Python, its libraries and /app; all read only, and by nobody."""
    python = Path(sys.executable).resolve()
    bound = [str(root), str(image), str(Path(sys.base_prefix).resolve()), str(python), "-S", *words]
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", IN_ITS_OWN_ROOT, "sh", *bound]


def _may_have_a_root_of_its_own() -> bool:
    words = ["unshare", "--mount", "true"]
    return os.getuid() == 0 and subprocess.run(words, capture_output=True, check=False).returncode == 0


PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
needs_root = pytest.mark.skipif(not _may_have_a_root_of_its_own(), reason="only root may make a root of its own")


@contextmanager
def elsewhere(app: str, **more: str) -> Iterator[tuple[dict[str, str], str]]:
    """The environment of a door elsewhere on loopback, with its storage; and its address."""
    storage, (port,) = Server(), free_ports(1)
    thread = Thread(target=storage.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    environ = {
        "PATH": PATH,
        "PYTHONPATH": app,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PORT": str(port),
        "FISO_STAGE": "local",
        "FISO_SERVE_HOST": "127.0.0.1",
        "FISO_SERVE_LAME_S": "0",
        "FISO_MIRROR": f"{storage.url}/mirror",
        "FISO_MODEL_DIR": f"{app}/model",
        "IDENTITY_ENDPOINT": f"{storage.url}/token",
        "IDENTITY_HEADER": "h",
    }
    try:
        yield environ | more, f"http://127.0.0.1:{port}"
    finally:
        storage.shutdown()
        storage.server_close()
        thread.join()


@contextmanager
def running(words: list[str], environ: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(words, env=environ, cwd="/", stdout=said, stderr=said)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)
            said.seek(0)
            sys.stdout.write(said.read().decode(errors="replace"))  # shown where the test fails
    assert process.returncode == 0


def test_it_serves_with_nothing_else_on_the_path(image: Path) -> None:
    with elsewhere(str(image)) as (environ, url), running(command(image), environ) as process:
        document = _answer(f"{url}/healthz", process)
        assert document["parts"]["model"]["is"] == "ok"
        assert document["parts"]["snapshot"]["is"] == "missing"  # nobody has published to the mirror


@needs_root
def test_it_serves_in_a_root_of_its_own_that_nobody_may_write(image: Path, tmp_path: Path) -> None:
    probe = """
import os, sys
said = [os.getuid(), os.getgid(), os.getgroups(), os.path.exists("/bin/sh"), os.path.exists("/etc/passwd")]
for place in ("/", "/app", "/app/fiso", "/tmp"):
    try:
        open(f"{place}/x", "w")
    except OSError as error:
        said.append(error.errno)
print(said)
"""
    root = tmp_path / "root"
    root.mkdir()
    said = subprocess.run(
        rooted(root, image, "-c", probe), env={"PATH": PATH}, capture_output=True, text=True, check=True
    ).stdout
    assert said == f"{[65532, 65532, [], False, False, errno.EROFS, errno.EROFS, errno.EROFS, errno.ENOENT]}\n"
    words = rooted(root, image, "-m", "functions.server")
    with elsewhere("/app", FISO_SERVE_WORKERS="2") as (environ, url), running(words, environ) as process:
        assert _answer(f"{url}/healthz", process)["parts"]["model"]["is"] == "ok"


def test_with_the_console_it_serves_pages(console_image: Path) -> None:
    (settings,) = [words for word, words in steps("with-console") if word == "ENV" and "CONSOLE" in words[0]]
    name, _, value = settings[0].partition("=")
    more = {name: value, "FISO_MIRROR": "", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "us-east-1"}
    more |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s"}
    words = command(console_image)
    given = {"PYTHONPATH": str(console_image), **more, "FISO_STAGE": "prod", "FISO_AUTH": "jwt", "FISO_BUCKET": "b"}
    given |= {"FISO_JWT_ISSUER": "https://issuer.example", "FISO_JWT_AUDIENCE": "fiso", "FISO_LOGIN_CLIENT_ID": "c"}
    done = subprocess.run(words, env=given, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: environment variable FISO_CONSOLE_URL is not set\n")
    with elsewhere(str(console_image), **more, FISO_BUCKET="b") as (environ, url), running(words, environ) as process:
        _answer(f"{url}/healthz", process)
        with urllib.request.urlopen(f"{url}/console/static/console.css", timeout=30) as answer:
            assert answer.headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("target", ["build-plain", "build-console"])
def test_its_bill_names_every_file_and_the_image_below(
    target: str, image: Path, console_image: Path, tmp_path: Path
) -> None:
    app = image if target == "build-plain" else console_image
    done = _billed(target, app, tmp_path / "bill.json", PINNED)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "bill.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    named = {file["name"] for each in bill["components"] for file in each.get("components", ())}
    assert named == {path.relative_to(app).as_posix() for path in app.rglob("*") if path.is_file()}
    (below,) = [each for each in bill["components"] if each["type"] == "container"]
    assert f"{below['name']}@{below['version']}" == PINNED
    lock = (ROOT / f"functions/{'server' if app is image else 'console'}/requirements.txt").read_text()
    found = {f"{each['name']}=={each['version']}" for each in bill["components"] if each["type"] == "library"}
    assert {each for each in re.findall(r"^([a-z0-9-]+==[^ ;]+)", lock, re.M) if "pycparser" not in each} <= found


@pytest.mark.parametrize(
    "base", ["", "python:3.13", "python:latest", "python@sha256:abc", f"python@sha256:{'G' * 64}", PINNED + "0"]
)
def test_an_image_that_is_not_named_by_its_digest_is_built_upon_by_nobody(
    base: str, image: Path, tmp_path: Path
) -> None:
    done = _billed("build-plain", image, tmp_path / "bill.json", base)
    assert (done.returncode, done.stderr.count("\n"), (tmp_path / "bill.json").exists()) == (2, 1, False)
    assert "BASE_IMAGE must be named by its digest" in done.stderr


def _billed(target: str, app: Path, bill: Path, base: str) -> "subprocess.CompletedProcess[str]":
    """The file's own last line of a stage, for what is laid out here."""
    word, words = steps(target)[-1]
    assert (word, words[:3]) == ("RUN", ["env", "PYTHONPATH=/app", "python"])
    (script,) = [words[0] for word, words in steps(target) if word == "COPY" and words[0].endswith("sbom.py")]
    said = {"/app": str(app), "/app/sbom.cdx.json": str(bill), "sbom.py": str(ROOT / script)}
    environ = {"PYTHONPATH": str(app), "BASE_IMAGE": base, "PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, "-S", *(said[each] for each in words[3:])]
    return subprocess.run(run, env=environ, cwd="/", capture_output=True, text=True, check=False)


def test_what_it_is_not_told_is_one_line(image: Path) -> None:
    done = subprocess.run(
        command(image), env={"PYTHONPATH": str(image)}, cwd="/", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, "error: environment variable FISO_STAGE is not set\n")


def test_it_is_nobodys_root_and_brings_no_shell() -> None:
    assert re.search(r"^ARG BASE_IMAGE=gcr.io/distroless/python3-[a-z0-9]+:nonroot$", DOCKERFILE, re.M)
    for target in ("", "with-console"):
        found = {word: words for word, words in steps(target) if word in ("USER", "STOPSIGNAL", "ENTRYPOINT")}
        assert found == {"USER": ["65532:65532"], "STOPSIGNAL": ["SIGTERM"], "ENTRYPOINT": found["ENTRYPOINT"]}
        assert [words[:2] for word, words in steps(target) if word == "COPY"] == [
            [f"--from=build-{'console' if target else 'plain'}", "/app"]
        ]
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


def test_kubernetes_own_client_takes_each_document() -> None:
    kinds = {"HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler"}
    found = list(documents("kubernetes.yaml"))
    assert len(found) == 7
    for each in found:
        model: Any = getattr(kubernetes, kinds.get(each["kind"], f"V1{each['kind']}"))
        model.model_validate(each, strict=True)
    broken = {"replicas": "3", "selector": {}, "template": {"spec": {"containers": [{"nam": "x"}]}}}
    with pytest.raises(ValidationError) as raised:
        kubernetes.V1DeploymentSpec.model_validate(broken, strict=True)
    assert raised.value.error_count() == 3  # a text for a number, a name that is not known, one that is missing


def test_container_apps_takes_the_app() -> None:
    (app,) = documents("container-app.yaml")
    assert problems({"type": "Microsoft.App/containerApps", **app}) == []
    app["properties"]["configuration"]["activeRevisionsMode"] = "Some"
    app["properties"]["template"]["containers"][0]["imag"] = "x"
    assert len(problems({"type": "Microsoft.App/containerApps", **app})) == 2


def test_every_image_is_named_by_its_digest() -> None:
    for file in ("kubernetes.yaml", "ecs-task.json", "cloud-run.yaml", "container-app.yaml"):
        named = re.findall(r"\bimage\"?: *\"?([^\s\",]+)", (DEPLOY / file).read_text(encoding="utf-8"))
        assert named, file
        assert all(re.search(r"@sha256:[0-9a-f]{64}$", each) for each in named), file


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
