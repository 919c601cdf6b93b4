"""What the orchestrator may not load, asked of a fresh interpreter rather than of the source."""

import json
import subprocess
import sys

import pytest

from fiso.prediction.manifest import PACKAGED_KEYS

HEAVY = ("sklearn", "scipy", "numpy", "joblib", "flask", "psycopg2", "pandas")
SDK = ("boto3", "botocore.client", "botocore.session")
"""What makes the SDK slow to load; Powertools imports the bare package to name itself in the user agent."""


def loaded_by(statement: str) -> set[str]:
    """The modules in a fresh interpreter after a statement."""
    program = f"import sys; {statement}; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


@pytest.mark.parametrize(
    ("handler", "heavy"),
    [("functions.orchestrator.handler", HEAVY + SDK), ("functions.stream_consumer.handler", HEAVY)],
)
def test_importing_the_hot_path_loads_nothing_heavy(handler: str, heavy: tuple[str, ...]) -> None:
    assert loaded_by(f"import {handler}").isdisjoint(heavy)


def loaded_by_an_answer() -> set[str]:
    """The modules in a fresh interpreter after a request without a key."""
    route = "from pathlib import Path; from tests.lab.bench import ours; ours.handler(Path('ml_artifacts'))()"
    program = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()): exec({route!r})"
    return loaded_by(f"exec({program!r})")


def test_answering_a_request_loads_nothing_heavy_either() -> None:
    assert loaded_by_an_answer().isdisjoint(HEAVY + SDK)


def test_a_request_without_a_key_does_not_pay_for_keys() -> None:
    keyed = {"fiso.domain.idempotency", "fiso.services.request.idempotency", "fiso.adapters.aws.dynamodb_idempotency"}
    assert loaded_by_an_answer().isdisjoint(keyed | {"functions.orchestrator.http_idempotency"})


def test_the_client_loads_nothing_of_fiso() -> None:
    loaded = loaded_by("import fiso_client; fiso_client.Client")
    assert "fiso_client.client" in loaded
    assert {module for module in loaded if module.split(".")[0] == "fiso"} == set()
    assert loaded.isdisjoint({*HEAVY, "boto3", "botocore", "httpx", "urllib3"})


@pytest.mark.parametrize("name", ["orchestrator", "stream_consumer", "retrainer", "keeper", "console"])
def test_importing_a_handler_needs_no_environment(name: str) -> None:
    program = f"import functions.{name}.handler"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={"PATH": ""})
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(("is_lambda", "composed"), [(True, 1), (False, 0)])
def test_the_application_is_composed_by_lambdas_own_import(is_lambda: bool, composed: int) -> None:
    environ = {"FISO_STAGE": "prod", "FISO_LOG_TABLE": "l", "FISO_STATE_TABLE": "s", "FISO_BUCKET": "b"}
    environ |= dict.fromkeys(("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PATH"), "x")
    environ |= {"FISO_CATALOG_KEYS": json.loads(PACKAGED_KEYS.read_text())["keys"][0]["n"]}
    environ |= {"FISO_GATEWAY_HASHES": "x", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"} | (
        {"AWS_LAMBDA_RUNTIME_API": "x"} if is_lambda else {}
    )
    program = "from functions.orchestrator.handler import application; print(application.cache_info().currsize)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ)
    assert str(composed) in finished.stdout.splitlines()  # the others tell that no store is there
    assert finished.stderr == ""


def test_an_application_that_cannot_be_composed_leaves_the_import_whole() -> None:
    environ = {"AWS_LAMBDA_RUNTIME_API": "x", "PATH": ""}
    program = "import functions.orchestrator.handler as handler; print(handler.lambda_handler.__name__)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ)
    assert finished.stdout.splitlines()[-1] == "lambda_handler"


LEASING = {
    "fiso.services.leases.lease",
    "fiso.services.leases.outcomes",
    "fiso.codecs.lease_token",
    "fiso.adapters.aws.ssm",
}
TOKENS = {
    *("jwt", "cryptography", "cffi", "fiso.domain.identity"),
    *("fiso.adapters.identity.jwt_tokens", "fiso.adapters.identity.oidc", "fiso.adapters.identity.google_identity"),
}


def test_a_cold_start_pays_for_no_leases_no_tokens_and_nothing_of_the_client_but_its_core() -> None:
    loaded = loaded_by("import functions.orchestrator.handler")
    assert loaded.isdisjoint(LEASING | TOKENS)
    parts = {module for module in loaded if module.startswith("fiso_client.")}
    assert {part for part in parts if not part.startswith("fiso_client.core")} == set()


def test_a_stage_without_tokens_does_not_pay_for_them() -> None:
    assert loaded_by_an_answer().isdisjoint(TOKENS)
    signed = (
        "from fiso.settings import OrchestratorSettings; from fiso.testing.memory import InMemoryMetrics; "
        "from functions.orchestrator import wiring; wiring.build(OrchestratorSettings.from_environ({'FISO_STAGE': 'x', "
        "'FISO_LOG_TABLE': 'l', 'FISO_STATE_TABLE': 's', 'FISO_BUCKET': 'b', 'FISO_GATEWAY_HASHES': 'h'}), "
        "metrics=InMemoryMetrics())"
    )
    names = "AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION"
    environ = f"import os; os.environ.update(dict.fromkeys({names!r}.split(), 'x')); "
    assert loaded_by(environ + signed).isdisjoint(TOKENS)
