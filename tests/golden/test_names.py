"""Names that others rely on: settings, log fields, metrics, headers, routes and problems."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from fiso import telemetry
from fiso.console_settings import ConsoleSettings
from fiso.domain import errors
from fiso.domain.errors import RequestError, RoutingError
from fiso.retrainer_settings import RetrainerSettings
from fiso.settings import KeeperSettings, OrchestratorSettings, StreamConsumerSettings
from functions.orchestrator.handler import _ROUTES
from functions.orchestrator.http_answer import problem
from tests.builders import a_record
from tests.golden.golden_files import golden, golden_json
from tests.golden.log_lines import lines_of

ROOT = Path(__file__).parents[2]
READERS: Mapping[str, Callable[[Mapping[str, str]], object]] = {
    "orchestrator": OrchestratorSettings.from_environ,
    "stream_consumer": StreamConsumerSettings.from_environ,
    "retrainer": RetrainerSettings.from_environ,
    "keeper": KeeperSettings.from_environ,
    "console": ConsoleSettings.from_environ,
}
SET = {
    "FISO_KEY_REGIONS": "us-west-2 eu-west-1",
    "FISO_COPIES_TO": "",
    "FISO_MIRRORS": "",
    "FISO_MODELS_FROM": "",
    "FISO_STAGE": "prod",
    "FISO_MODEL_FAMILIES": "",
    "FISO_TRAIN_ON": "",
    "FISO_AUTH": "jwt",
    "FISO_JWT_ISSUER": "https://issuer.example",
    "FISO_JWT_SCOPES": "",
    "FISO_CONSOLE_URL": "https://fiso.example/console",
    "FISO_GOOGLE_PROVIDER": "",
    "FISO_GOOGLE_SERVICE_ACCOUNT": "",
    "FISO_AZURE_TENANT": "",
    "FISO_AZURE_CLIENT": "",
    "FISO_ENTRA_LOGIN": "",
    "FISO_GOOGLE_LOGIN": "",
    "FISO_ALLOW_LOOPBACK": "",
    "FISO_TRACED_SHARE": "",
    "FISO_DRIFT_THRESHOLD": "",
    "FISO_TRIAL_SHARE": "0.1",
    "FISO_TRIAL_DRAWN_BY": "",
    "FISO_OTLP_URL": "",
    "FISO_ENDPOINT_HOSTS": "functions.example",
    "FISO_CATALOG_KEYS": "",
    "FISO_URL_ACCOUNT": "",
    "FISO_IAM_TENANT": "",
}


class Watched(Mapping[str, str]):
    """An environment that has everything, and knows what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return SET.get(name, "7")

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


def nodes() -> Iterator[ast.AST]:
    """All syntax of the product."""
    for folder in ("shared", "functions"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def constants(pattern: str) -> list[str]:
    """The texts of the product's code that are wholly of a form."""
    values = (node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return sorted({value for value in values if re.fullmatch(pattern, value)})


def test_environment_variables() -> None:
    asked = {}
    for name, read in READERS.items():
        environ = Watched()
        read(environ)
        asked[name] = sorted(environ.asked)
    golden_json("environment-variables.json", asked | {"all": constants(r"FISO_[A-Z_]+[A-Z]")})


def test_headers() -> None:
    golden_json("headers.json", constants(r"x-fiso-[a-z-]+|server-timing|retry-after|idempotent-[a-z]+"))


def test_log_fields() -> None:
    golden_json("log-fields.json", sorted(telemetry.LOGGED))


def test_the_line_of_an_invocation() -> None:
    with lines_of(telemetry.logger()) as lines:
        telemetry.log_invocation(a_record(1))
        golden("log-line.json", "".join(f"{line}\n" for line in lines()))


def metrics() -> dict[str, dict[str, object]]:
    """Each metric with its unit and dimensions, as the code counts it."""
    found: dict[str, dict[str, object]] = {}
    for node in nodes():
        match node:
            case ast.Call(
                func=ast.Attribute(attr="add"), args=[ast.Constant(value=str(name)), _, ast.Constant(value=str(unit))]
            ):
                dimensions = [str(keyword.arg) for keyword in node.keywords]
                stated: dict[str, object] = {"unit": unit, "dimensions": dimensions}
                assert found.setdefault(name, stated) == stated
    return found


def test_metrics() -> None:
    golden_json("metrics.json", {"namespace": telemetry.NAMESPACE, "metrics": metrics()})


def test_metrics_as_they_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    collector = telemetry.EmbeddedMetrics("fiso-test")
    collector.add("Invocations", 1, "Count", provider="aws")
    collector.add("Invocations", 1, "Count", provider="aws")
    collector.add("OverheadMs", 2.5, "Milliseconds", provider="aws")
    collector.add("LogSpill", 1, "Count")
    collector.flush()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        line["_aws"]["Timestamp"] = 0
    golden_json("emf.json", lines)


def test_problems() -> None:
    known = [error for error in vars(errors).values() if isinstance(error, type)]
    found = {
        error.__name__: {
            "type": json.loads(problem(error.status, error.title, "", "")["body"])["type"],
            "title": error.title,
            "status": error.status,
            "retry_after_s": getattr(error, "retry_after_s", None),
        }
        for error in known
        if issubclass(error, RequestError | RoutingError)
    }
    golden_json("problems.json", found)


def test_routes() -> None:
    golden_json(
        "routes.json", [[sorted(r.methods), r.path.pattern, r.name, r.scope and r.scope.value] for r in _ROUTES]
    )


def test_the_handlers_that_deployed_functions_name() -> None:
    """CloudFormation changes a function's configuration and its code in two calls, configuration first: between them
    the code of before answers under the new handler, so none may be renamed."""
    template = (ROOT / "serverless.yml").read_text(encoding="utf-8")
    handlers = dict(re.findall(r"^  (\w+):\n    name: .*\n    handler: (\S+)$", template, re.MULTILINE))
    golden_json("handlers.json", handlers)
    assert all((ROOT / handler.rpartition(".")[0]).with_suffix(".py").is_file() for handler in handlers.values())
