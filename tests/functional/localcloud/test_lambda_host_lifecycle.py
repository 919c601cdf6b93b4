"""What the Lambda host leaves behind, keeps within limits, and does where the kernel refuses namespaces."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fiso_cli.access_key import access_key_of
from localcloud.lambda_host.sandbox import Mode
from tests.emulator import free_port
from tests.functional.localcloud.lambda_host_world import (
    SCRIPTS,
    LambdaHostWorld,
    eventually,
    running_host,
    running_world,
)
from tests.iam.recorder import recording

BROOD = """
import subprocess, sys
subprocess.Popen(["sleep", "600"], start_new_session=True)
def handle(event, context):
    return "started"
"""
PLAIN = """
import os
def handle(event, context):
    import other
    model = os.path.join(os.environ["FISO_MODEL_DIR"], "champion.json")
    return [open(model).read(), os.environ["LAMBDA_TASK_ROOT"] == os.path.dirname(__file__), other.VALUE]
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "lambda-host-cache"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[LambdaHostWorld]:
    limits = ("--max-environments", "2", "--idle-seconds", "3")
    with running_world(tmp_path_factory.mktemp("lambda_host_lifecycle"), cache, *limits) as world:
        yield world


def processes_of(function: str) -> list[int]:
    """Every process on this machine that runs in the function's environment."""
    wanted = f"AWS_LAMBDA_FUNCTION_NAME={function}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_of_a_function_survives_the_host(
    world: LambdaHostWorld, cache: Path, number: signal.Signals
) -> None:
    name = f"brood-{os.getpid()}-{number}"
    world.deploy(name, BROOD)
    url = f"http://127.0.0.1:{free_port()}"
    with running_host(world.directory, cache, world.emulator_url, url) as host:
        second = LambdaHostWorld(emulator_url=world.emulator_url, host_url=url, host=host, directory=world.directory)
        assert second.invoke(name).payload == "started"
        assert len(processes_of(name)) >= 2
        host.send_signal(number)
        host.wait(timeout=10)
        assert eventually(lambda: not processes_of(name))


def test_idle_environments_are_ended(world: LambdaHostWorld) -> None:
    world.deploy("idler", BROOD)
    world.invoke("idler")
    assert eventually(lambda: bool(world.status("idler")["warm"] == 0))
    assert eventually(lambda: not processes_of("idler"))


def test_an_idle_environment_makes_room_for_another_function(world: LambdaHostWorld) -> None:
    for name in ("room-a", "room-b", "room-c"):
        world.deploy(name, "def handle(event, context):\n    return 1\n")
        assert world.invoke(name).payload == 1
    assert world.get("/status")["environments"]["used"] <= 2


def test_without_namespaces_paths_are_rewritten(world: LambdaHostWorld, cache: Path) -> None:
    layer = world.layer("plain-model", {"model/champion.json": "the model", "python/other.py": "VALUE = 7"})
    world.deploy("plain", PLAIN, Layers=[layer], Environment={"Variables": {"FISO_MODEL_DIR": "/opt/model"}})
    url = f"http://127.0.0.1:{free_port()}"
    with running_host(world.directory, cache, world.emulator_url, url, "--sandbox", Mode.PLAIN) as host:
        plain = LambdaHostWorld(emulator_url=world.emulator_url, host_url=url, host=host, directory=world.directory)
        assert plain.invoke("plain").payload == ["the model", True, 7]
        assert processes_of("plain")
    assert eventually(lambda: not processes_of("plain"))


def test_a_taken_port_is_one_line_and_a_failure(world: LambdaHostWorld, cache: Path) -> None:
    port = world.host_url.rpartition(":")[2]
    command = [sys.executable, "-m", "localcloud.lambda_host", "--port", port]
    command += ["--emulator-url", world.emulator_url, "--cache", str(cache)]
    command += ["--access-key", str(world.directory / "access-key")]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(SCRIPTS)})
    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_recorder_notes_who_called_what_and_passes_answers_on(world: LambdaHostWorld) -> None:
    with recording(world.emulator_url) as recorded:
        s3 = world.aws("s3", recorded.urls[0])
        s3.create_bucket(Bucket="records")
        s3.put_object(Bucket="records", Key="a b/ü.txt", Body=b"x" * 2_000_000)
        assert s3.head_object(Bucket="records", Key="a b/ü.txt")["ContentLength"] == 2_000_000
        assert s3.get_object(Bucket="records", Key="a b/ü.txt")["Body"].read() == b"x" * 2_000_000
        s3.list_objects_v2(Bucket="records", Prefix="a b/")
        with pytest.raises(s3.exceptions.NoSuchKey):
            s3.get_object(Bucket="records", Key="none")
    assert {access.caller for access in recorded.accesses} == {"test"}
    found = [
        (each.operation, each.permission, each.arn.partition(":::")[2], each.context) for each in recorded.accesses
    ]
    assert found == [
        ("CreateBucket", "s3:CreateBucket", "records", ()),
        ("PutObject", "s3:PutObject", "records/a b/ü.txt", ()),
        ("HeadObject", "s3:GetObject", "records/a b/ü.txt", ()),
        ("GetObject", "s3:GetObject", "records/a b/ü.txt", ()),
        ("ListObjectsV2", "s3:ListBucket", "records", (("s3:prefix", ("a b/",)),)),
        ("GetObject", "s3:GetObject", "records/none", ()),
        ("GetObject", "s3:ListBucket", "records", ()),  # or it would be forbidden and not missing
    ]


def test_a_functions_own_calls_carry_its_name(world: LambdaHostWorld) -> None:
    code = "import os\ndef handle(event, context):\n    return os.environ['AWS_ACCESS_KEY_ID']\n"
    world.deploy("fiso-local-keeper", code)
    assert world.invoke("fiso-local-keeper").payload == access_key_of("fiso-local-keeper") == "LOCALFISOLOCALKEEPER"
