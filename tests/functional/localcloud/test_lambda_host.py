"""The Lambda host against what AWS documents: one emulator, one host, small deployed functions."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.request import Request, urlopen

import pytest

from fiso_cli.access_key import access_key_of
from functions.stream_consumer.archiver import spilled_lines
from localcloud import signatures
from tests.emulator import KEY
from tests.functional.localcloud.lambda_host_world import LambdaHostWorld, eventually, running_world

LOOK = """
import os, sys
COLD = True
def handle(event, context):
    global COLD
    was, COLD = COLD, False
    print("seen", event)
    files = sorted(os.path.join(d, f) for d, _, fs in os.walk("/opt") for f in fs)
    return {
        "cold": was, "file": __file__, "environment": dict(os.environ), "path": sys.path, "event": event,
        "opt": {f: open(f).read() for f in files}, "id": context.aws_request_id, "tmp": os.listdir("/tmp"),
    }
"""
SLEEP = "import time\ndef handle(event, context):\n    time.sleep(event['seconds'])\n    return 'slept'\n"
EMF = """
import json, time
def handle(event, context):
    print(json.dumps({
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [
            {"Namespace": "Shop", "Dimensions": [["page"]], "Metrics": [{"Name": "Visits", "Unit": "Count"}]}]},
        "page": "home", "Visits": 3}))
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LambdaHostWorld]:
    cache = tmp_path_factory.getbasetemp() / "lambda-host-cache"
    with running_world(tmp_path_factory.mktemp("lambda_host"), cache, "--function-env", "GIVEN=by the host") as world:
        yield world


def test_a_second_invocation_finds_the_environment_warm(world: LambdaHostWorld) -> None:
    world.deploy("warm", LOOK)
    first, second = world.invoke("warm"), world.invoke("warm", {"n": 2})
    assert (first.payload["cold"], second.payload["cold"]) == (True, False)
    assert second.payload["event"] == {"n": 2}
    assert (first.error, first.version) == (None, "$LATEST")
    assert world.status("warm") | {"cold_starts": 1, "invocations": 2, "warm": 1, "busy": 0} == world.status("warm")


def test_a_function_sees_lambdas_paths_and_environment_and_not_the_hosts(world: LambdaHostWorld) -> None:
    world.deploy("paths", LOOK, MemorySize=256, Environment={"Variables": {"OWN": "1"}})
    seen = world.invoke("paths").payload
    environment = seen["environment"]
    expected = {
        "AWS_ACCESS_KEY_ID": access_key_of("paths"),
        "AWS_ENDPOINT_URL": world.emulator_url,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_NAME": "paths",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/paths",
        "AWS_REGION": "us-east-1",
        "GIVEN": "by the host",
        "LAMBDA_TASK_ROOT": "/var/task",
        "OWN": "1",
        "TZ": ":UTC",
        "_HANDLER": "handler.handle",
    }
    assert {name: environment.get(name) for name in expected} == expected
    assert "AWS_SESSION_TOKEN" not in environment
    assert "PYTEST_CURRENT_TEST" not in environment
    assert seen["file"] == "/var/task/handler.py"
    assert seen["tmp"] == []


def test_layers_are_merged_below_opt_and_the_later_one_wins(world: LambdaHostWorld) -> None:
    layers = [
        world.layer("model-a", {"model/champion.json": "a", "model/a.txt": "only a"}),
        world.layer("model-b", {"model/champion.json": "b"}),
    ]
    world.deploy("layered", LOOK, Layers=layers)
    assert world.invoke("layered").payload["opt"] == {"/opt/model/a.txt": "only a", "/opt/model/champion.json": "b"}


def test_code_and_layers_cannot_be_written(world: LambdaHostWorld) -> None:
    world.deploy("vandal", "def handle(event, context):\n    open(event['path'], 'w')\n")
    for path in ("/var/task/x", "/opt/x", "/var/runtime/x"):
        assert world.invoke("vandal", {"path": path}).payload["errorType"] == "OSError"
    assert world.invoke("vandal", {"path": "/tmp/x"}).error is None


def test_packages_that_lambda_lacks_cannot_be_imported_but_boto3_can(world: LambdaHostWorld) -> None:
    code = "import importlib\ndef handle(event, context):\n    return importlib.import_module(event['name']).__file__\n"
    world.deploy("imports", code, Environment={"Variables": {"PYTHONPATH": "/var/task/shared:/var/runtime"}})
    assert world.invoke("imports", {"name": "boto3"}).payload == "/var/runtime/boto3/__init__.py"
    assert world.invoke("imports", {"name": "sklearn"}).payload["errorType"] == "ModuleNotFoundError"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (None, "/opt/python/of_layer.py"),
        ("/var/task/shared:/opt/python:/var/runtime", "/opt/python/of_layer.py"),
        ("/var/task/shared:/var/runtime", "ModuleNotFoundError"),
    ],
)
def test_a_layers_modules_are_found_unless_pythonpath_is_set_without_them(
    world: LambdaHostWorld, path: str | None, found: str
) -> None:
    layer = world.layer("modules", {"python/of_layer.py": ""})
    code = "def handle(event, context):\n    import of_layer\n    return of_layer.__file__\n"
    variables = {} if path is None else {"PYTHONPATH": path}
    world.deploy(f"path-{len(path or '')}", code, Layers=[layer], Environment={"Variables": variables})
    payload = world.invoke(f"path-{len(path or '')}").payload
    assert (payload if isinstance(payload, str) else payload["errorType"]) == found


def test_a_handlers_exception_is_reported_and_the_environment_stays_warm(world: LambdaHostWorld) -> None:
    world.deploy("boom", "def handle(event, context):\n    raise ValueError('boom')\n")
    answers = [world.invoke("boom") for _ in range(2)]
    assert [a.error for a in answers] == ["Unhandled", "Unhandled"]
    assert (answers[0].payload["errorType"], answers[0].payload["errorMessage"]) == ("ValueError", "boom")
    assert "[ERROR] ValueError: boom\nTraceback" in answers[0].log
    assert world.status("boom")["cold_starts"] == 1


def test_the_log_tail_holds_the_functions_lines_and_the_report(world: LambdaHostWorld) -> None:
    world.deploy("logs", LOOK, MemorySize=192)
    cold, warm = world.invoke("logs"), world.invoke("logs")
    identity = warm.payload["id"]
    lines = warm.log.splitlines()
    assert lines[:3] == [f"START RequestId: {identity} Version: $LATEST", "seen {}", f"END RequestId: {identity}"]
    report = dict(part.split(": ", 1) for part in lines[3].removeprefix("REPORT ").rstrip("\t").split("\t"))
    assert report["Memory Size"] == "192 MB"
    assert int(report["Max Memory Used"].removesuffix(" MB")) > 5
    assert float(report["Duration"].removesuffix(" ms")) <= int(report["Billed Duration"].removesuffix(" ms"))
    assert "Init Duration" not in report
    assert "Init Duration: " in cold.log


def test_a_timeout_ends_the_environment(world: LambdaHostWorld) -> None:
    world.deploy("slow", SLEEP, Timeout=1)
    late = world.invoke("slow", {"seconds": 30})
    assert late.error == "Unhandled"
    assert late.payload["errorType"] == "Sandbox.Timedout"
    assert late.payload["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "Status: timeout" in late.log
    assert world.invoke("slow", {"seconds": 0}).payload == "slept"
    assert world.status("slow")["cold_starts"] == 2


@pytest.mark.parametrize(
    ("name", "end", "message"),
    [
        ("exits", "os._exit(3)", "Runtime exited with error: exit status 3"),
        ("killed", "os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
        ("leaves", "os._exit(0)", "Runtime exited without providing a reason"),
    ],
)
def test_a_crash_is_an_exit_error(world: LambdaHostWorld, name: str, end: str, message: str) -> None:
    world.deploy(name, f"import os\ndef handle(event, context):\n    {end}\n")
    crashed = world.invoke(name)
    assert crashed.payload["errorType"] == "Runtime.ExitError"
    assert crashed.payload["errorMessage"].endswith(f"Error: {message}")
    assert "Error Type: Runtime.ExitError" in crashed.log


def test_a_handler_that_cannot_be_imported_is_an_import_error(world: LambdaHostWorld) -> None:
    world.deploy("broken", "import sklearn\n")
    failed = world.invoke("broken")
    assert (failed.error, failed.payload["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
    assert "Unable to import module 'handler'" in failed.payload["errorMessage"]


def test_an_answer_over_six_megabytes_is_a_function_error(world: LambdaHostWorld) -> None:
    world.deploy("large", "def handle(event, context):\n    return 'x' * event['size']\n")
    assert world.invoke("large", {"size": 7_000_000}).payload["errorType"] == "Function.ResponseSizeTooLarge"
    assert len(world.invoke("large", {"size": 5_000_000}).payload) == 5_000_000


def test_reserved_concurrency_throttles_and_never_queues(world: LambdaHostWorld) -> None:
    world.deploy("limited", SLEEP)
    world.aws("lambda").put_function_concurrency(FunctionName="limited", ReservedConcurrentExecutions=1)
    busy = threading.Thread(target=world.invoke, args=("limited", {"seconds": 2}))
    busy.start()
    assert eventually(lambda: any(f["function"] == "limited" and f["busy"] for f in world.get("/status")["functions"]))
    refused = world.refusal("limited", Payload=b'{"seconds": 0}')
    busy.join()
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert refused["Error"]["Code"] == "TooManyRequestsException"
    assert refused["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert world.invoke("limited", {"seconds": 0}).payload == "slept"


def test_new_code_takes_effect_without_a_restart(world: LambdaHostWorld) -> None:
    world.deploy("redeployed", "def handle(event, context):\n    return 'old'\n")
    assert world.invoke("redeployed").payload == "old"
    world.update("redeployed", "def handle(event, context):\n    return 'new'\n")
    assert eventually(lambda: bool(world.invoke("redeployed").payload == "new"))
    assert world.status("redeployed")["warm"] == 1


def test_a_removed_function_is_unknown(world: LambdaHostWorld) -> None:
    world.deploy("removed", "def handle(event, context):\n    return 1\n")
    world.invoke("removed")
    world.aws("lambda").delete_function(FunctionName="removed")
    assert eventually(lambda: all(f["function"] != "removed" for f in world.get("/status")["functions"]))
    assert world.refusal("removed", Payload=b"{}")["Error"]["Code"] == "ResourceNotFoundException"


@pytest.mark.parametrize("payload", [b"{", b"NaN", b"\xff", b"[" * 100_000, b"nonsense"])
def test_a_payload_that_is_not_json_is_refused(world: LambdaHostWorld, payload: bytes) -> None:
    refused = world.refusal("nobody", Payload=payload)
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused["Error"]["Code"] == "InvalidRequestContentException"


def test_a_request_over_six_megabytes_is_refused(world: LambdaHostWorld) -> None:
    refused = world.refusal("nobody", Payload=b'"' + b"x" * 7_000_000 + b'"')
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert refused["Error"]["Code"] == "RequestTooLargeException"


def test_a_function_is_found_by_its_arn(world: LambdaHostWorld) -> None:
    world.deploy("by-arn", "def handle(event, context):\n    return context.invoked_function_arn\n")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:by-arn"
    assert world.invoke(arn).payload == arn


def test_lines_that_a_group_is_subscribed_to_reach_the_subscriber_as_cloudwatch_sends_them(
    world: LambdaHostWorld,
) -> None:
    logs = world.aws("logs")
    logs.create_log_group(logGroupName="spilling")
    world.deploy("reader", "import json\ndef handle(event, _):\n    print('told ' + json.dumps(event))\n")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:reader"
    logs.put_subscription_filter(
        logGroupName="spilling", filterName="spilled", filterPattern='"log_spill"', destinationArn=arn
    )
    world.deploy(
        "spilling",
        "def handle(event, _):\n    print('a log_spill')\n    print('another')\n",
        LoggingConfig={"LogGroup": "spilling"},
    )
    world.invoke("spilling")

    def told() -> list[str]:
        try:
            events = logs.filter_log_events(logGroupName="/aws/lambda/reader")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [each["message"].removeprefix("told ") for each in events if each["message"].startswith("told ")]

    assert eventually(lambda: bool(told()))
    assert spilled_lines(json.loads(told()[0])["awslogs"]) == ["a log_spill"]


def test_log_lines_and_embedded_metrics_reach_cloudwatch(world: LambdaHostWorld) -> None:
    world.deploy("measured", EMF, LoggingConfig={"LogGroup": "shop-logs"})
    world.invoke("measured")
    metrics, logs = world.aws("cloudwatch"), world.aws("logs")
    assert eventually(lambda: bool(metrics.list_metrics(Namespace="Shop")["Metrics"]))
    metric = metrics.list_metrics(Namespace="Shop")["Metrics"][0]
    assert (metric["MetricName"], metric["Dimensions"]) == ("Visits", [{"Name": "page", "Value": "home"}])
    messages = [e["message"] for e in logs.filter_log_events(logGroupName="shop-logs")["events"]]
    assert sum(m.startswith("REPORT RequestId:") for m in messages) == 1


def test_the_emulator_runs_functions_through_the_host(world: LambdaHostWorld) -> None:
    world.deploy("through", "def handle(event, context):\n    return 1 / event['by']\n")
    emulator = world.aws("lambda")
    good = emulator.invoke(FunctionName="through", Payload=b'{"by": 2}')
    assert json.load(good["Payload"]) == 0.5
    bad = emulator.invoke(FunctionName="through", Payload=b'{"by": 0}')
    assert (bad["FunctionError"], json.load(bad["Payload"])["errorType"]) == ("Unhandled", "ZeroDivisionError")
    assert world.status("through")["invocations"] == 2


def test_the_proxy_contract_answers_502_for_a_failed_function(world: LambdaHostWorld) -> None:
    world.deploy("proxied", "def handle(event, context):\n    return 1 / event['by']\n")
    body = b'{"by": 0}'
    asked = signatures.Request(
        method="POST", path="/invoke/proxied", query="", headers={"host": world.host_url.partition("//")[2]}, body=body
    )
    headers = signatures.signed(asked, KEY, "lambda", "us-east-1", datetime.now(UTC))
    request = Request(f"{world.host_url}/invoke/proxied", data=body, headers=headers, method="POST")
    with pytest.raises(OSError, match="502") as refused:
        urlopen(request)
    refused.value.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("said", [{}, {"Origin": "https://attacker.test"}, {"Host": "attacker.test"}])
@pytest.mark.parametrize("path", ["/invoke/guarded", "/2015-03-31/functions/guarded/invocations"])
def test_nothing_is_invoked_without_the_key(world: LambdaHostWorld, path: str, said: dict[str, str]) -> None:
    if not deployed(world, "guarded"):
        world.deploy("guarded", LOOK)
    with pytest.raises(OSError, match="403") as refused:
        urlopen(Request(world.host_url + path, data=b"{}", headers=said, method="POST"))
    refused.value.close()  # type: ignore[attr-defined]
    assert all(found["function"] != "guarded" for found in world.get("/status")["functions"])


def deployed(world: LambdaHostWorld, name: str) -> bool:
    return any(found["FunctionName"] == name for found in world.aws("lambda").list_functions()["Functions"])


@pytest.mark.parametrize("said", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {"Host": "attacker.test"}])
def test_a_page_takes_no_work_from_a_runtime(world: LambdaHostWorld, said: dict[str, str]) -> None:
    if not deployed(world, "tells"):
        world.deploy("tells", "import os\ndef handle(e, c):\n    return os.environ['AWS_LAMBDA_RUNTIME_API']\n")
    api = world.invoke("tells").payload
    with pytest.raises(OSError, match="403") as refused:
        urlopen(Request(f"http://{api}/2018-06-01/runtime/invocation/next", headers=said))
    refused.value.close()  # type: ignore[attr-defined]
    assert world.invoke("tells").payload == api


def test_the_log_tail_is_cut_to_its_last_four_kilobytes(world: LambdaHostWorld) -> None:
    world.deploy("talks", "def handle(event, context):\n    for n in range(2000): print('line', n)\n")
    answer = world.aws("lambda", world.host_url).invoke(FunctionName="talks", LogType="Tail", Payload=b"{}")
    tail = base64.b64decode(answer["LogResult"])
    assert len(tail) == 4096
    assert b"line 1999" in tail
    assert b"REPORT RequestId" in tail
